"""The one place that opens FITS files with cfitsio, which takes brackets, parentheses and more in a name for commands.

`a.fits[STARS][PARALLAX>1]` is another file to it, filtered, and `a.fits(b.fits)` makes it write b.fits. A name that is
not plain goes to it as the number of an open file or folder, in which there is nothing to understand.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fitsio

# .imh makes cfitsio read a file of IRAF.
_PLAIN = re.compile(r"(?!.*\.imh)[\w./-]+", re.ASCII)


@contextmanager
def opened(path: Path) -> Iterator[fitsio.FITS]:
    """Open a FITS file for reading, whatever its name.

    Raises
    ------
    OSError
        When the file is not there, may not be read or is no FITS file.
    """
    absolute = os.path.abspath(path)
    with path.open("rb") as stream:
        literal = absolute if _PLAIN.fullmatch(absolute) else f"/dev/fd/{stream.fileno()}"
        with fitsio.FITS(literal) as file:
            yield file


@contextmanager
def created(path: Path) -> Iterator[fitsio.FITS]:
    """Open a new FITS file for writing, in a folder of any name, in place of an older one.

    Parameters
    ----------
    path
        The file; its own name is one of the software's, which are plain.

    Raises
    ------
    OSError
        When the folder is not there or may not be written.
    """
    path.unlink(missing_ok=True)
    with appended(path) as file:
        yield file


@contextmanager
def appended(path: Path) -> Iterator[fitsio.FITS]:
    """Open a FITS file for more HDUs; parameters and errors as of `created`."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        absolute = os.path.abspath(path)
        literal = absolute if _PLAIN.fullmatch(absolute) else f"/dev/fd/{folder}/{path.name}"
        with fitsio.FITS(literal, "rw") as file:
            yield file
    finally:
        os.close(folder)
