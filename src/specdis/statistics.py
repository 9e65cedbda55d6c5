"""Robust scatter, coverage of intervals and the bootstrap.

A statistic is a function that reduces the last axis of an array, such as `robust_scatter`; the bootstrap applies it to
many resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from specdis.arrays import Array, Float64, ranges
from specdis.rng import generator

Statistic = Callable[[Float64], Any]

_MAD_TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of a Gaussian."""
_RESAMPLED_VALUES = 1 << 22
"""Numbers drawn at once, 32 MB, for any number of stars and resamples."""


class Estimate(NamedTuple):
    """A number with its standard error."""

    value: float
    error: float


def robust_scatter(values: ArrayLike) -> Any:
    """Return 1.4826 times the median absolute deviation from the median, over the last axis.

    Parameters
    ----------
    values
        Numbers without NaN, shape (..., star).

    Returns
    -------
    float or ndarray of float64, shape (...)
        The standard deviation of Gaussian numbers, robust against outliers; NaN for no numbers.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.shape[-1] == 0:
        return np.full(numbers.shape[:-1], np.nan)[()]
    deviation = np.abs(numbers - np.median(numbers, axis=-1, keepdims=True))
    return _MAD_TO_SIGMA * np.median(deviation, axis=-1)


def coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> Estimate:
    """Return the fraction of true values that lie within their quoted intervals, ends included, with its error.

    Parameters
    ----------
    truth, low, high
        Shape (star,). An end may be infinite; stars with NaN in any of the three are ignored.

    Returns
    -------
    Estimate
        NaN without stars; the error is that of a binomial fraction, which a bootstrap would give too.
    """
    truth, low, high = (np.asarray(values, dtype=np.float64) for values in (truth, low, high))
    known = ~(np.isnan(truth) | np.isnan(low) | np.isnan(high))
    return fraction(((low <= truth) & (truth <= high))[known])


def fraction(true: ArrayLike) -> Estimate:
    """Return the fraction of true values with its binomial error, NaN for none."""
    values = np.asarray(true, dtype=bool)
    if not len(values):
        return Estimate(float("nan"), float("nan"))
    share = float(np.mean(values))
    return Estimate(share, float(np.sqrt(share * (1.0 - share) / len(values))))


def bootstrap_errors(
    statistics: Mapping[str, Statistic], values: ArrayLike, *, resamples: int = 200, most: int = 4000
) -> dict[str, float]:
    """Return the standard errors of several statistics of the same stars, from the same resamples.

    For many stars, each resample has only `most` of them, and errors are scaled with the inverse root of the number of
    stars. They are accurate to about 5 per cent.

    Parameters
    ----------
    statistics
        Name to function that reduces the last axis.
    values
        One number per star, shape (star,).
    resamples
        Number of resamples drawn.
    most
        Largest number of stars in a resample.

    Returns
    -------
    dict
        Name to standard error; NaN for fewer than two stars.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        return dict.fromkeys(statistics, float("nan"))
    size = min(len(numbers), most)
    rows = generator(0, "bootstrap errors").integers(len(numbers), size=(resamples, size))
    drawn = numbers[rows]
    scale = np.sqrt(size / len(numbers))
    with np.errstate(invalid="ignore"):  # infinite medians have no spread
        return {name: float(scale * np.std(reduce(drawn), ddof=1)) for name, reduce in statistics.items()}


def paired_difference(
    statistic: Statistic, first: ArrayLike, second: ArrayLike, *, seed: int, purpose: str, resamples: int = 1000
) -> Estimate:
    """Return by how much a statistic of `first` exceeds that of `second`, with the error of a paired bootstrap.

    Both are resampled with the same stars, so that common scatter cancels.

    Parameters
    ----------
    statistic
        Function that reduces the last axis.
    first, second
        Two numbers per star, shape (star,) both.
    seed, purpose
        Name of the rng stream: equal names, equal errors.
    resamples
        Number of resamples drawn.

    Raises
    ------
    ValueError
        When the two have different lengths.
    """
    one, two = (np.asarray(values, dtype=np.float64) for values in (first, second))
    if one.shape != two.shape:
        raise ValueError(f"pairs needed, got {len(one)} and {len(two)} numbers")

    def difference(rows: Array) -> Any:
        return statistic(one[rows]) - statistic(two[rows])

    spread = _resampled(difference, len(one), seed, purpose, resamples)
    return Estimate(float(difference(np.arange(len(one)))), float(np.std(spread, ddof=1)))


def _resampled(statistic: Callable[[Array], Any], stars: int, seed: int, purpose: str, resamples: int) -> Float64:
    """Return the statistic of rows drawn with replacement, shape (resample,)."""
    random = generator(seed, purpose)
    result = np.empty(resamples)
    for block in ranges(resamples, max(1, _RESAMPLED_VALUES // max(stars, 1))):
        result[block] = statistic(random.integers(stars, size=(block.stop - block.start, stars)))
    return result
