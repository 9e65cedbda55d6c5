"""Section 5: number, completeness and purity of binaries, and the scatter of single stars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import logsumexp

from specdis.arrays import Array, Bool, Columns
from specdis.binaries import (
    EQUAL_RATIO,
    LEAST_RATIO,
    TWIN_RATIO,
    BinariesSettings,
    is_in_domain,
    is_on_main_sequence,
    is_significant,
)
from specdis.companions import STEEPNESS
from specdis.rng import generator
from specdis.statistics import fraction, robust_scatter
from specdis.validation.measures import PARAMETER_EDGES, by_cells, by_parameters, cells, mean, measure, share, take
from specdis.validation.stars import join, parallax_snr

BINARY_SNR_EDGES = (-np.inf, 20.0, np.inf)
"""Edges of S/N for the scatters that section 5 quotes."""
MAGNITUDE_EDGES = tuple(float(magnitude) for magnitude in range(2, 13))
"""Edges of M_G_GEO in mag in which the two models are compared (Fig. 15)."""
RATIO_EDGES = (LEAST_RATIO, 0.6, 0.7, TWIN_RATIO, 0.9, EQUAL_RATIO, np.nextafter(1.0, 2.0))
"""Edges of the mass ratios for which completeness is quoted."""
CONTAMINANT_RATIO = 0.6
"""Mass ratio above which a star counts as a true binary for purity."""
_BLUE, _FAINT = 0.8, 9.0  # G_BP - G_RP and M_G_GEO of white dwarfs, mag
_LOW_SNR = 10.0
_SIGNIFICANT = 3.0
"""Number of errors by which completeness must exceed the share of false alarms for a measured fraction."""
_ALMOST_EQUAL, _LEAST_FOUND = 0.9, 0.5
"""Mass ratio above which at least this share of companions must be found at a magnitude for its stars to count:
otherwise the two Gaussians do not separate single stars from binaries."""
_DRAWS, _GRID, _REACH = 400, 2001, 8.0  # of the likelihood of a fraction; the last in its errors


def measure_binaries(
    stars: Columns, injected: Columns, truth: Columns | None, settings: BinariesSettings
) -> dict[str, Any]:
    """Return counts, fractions, completeness and, where binaries are known, purity (section 5, Figs 13 to 16).

    Counts are of all stars. All other numbers are of held-out stars with a precise parallax, because errors of training
    stars are too small; without giants, except for the numbers below the diagonal.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    injected
        `IDENTIFIER`, MASS_RATIO, STEEPNESS of the main sequence, and FOUND of injected binaries, and
        FALSE_ALARM, true if the same star without its companion was called a binary; shape (injected,).
    truth
        `IDENTIFIER`, BINARY_TRUE and MASS_RATIO, in any order; None if unknown.
    settings
        Section [binaries].
    """
    known, binary = stars["BINARY_FLAG"] >= 0, stars["BINARY_FLAG"] == 0
    precise = known & (parallax_snr(stars) > settings.parallax_snr_min)
    unseen = precise & stars["HELD_OUT"]
    probable = stars["BINARY_POSSIBILITY"] > settings.threshold
    found = {
        "parallax_snr_min": settings.parallax_snr_min,
        "threshold": settings.threshold,
        "twin_fraction": settings.twin_fraction,
        "n_known": int(known.sum()),
        "n_binaries": int(binary.sum()),
        "n_binaries_precise": int((precise & binary).sum()),
        "n_probable_held_out": int((unseen & probable).sum()),
        **share("share_binaries_precise", binary, precise),
        **_contaminants(stars, unseen, probable),
    }
    sample = take(stars, unseen & is_in_domain(stars["LOGG"], stars["M_G_NN_LABEL"]))
    added = _injected_stars(stars, injected)
    sample["COUNTS"] = is_on_main_sequence(sample["LOGG"]) & _told_apart(added, sample["M_G_NN_LABEL"])
    added = take(added, _told_apart(added, added["M_G_NN_LABEL"]))
    found |= {
        "all": _fractions(sample, added),
        "by_parameter": {
            name: [
                {f"{name}_min": low, f"{name}_max": high} | _fractions(take(sample, rows), take(added, more))
                for (low, high, rows), (_, _, more) in zip(
                    cells(sample[name], edges), cells(added[name], edges), strict=True
                )
            ]
            for name, edges in PARAMETER_EDGES.items()
        },
        "by_mass_ratio": by_cells(
            "ratio",
            added["MASS_RATIO"],
            RATIO_EDGES,
            lambda rows: {"n": int(rows.sum()), **share("completeness", added["FOUND"], rows)},
        ),
        "scatter_by_snr": by_cells("snr", sample["SN"], BINARY_SNR_EDGES, lambda rows: _scatters(sample, rows)),
        "models_by_magnitude": by_cells(
            "m_g_geo", sample["M_G_GEO"], MAGNITUDE_EDGES, lambda rows: _models(sample, rows)
        ),
    }
    if truth is not None and "BINARY_TRUE" in truth:
        found["truth"] = _against_truth(sample, truth)
    return found


def excess(stars: Columns) -> Array:
    """Return the excess brightness over the spectrum, M_G_NN_LABEL - M_G_GEO in mag, shape (star,)."""
    return np.asarray(stars["M_G_NN_LABEL"] - stars["M_G_GEO"], dtype=np.float64)


def _contaminants(stars: Columns, precise: Bool, probable: Bool) -> dict[str, Any]:
    """Return numbers of probable binaries that are fainter than their spectra predict (section 5)."""
    called = precise & probable
    below = called & ~(excess(stars) > 0)
    colour = np.asarray(stars["PHOT_BP_MEAN_MAG"] - stars["PHOT_RP_MEAN_MAG"], dtype=np.float64)
    return {
        **share("share_below_diagonal", below, called),
        **share("share_white_dwarfs_below_diagonal", (colour < _BLUE) & (stars["M_G_GEO"] > _FAINT), below),
        **share("share_low_snr_below_diagonal", stars["SN"] < _LOW_SNR, below),
        **share(
            "share_eq_10",
            is_significant(stars["M_G_NN_LABEL"], stars["M_G_NN_ERR_LABEL"], stars["M_G_GEO"], stars["M_G_GEO_ERR"]),
            precise & (stars["BINARY_FLAG"] == 0),
        ),
    }


def _injected_stars(stars: Columns, injected: Columns) -> dict[str, Array]:
    """Return the main-sequence stars with injected companions, with MASS_RATIO, FOUND and FALSE_ALARM."""
    row = join(injected, stars)
    names = ("MASS_RATIO", "STEEPNESS", "FOUND", "FALSE_ALARM")
    mine = {**take(stars, row), **{name: np.asarray(injected[name]) for name in names}}
    return take(mine, (row >= 0) & is_on_main_sequence(mine["LOGG"]))


def _told_apart(added: Columns, magnitude: Array) -> Bool:
    """Tell at which magnitudes at least half of the companions of nearly equal mass are found, shape (star,)."""
    equal = added["MASS_RATIO"] >= _ALMOST_EQUAL
    where, asked = (np.searchsorted(MAGNITUDE_EDGES, values) for values in (added["M_G_NN_LABEL"], magnitude))
    number, found = (
        np.bincount(where[rows], minlength=len(MAGNITUDE_EDGES) + 1) for rows in (equal, equal & added["FOUND"])
    )
    return np.asarray((number > 0) & (found >= _LEAST_FOUND * number))[asked]


def _fractions(sample: Columns, added: Columns) -> dict[str, Any]:
    """Return the fraction found, and the likelihood estimate for companions of `LEAST_RATIO` and above.

    The latter is of main-sequence stars of magnitudes at which binaries can be separated. If a share f of them has
    companions with the mass ratios of the injected ones, a star is called a binary with probability f times
    completeness plus (1 - f) times the share of false alarms. The estimate is the f of largest likelihood, averaged
    over completeness and false alarms: between those of the two values of STEEPNESS, and within their own counting
    errors. Its error is the larger side of the interval in which the log-likelihood lies within 1/2 of its maximum.
    NaN if completeness exceeds false alarms by less than three errors, and if log g is unknown.

    Parameters
    ----------
    sample
        Observed stars.
    added
        From `_injected_stars`.
    """
    binary = sample["BINARY_FLAG"] == 0
    counts = sample["COUNTS"]
    slopes = [np.asarray(added["FOUND"])[added["STEEPNESS"] == steepness] for steepness in STEEPNESS]
    ends = [fraction(found) for found in slopes]
    completeness = float(np.mean([end.value for end in ends]))
    between = abs(ends[0].value - ends[1].value) / np.sqrt(12)  # standard deviation of an even spread
    error = float(np.sqrt(between**2 + sum(end.error**2 for end in ends) / 4))
    called = int((binary & counts).sum())
    value, value_error = most_likely_fraction(called, int(counts.sum()), slopes, added["FALSE_ALARM"])
    return {
        "n": len(binary),
        **share("fraction", binary),
        "n_main_sequence": int(counts.sum()),
        "n_called": called,
        "n_injected": len(added["FOUND"]),
        "completeness": completeness,
        "completeness_err": error,
        **share("false_alarms", added["FALSE_ALARM"]),
        "fraction_corrected": value,
        "fraction_corrected_err": value_error,
    }


def most_likely_fraction(called: int, stars: int, slopes: Sequence[Bool], false: Bool) -> tuple[float, float]:
    """Return the most likely fraction of binaries and its error; see `_fractions`."""
    if not stars or not min(len(found) for found in slopes):
        return np.nan, np.nan
    random = generator(0, "binary fractions")
    *ends, alarm = (random.beta(np.sum(x) + 0.5, np.sum(~x) + 0.5, _DRAWS) for x in (*slopes, false))
    contrast = ends[0] + (np.arange(_DRAWS) + 0.5) / _DRAWS * (ends[1] - ends[0]) - alarm
    if contrast.mean() < _SIGNIFICANT * contrast.std():
        return np.nan, np.nan
    observed = (called + 0.5) / (stars + 1)
    middle = (observed - alarm.mean()) / contrast.mean()
    relative = contrast.std() / contrast.mean()
    width = np.hypot(np.sqrt(observed * (1 - observed) / stars) / contrast.mean(), abs(middle) * relative)
    low, high = np.clip((middle - _REACH * width, middle + _REACH * width), 0, 1)
    shares = np.linspace(low, high, _GRID)
    probability = np.clip(alarm + np.outer(shares, contrast), 1e-12, 1 - 1e-12)
    likelihood = called * np.log(probability) + (stars - called) * np.log1p(-probability)
    whole = logsumexp(likelihood, axis=1)
    best = float(shares[np.argmax(whole)])
    inside = shares[whole > whole.max() - 0.5]
    return best, float(max(best - inside[0], inside[-1] - best))


def _scatters(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return the residuals of all stars and of those called single (section 5, Fig. 14)."""
    residual = excess(stars)
    single = rows & (stars["BINARY_FLAG"] == 1)
    return {"all": measure(residual[rows], "mag"), "single": measure(residual[single], "mag")}


