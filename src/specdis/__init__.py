"""Distances for every star of a spectroscopic survey, learned from its own spectra and Gaia parallaxes.

The method is SPECDis (Li et al. 2025, arXiv:2503.02291). Heavy modules load when they are used.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import Any

__version__ = version("specdis")

# Arrow's own pool keeps freed memory; the system's returns it. Arrow reads this once, at import.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

_LAZY = {
    "Flag": "specdis.flags",
    "load_model": "specdis.model.files",
    "posterior": "specdis.prior.stars",
    "read_catalogue": "specdis.catalogue",
}

__all__ = ["Flag", "__version__", "load_model", "posterior", "read_catalogue"]  # their types stand in __init__.pyi


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'specdis' has no attribute {name!r}")
