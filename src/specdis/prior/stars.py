"""Posterior distances from the columns of a catalogue, under any prior."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Columns
from specdis.errors import InputError
from specdis.network.mixture import Mixture
from specdis.network.settings import MIXTURE_PARTS, RELEASED
from specdis.prior.laws import Density, DensityTable, galactic_direction
from specdis.prior.population import FEWEST_STARS, fit_prior, given_density
from specdis.prior.quantiles import Posterior, mixture_of
from specdis.prior.settings import PriorSettings
from specdis.rng import generator

POSTERIOR_NEEDS = (
    *("PHOT_G_MEAN_MAG", "A_G", "A_G_ERR", "RA", "DEC", "SELECTED"),
    *(f"{part}_{number}" for part in MIXTURE_PARTS for number in range(1, RELEASED + 1)),
)
"""Columns of the catalogue that posterior distances are made from."""


def posterior(stars: Any, prior: PriorSettings | tuple[Array, Array] | None = None) -> dict[str, Array]:
    """Return posterior distances of the stars of a catalogue under a density of stars.

    The density replaces that of the survey, whose selection is fitted to the SELECTED stars first: give the whole
    catalogue, and choose stars afterwards.

    Parameters
    ----------
    stars
        A catalogue, as from `specdis.read_catalogue`, or a mapping with its columns `POSTERIOR_NEEDS`, shape (star,).
    prior
        Section [prior] of a configuration, by default with a density fitted to the survey; or distances in kpc,
        increasing, and the number of stars per volume at each, in any unit.

    Returns
    -------
    dict
        DIST_POST, DISTERR_POST, DIST_POST_05, _16, _84 and _95, kpc, shape (star,); NaN where missing.

    Raises
    ------
    InputError
        When a column is missing, the table of the prior is wrong, or there are too few stars.
    """
    columns = _plain_columns(stars)
    table = DensityTable.of_distances(*prior) if isinstance(prior, tuple) else None
    settings = prior if isinstance(prior, PriorSettings) else PriorSettings()
    magnitude = np.asarray(columns["PHOT_G_MEAN_MAG"].astype(np.float64) - columns["A_G"])
    mixture = mixture_of(columns, columns["A_G_ERR"])
    direction = galactic_direction(columns["RA"], columns["DEC"])
    density: Density | None = given_density(settings) if table is None else table
    use = columns["SELECTED"].astype(bool) & np.isfinite(magnitude) & np.isfinite(columns["MIX_M_G_1"])
    if not isinstance(density, DensityTable | None):
        use &= np.isfinite(direction).all(1)
    rows = np.flatnonzero(use)
    if len(rows) < FEWEST_STARS:
        raise InputError(
            "the catalogue",
            expected=f"{FEWEST_STARS} or more SELECTED stars with a distribution and a magnitude, to fit the prior to",
            found=f"{len(rows)}",
            remedy="Give the whole catalogue, and choose stars afterwards.",
        )
    if len(rows) > settings.stars_max:
        chosen = generator(0, "prior stars").choice(len(rows), settings.stars_max, replace=False)
        rows = rows[np.sort(chosen)]
    some = Mixture(*(values[rows] for values in mixture))
    fitted = fit_prior(some, magnitude[rows], direction[rows], settings.smoothness, density)
    return Posterior(fitted).columns(mixture, magnitude, direction)


def _plain_columns(stars: Any) -> Columns:
    """Return the needed columns as plain arrays, missing floats NaN."""
    names = getattr(stars, "colnames", None) or list(stars)
    if lacking := [name for name in POSTERIOR_NEEDS if name not in names]:
        raise InputError(
            "the catalogue",
            expected=f"columns {', '.join(lacking[:5])}" + (", ..." if len(lacking) > 5 else ""),
            found="none of these names",
            remedy="Read it with `specdis.read_catalogue`. If an earlier version wrote it, run that stage again.",
        )
    columns = {name: np.ma.asarray(stars[name]) for name in POSTERIOR_NEEDS}
    return {
        name: np.asarray(values.filled(np.nan) if values.dtype.kind == "f" else values.data)
        for name, values in columns.items()
    }
