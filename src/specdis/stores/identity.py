"""Identity of rows: tables and stores are never joined by position alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from specdis.arrays import Array
from specdis.errors import ProductError
from specdis.rng import hash64
from specdis.surveys.base import IDENTIFIER


def identity(stars: Mapping[str, Array]) -> Array:
    """Hash the spectrum identifiers, `IDENTIFIER`, uint64, shape (star,)."""
    return hash64(0, *(stars[name] for name in IDENTIFIER))


def require_identity(path: Path, stored: Array, expected: Array) -> None:
    """Raise an error unless the rows of a product are those of the sample, in the same order.

    Parameters
    ----------
    path
        The product.
    stored, expected
        `identity` of its rows and of the sample's.

    Raises
    ------
    ProductError
        Naming the product and the first row that differs.
    """
    if len(stored) == len(expected) and np.array_equal(stored, expected):
        return
    if len(stored) != len(expected):
        found = f"{len(stored):,} rows, the sample has {len(expected):,}"
    else:
        found = f"row {np.flatnonzero(stored != expected)[0]:,} is of another spectrum than that row of the sample"
    raise ProductError(f"{path} does not belong to this sample ({found}): delete it and run again.")
