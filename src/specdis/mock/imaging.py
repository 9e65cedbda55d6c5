"""The targets' photometry in FIBERMAP: fluxes of the Legacy Surveys in g, r, z, W1 and W2, as DESI's targets have them.

Targets of the backup programme come from Gaia and have none: flux and inverse variance are 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Float64
from specdis.mock.colours import absolute_magnitudes, band_offset
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings


class LegacyBand(NamedTuple):
    """One band of the Legacy Surveys.

    Parameters
    ----------
    extinction
        A / E(B-V) of SFD98: Schlafly & Finkbeiner (2011) for DECam and Fitzpatrick (1999) for WISE, as
        legacysurvey.org/dr9/catalogs has them.
    depth
        AB magnitude of a faint point source with an S/N of 5, typical of the sweep files of DR9.
    photons
        Growth of the variance with the flux of the source, per nanomaggy; from the same files.
    saturation
        AB magnitude; brighter stars have no flux.
    """

    extinction: float
    depth: float
    photons: float
    saturation: float


LEGACY_BANDS = {
    "g": LegacyBand(3.214, 24.8, 0.28, 16.0),
    "r": LegacyBand(2.165, 24.2, 0.20, 16.0),
    "z": LegacyBand(1.211, 23.4, 0.085, 15.0),
    "W1": LegacyBand(0.184, 21.25, 0.005, 8.0),
    "W2": LegacyBand(0.113, 20.4, 0.008, 7.0),
}
FLUX_COLUMNS = tuple(f"{kind}_{name.upper()}" for kind in ("FLUX", "FLUX_IVAR") for name in LEGACY_BANDS)
"""Columns of FIBERMAP."""

_UNCOVERED = 0.01  # share of the stars without imaging, in the optical and in the infrared each


def observed_by_imaging(stars: Mapping[str, Array], settings: MockSettings) -> dict[str, Float64]:
    """Observe stars with the cameras of the Legacy Surveys and WISE.

    Parameters
    ----------
    stars
        The columns of `galaxy.draw_population`.
    settings
        Section `[mock]`.

    Returns
    -------
    dict of ndarray, shape (star,)
        FLUX_G to FLUX_W2 (nanomaggy) and FLUX_IVAR_G to FLUX_IVAR_W2 (per nanomaggy squared), both 0 where missing.
    """
    draws = Draws(settings.seed, (stars["SOURCE_ID"],))
    modulus = 5.0 * np.log10(stars["DIST"]) + 10.0
    absolute = absolute_magnitudes(stars)
    columns = {}
    for name, band in LEGACY_BANDS.items():
        magnitude = absolute[name] + modulus + band.extinction * stars["EBV_IN_FRONT"]
        wrong = band_offset(settings, name) + settings.band_scatter * draws.normal(f"scatter {name}")
        flux = 10.0 ** (-0.4 * (magnitude + wrong - 22.5))
        faintest = 0.2 * 10.0 ** (-0.4 * (band.depth + 0.15 * draws.normal(f"depth {name}") - 22.5))
        variance = faintest**2 * (1.0 + band.photons * flux)
        camera = "infrared" if name.startswith("W") else "optical"
        seen = (draws.uniform(f"covered {camera}") > _UNCOVERED) & (magnitude > band.saturation)
        noisy = flux + np.sqrt(variance) * draws.normal(f"flux {name}")
        columns[f"FLUX_{name.upper()}"] = np.where(seen, noisy, 0.0)
        columns[f"FLUX_IVAR_{name.upper()}"] = np.where(seen, 1.0 / variance, 0.0)
    return columns
