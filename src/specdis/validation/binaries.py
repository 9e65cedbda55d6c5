"""Section 5: how many binaries are found, how complete and how pure that is, and what single stars gain by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Bool
from specdis.binaries import LEAST_RATIO, TWIN_RATIO, is_in_domain, is_significant
from specdis.statistics import robust_scatter
from specdis.streams import generator
from specdis.validation.measures import by_cells, by_parameters, measure, share, take
from specdis.validation.stars import Columns, corrected_parallax, join

PARALLAX_SNR = 10.0
"""Corrected parallax over its published error above which binaries are counted (section 5)."""
SNR_EDGES = (-np.inf, 20.0, np.inf)
"""Edges of S/N of the scatters that section 5 quotes."""
MAGNITUDE_EDGES = tuple(float(magnitude) for magnitude in range(2, 13))
"""Edges of M_G_GEO in mag in which the two models are compared (Fig. 15)."""
CONTAMINANT_RATIO = 0.6
"""Mass ratio above which a star that is called a binary is no mistake."""
_BOOTSTRAPS = 50
_BLUE, _FAINT = 0.8, 9.0  # G_BP - G_RP and M_G_GEO of white dwarfs, mag
_LOW_SNR = 10.0


def measure_binaries(stars: Columns, injected: Columns, truth: Columns | None, threshold: float) -> dict[str, Any]:
    """Return counts, fractions, completeness and, where binaries are known, purity (section 5, Figs 13 to 16).

    Fractions are of stars with a precise parallax that are no giants. The corrected fraction is that of mass ratios
    above 0.5, were they spread evenly: (found - false alarms) / (completeness - false alarms), both of injected stars.

    Parameters
    ----------
    stars
        Columns of the selected stars.
    injected
        `IDENTIFIER`, MASS_RATIO and FOUND of injected binaries, and FALSE_ALARM, true where an injected single star was
        called one; shape (injected,).
    truth
        `IDENTIFIER`, BINARY_TRUE and MASS_RATIO, in any order; None where they are not known.
    threshold
        Probability from which a star is called a binary.
    """
    known = stars["BINARY_FLAG"] >= 0
    precise = known & (corrected_parallax(stars) > PARALLAX_SNR * stars["PARALLAX_ERR"])
    in_domain = precise & is_in_domain(stars["LOGG"], stars["M_G_NN_CHI2"])
    found = {
        "n_known": int(known.sum()),
        "n_binaries": int((stars["BINARY_FLAG"] == 0).sum()),
        "n_binaries_precise": int((precise & (stars["BINARY_FLAG"] == 0)).sum()),
        **share("share_binaries_precise", stars["BINARY_FLAG"] == 0, precise),
        **_contaminants(stars, precise, threshold),
    }
    sample = _with_injected(take(stars, in_domain), injected)
    found |= {
        "all": _fractions(sample, np.ones(len(sample["SN"]), bool)),
        "by_parameter": by_parameters(sample, lambda rows: _fractions(sample, rows)),
        "scatter_by_snr": by_cells("snr", sample["SN"], SNR_EDGES, lambda rows: _scatters(sample, rows)),
        "models_by_magnitude": by_cells(
            "m_g_geo", sample["M_G_GEO"], MAGNITUDE_EDGES, lambda rows: _models(sample, rows)
        ),
    }
    if truth is not None and "BINARY_TRUE" in truth:
        found["truth"] = _against_truth(sample, truth)
    return found


def excess(stars: Columns) -> Array:
    """Return by how many mag stars are brighter than their spectra say, M_G_NN_CHI2 - M_G_GEO, shape (star,)."""
    return np.asarray(stars["M_G_NN_CHI2"] - stars["M_G_GEO"], dtype=np.float64)


def _contaminants(stars: Columns, precise: Bool, threshold: float) -> dict[str, Any]:
    """Return what becomes of stars called binaries that are fainter than their spectra say (section 5)."""
    called = precise & (stars["BINARY_POSSIBILITY"] > threshold)
    below = called & ~(excess(stars) > 0)
    colour = np.asarray(stars["PHOT_BP_MEAN_MAG"] - stars["PHOT_RP_MEAN_MAG"], dtype=np.float64)
    return {
        **share("share_below_diagonal", below, called),
        **share("share_white_dwarfs_below_diagonal", (colour < _BLUE) & (stars["M_G_GEO"] > _FAINT), below),
        **share("share_low_snr_below_diagonal", stars["SN"] < _LOW_SNR, below),
        **share(
            "share_eq_10",
            is_significant(stars["M_G_NN_CHI2"], stars["M_G_NN_ERR_CHI2"], stars["M_G_GEO"], stars["M_G_GEO_ERR"]),
            precise & (stars["BINARY_FLAG"] == 0),
        ),
    }


def _with_injected(stars: Columns, injected: Columns) -> dict[str, Array]:
    """Add MASS_RATIO, FOUND and FALSE_ALARM of each star's injected binary, NaN where there was none."""
    row = join(stars, injected)
    names = ("MASS_RATIO", "FOUND", "FALSE_ALARM")
    return {**stars, **{name: np.append(np.asarray(injected[name], dtype=np.float64), np.nan)[row] for name in names}}


