"""Writes the reference of the code as web pages: `python tools/code_reference.py FOLDER`."""

from __future__ import annotations

import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc
import pdoc.render

import specdis


def main(folder: Path) -> None:
    # pdoc overlooks names that are loaded when they are used, and modules that __all__ does not name.
    vars(specdis).update({name: getattr(specdis, name) for name in specdis.__all__})
    specdis.__all__ += [module.name for module in pkgutil.iter_modules(specdis.__path__)]
    # It does not find the types of named tuples' fields either, and then shows them as they are written.
    warnings.filterwarnings("ignore", "Error parsing type annotation")
    pdoc.render.configure(docformat="numpy", footer_text=f"specdis {specdis.__version__}")
    pdoc.pdoc("specdis", output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
