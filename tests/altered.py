"""Content that is altered by its meaning: values, types, shapes and names in JSON and npz, in a file that is whole."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from specdis.arrays import Array
from specdis.storage import digest

_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 7, 10**9, 10**400, -(2**63), 1.5, -1e308, 1e-300, math.nan, math.inf),
    *("", "x", "none", "\ud800", "\n", "../../x", "1e9", [], [[]], [0], ["x"], {}, {"x": 0}, [0.0] * 5, "x" * 5000),
)

_ARRAYS: tuple[Callable[[Array], Array], ...] = (
    lambda values: values[:0],
    lambda values: values[:-1],
    lambda values: values[None],
    lambda values: values.reshape(-1),
    lambda values: values.reshape(-1)[:1].reshape(()),
    lambda values: values.T,
    lambda values: np.concatenate([values, values]),
    lambda values: values[::-1],
    lambda values: values.astype("U"),
    lambda values: values.astype(np.int64),
    lambda values: values.astype(np.complex128),
    lambda values: values.astype(np.float16),
    lambda values: values.astype(">f8"),
    lambda values: values.astype(bool),
    lambda values: values * 0,
    lambda values: values * 0 + 10**9,
    lambda values: -values,
    lambda values: (values * 1e30).astype(values.dtype),
    lambda values: np.where(np.arange(values.size).reshape(values.shape) == values.size // 2, np.nan, values),
    lambda values: values * np.nan,
)


def altered(content: bytes, number: int) -> bytes:
    """Return the content of a JSON or npz file with one alteration or two, which go with a number; sums fit."""
    random = np.random.default_rng(number)
    many = 1 + int(random.random() < 0.3)
    if content.startswith(b"PK"):
        with np.load(io.BytesIO(content)) as file:
            arrays = {name: file[name] for name in file.files}
        for _ in range(many):
            _alter_arrays(arrays, random)
        packed = io.BytesIO()
        np.savez(packed, allow_pickle=False, **arrays)
        return packed.getvalue()
    tree = json.loads(content)
    summed = tree.pop("sum", None) is not None
    for _ in range(many):
        _alter_tree(tree, random)
    if summed:
        tree["sum"] = digest(tree)
    return json.dumps(tree).encode()


def _alter_arrays(arrays: dict[str, Array], random: np.random.Generator) -> None:
    if not arrays:
        return
    name = list(arrays)[int(random.integers(len(arrays)))]
    with np.errstate(all="ignore"):
        try:
            arrays[name] = _ARRAYS[int(random.integers(len(_ARRAYS)))](arrays[name])
        except (TypeError, ValueError, IndexError, OverflowError):  # not every alteration is one of every array
            del arrays[name]


def _alter_tree(tree: dict[str, Any] | list[Any], random: np.random.Generator) -> None:
    """Go down to a place, the deeper the likelier, and put something else there, or nothing."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key: Any = keys[int(random.integers(len(keys)))]
        below = tree[key]  # type: ignore[index]
        if isinstance(below, dict | list) and below and random.random() < 0.9:
            tree = below
            continue
        if random.random() < 0.15:
            del tree[key]  # type: ignore[arg-type]
        else:
            tree[key] = _VALUES[int(random.integers(len(_VALUES)))]  # type: ignore[index]
        return