def _fractions(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return the observed fraction, what becomes of injected stars, and the corrected fraction, with errors."""
    numbers = np.stack([stars["BINARY_FLAG"] == 0, stars["FOUND"], stars["FALSE_ALARM"]])[:, rows]
    values = _corrected(numbers)
    errors = [np.nan] * len(values)
    if numbers.shape[1] > 1:
        random = generator(0, "binary fractions")
        drawn = [
            _corrected(numbers[:, random.integers(numbers.shape[1], size=numbers.shape[1])]) for _ in range(_BOOTSTRAPS)
        ]
        errors = [float(np.std([one[place] for one in drawn], ddof=1)) for place in range(len(values))]
    names = ("fraction", "completeness", "false_alarms", "fraction_corrected")
    measured: dict[str, Any] = {"n": numbers.shape[1]}
    for name, value, error in zip(names, values, errors, strict=True):
        measured |= {name: value, f"{name}_err": error}
    twins = rows & (stars["MASS_RATIO"] > TWIN_RATIO)
    return measured | share("completeness_twins", stars["FOUND"] > 0, twins)


def _corrected(numbers: Array) -> tuple[float, float, float, float]:
    """Return the observed fraction, completeness, false alarms and the corrected fraction."""
    binary, found, false = (values[np.isfinite(values)] for values in numbers)
    if not len(binary) or not len(found):
        return np.nan, np.nan, np.nan, np.nan
    observed, complete, chance = float(binary.mean()), float(found.mean()), float(false.mean())
    corrected = (observed - chance) / (complete - chance) if complete > chance else np.nan
    return observed, complete, chance, corrected


def _scatters(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return the residuals of all stars and of those called single (section 5, Fig. 14)."""
    residual = excess(stars)
    single = rows & (stars["BINARY_FLAG"] == 1)
    return {"all": measure(residual[rows], "mag"), "single": measure(residual[single], "mag")}


def _models(stars: Columns, rows: Bool) -> dict[str, Any]:
    """Return the residuals of the label's and of the mixture's magnitudes (Fig. 15)."""
    return {
        name.lower(): measure(stars[f"M_G_NN_{name}"][rows] - stars["M_G_GEO"][rows], "mag") for name in ("CHI2", "MIX")
    }


def _against_truth(stars: Columns, truth: Columns) -> dict[str, Any]:
    """Return purity, completeness and scatter of held-out stars, and the true fraction of all."""
    row = join(stars, truth)
    known = row >= 0
    true = {name: np.asarray(truth[name])[row] for name in ("BINARY_TRUE", "MASS_RATIO")}
    ratio = np.where(true["BINARY_TRUE"], true["MASS_RATIO"], 0.0)
    binary = stars["BINARY_FLAG"] == 0

    def cell(rows: Bool) -> dict[str, Any]:
        everyone, rows = rows & known, rows & known & stars["HELD_OUT"]
        return {
            "n": int(rows.sum()),
            "n_found": int((rows & binary).sum()),
            **share("purity", ratio > CONTAMINANT_RATIO, rows & binary),
            **share("completeness", binary, rows & (ratio > TWIN_RATIO)),
            **share("false_alarms", binary, rows & (ratio == 0)),
            # Of the stars of which the fraction found is, whether they trained a network or not.
            **share("fraction_true", ratio > LEAST_RATIO, everyone),
            "scatter_all_mag": float(robust_scatter(_finite(excess(stars)[rows]))),
            "scatter_without_found_mag": float(robust_scatter(_finite(excess(stars)[rows & ~binary]))),
            # The same cut on stars that have no companion: what it takes from their scatter is no binary's.
            "scatter_singles_mag": float(robust_scatter(_finite(excess(stars)[rows & (ratio == 0)]))),
            "scatter_singles_without_found_mag": float(
                robust_scatter(_finite(excess(stars)[rows & (ratio == 0) & ~binary]))
            ),
        }

    return {
        "all": cell(np.ones(len(ratio), bool)),
        "by_snr": by_cells("snr", stars["SN"], SNR_EDGES, cell),
        "by_parameter": by_parameters(stars, cell),
    }


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]
