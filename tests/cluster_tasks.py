"""Tasks for workers: other processes find them by the name of this module and import it, so that it imports little."""

from __future__ import annotations

import os
import signal

from specdis.log import logger
from specdis.surveys.fits import FileError


def double(number: int) -> int:
    logger.warning("doubling %d", number)
    return 2 * number


def deadly(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def wrong(number: int) -> int:
    raise FileError("unreadable-file", "a.fits", expected="a number", found=f"{number}", remedy="Replace it.")