def _models(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return the residuals of the label network and of the pair of Gaussians, with the means of Fig. 15."""
    residuals = {name.lower(): (stars[f"M_G_NN_{name}"] - stars["M_G_GEO"])[rows] for name in ("LABEL", "PAIR")}
    return {name: measure(residual, "mag") | mean("mean_mag", residual) for name, residual in residuals.items()}


def _against_truth(stars: Columns, truth: Columns) -> dict[str, Any]:
    """Return purity, completeness and scatter, and the true fraction of stars on the main sequence."""
    row = join(stars, truth)
    known, sequence = row >= 0, stars["COUNTS"]
    true = {name: np.asarray(truth[name])[row] for name in ("BINARY_TRUE", "MASS_RATIO")}
    ratio = np.where(true["BINARY_TRUE"], true["MASS_RATIO"], 0.0)
    binary = stars["BINARY_FLAG"] == 0

    def cell(rows: Bool) -> dict[str, Any]:
        rows = rows & known
        return {
            "n": int(rows.sum()),
            "n_found": int((rows & binary).sum()),
            **share("purity", ratio > CONTAMINANT_RATIO, rows & binary),
            **share("completeness", binary, rows & (ratio > TWIN_RATIO)),
            **share("false_alarms", binary, rows & (ratio == 0)),
            **share("fraction_true", ratio >= LEAST_RATIO, rows & sequence),
            "scatter_all_mag": float(robust_scatter(_finite(excess(stars)[rows]))),
            "scatter_without_found_mag": float(robust_scatter(_finite(excess(stars)[rows & ~binary]))),
            # The same cut on stars without companion: how far it reduces the scatter by itself.
            "scatter_singles_mag": float(robust_scatter(_finite(excess(stars)[rows & (ratio == 0)]))),
            "scatter_singles_without_found_mag": float(
                robust_scatter(_finite(excess(stars)[rows & (ratio == 0) & ~binary]))
            ),
        }

    return {
        "all": cell(np.ones(len(ratio), bool)),
        "by_snr": by_cells("snr", stars["SN"], BINARY_SNR_EDGES, cell),
        "by_parameter": by_parameters(stars, cell),
        "by_mass_ratio": by_cells(
            "ratio",
            ratio,
            RATIO_EDGES,
            lambda rows: {
                "n": int((rows & known & sequence).sum()),
                **share("completeness", binary, rows & known & sequence),
            },
        ),
    }


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]
