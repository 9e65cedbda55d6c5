"""Measure the colours of the mock's stars on synthetic photometry and write src/specdis/data/colours.npz.

The fluxes are those of the ATLAS9 models of Castelli & Kurucz (2004, arXiv:astro-ph/0405087) through the passbands of
Gaia (DR2, revised), Pan-STARRS and WISE, in erg / (s cm2 um), as the package astroARIADNE (Vines & Jenkins 2022, MNRAS
513, 2719) tabulates them in model_grid_CK04.dat. That table is needed to run this script, not to run specdis:

    python tools/make_colours.py model_grid_CK04.dat src/specdis/data/colours.npz

Written are colours X - G at the nodes of a grid of Teff, log g and [M/H], in mmag. Gaia's bands have Vega magnitudes,
the others AB magnitudes; g, r and z are those of DECam.
"""

from __future__ import annotations

import sys

import numpy as np
from scipy.interpolate import CubicSpline

BANDS = ("BP", "RP", "g", "r", "z", "W1", "W2")
LOGG = np.arange(0.0, 5.1, 1.0)
METALLICITY = np.arange(-2.5, 0.6, 0.5)
COOL = np.array([2750.0, 3100.0])
"""K: colours of cooler stars than the models', companions alone, lie on a straight line in 1 / Teff."""

_COLUMNS = {
    **{"G": "GaiaDR2v2_G", "BP": "GaiaDR2v2_BP", "RP": "GaiaDR2v2_RP"},
    **{"g": "PS1_g", "r": "PS1_r", "i": "PS1_i", "z": "PS1_z", "W1": "WISE_RSR_W1", "W2": "WISE_RSR_W2"},
}
# Pivot wavelengths, um: Evans et al. (2018) for G, Tonry et al. (2012) for Pan-STARRS, Jarrett et al. (2011) for WISE
_PIVOT = {"G": 0.6230, "g": 0.4811, "r": 0.6155, "i": 0.7503, "z": 0.8668, "W1": 3.3526, "W2": 4.6028}
_G_AB = 0.105  # AB minus Vega magnitude in G: zero points 25.7934 and 25.6884 of Evans et al. (2018)
_VEGA = (9550.0, 4.0, -0.5)  # Castelli & Kurucz (1994), on the nearest gravity
# DECam minus Pan-STARRS as a polynomial of g - i, 0.4 to 2.7 (legacysurvey.org/dr9/description)
_DECAM = {
    "g": (0.00062, 0.03604, 0.01028, -0.00613),
    "r": (0.00495, -0.08435, 0.03222, -0.01140),
    "z": (0.02583, -0.07690, 0.02824, -0.00898),
}
_DECAM_RANGE = (-0.5, 2.7)  # the terms of blue stars are small, so that the polynomial holds for these too


def magnitudes(
    table: dict[str, np.ndarray], teff: np.ndarray, logg: float, metallicity: float
) -> dict[str, np.ndarray]:
    """Return -2.5 log10 of the flux in each band at temperatures in K; of the lowest gravity if there is no lower."""
    here = np.isclose(table["[Fe/H]"], metallicity) & (table[_COLUMNS["G"]] > 0)
    nodes = np.unique(table["Teff"][here])
    found = {}
    for band, name in _COLUMNS.items():
        values = []
        for node in nodes:
            rows = here & (table["Teff"] == node)
            order = np.argsort(table["logg"][rows])
            values.append(np.interp(logg, table["logg"][rows][order], -2.5 * np.log10(table[name][rows][order])))
        found[band] = CubicSpline(np.log(nodes), values)(np.log(teff))
    return found


def colours(found: dict[str, np.ndarray], vega: dict[str, np.ndarray]) -> np.ndarray:
    """Return X - G for each of `BANDS`, shape (star, band)."""
    ab = {band: found[band] - 5.0 * np.log10(pivot) for band, pivot in _PIVOT.items()}
    g = ab["G"] - _G_AB
    g_i = np.clip(ab["g"] - ab["i"], *_DECAM_RANGE)
    result = {band: (found[band] - vega[band]) - (found["G"] - vega["G"]) for band in ("BP", "RP")}
    result |= {band: ab[band] + np.polyval(terms[::-1], g_i) - g for band, terms in _DECAM.items()}
    result |= {band: ab[band] - g for band in ("W1", "W2")}
    return np.stack([result[band] for band in BANDS], axis=-1)


def main(source: str, target: str) -> None:
    """Write the table."""
    with open(source) as file:
        names = file.readline().lstrip("# ").split()
    table = dict(zip(names, np.loadtxt(source).T, strict=True))
    vega = magnitudes(table, np.array(_VEGA[:1]), *_VEGA[1:])
    teff = np.unique(table["Teff"])
    teff = teff[(teff >= 3500.0) & (teff <= 12000.0)]
    grid = np.stack(
        [[colours(magnitudes(table, teff, logg, m), vega) for m in METALLICITY] for logg in LOGG]
    ).transpose(2, 0, 1, 3)
    first, second = 0, int(np.searchsorted(teff, 4000.0))
    slope = (grid[first] - grid[second]) / (1.0 / teff[first] - 1.0 / teff[second])
    cooler = grid[first] + slope * (1.0 / COOL - 1.0 / teff[first])[:, None, None, None]
    grid = np.concatenate([cooler, grid])
    np.savez_compressed(
        target,
        teff=np.concatenate([COOL, teff]),
        logg=LOGG,
        metallicity=METALLICITY,
        bands=np.array(BANDS),
        colours=np.round(1000.0 * grid).astype(np.int16),
    )
    print(grid.shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
