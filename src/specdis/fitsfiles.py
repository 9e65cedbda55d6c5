"""Opening FITS files with cfitsio, which reads brackets, parentheses and other characters in a name as commands.

`a.fits[STARS][PARALLAX>1]` opens a filtered file, and `a.fits(b.fits)` writes b.fits. All FITS files are opened here; a
name with special characters is replaced by the number of the open file or folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fitsio

# cfitsio reads .imh as an IRAF file.
_PLAIN = re.compile(r"(?!.*\.imh)[\w./-]+", re.ASCII)


@contextmanager
def opened(path: Path) -> Iterator[fitsio.FITS]:
    """Open a FITS file for reading, whatever its name.

    Raises
    ------
    OSError
        When the file does not exist, cannot be read, or is not FITS.
    """
    absolute = os.path.abspath(path)
    with path.open("rb") as stream:
        literal = absolute if _PLAIN.fullmatch(absolute) else f"/dev/fd/{stream.fileno()}"
        with fitsio.FITS(literal) as file:
            yield file


@contextmanager
def created(path: Path) -> Iterator[fitsio.FITS]:
    """Create or replace a FITS file for writing, in a folder of any name.

    Parameters
    ----------
    path
        The file; its own name is chosen by this software, without special characters.

    Raises
    ------
    OSError
        When the folder does not exist or cannot be written.
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
