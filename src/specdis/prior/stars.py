"""Posterior distances from the columns of a catalogue, under any prior."""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array, Columns, ranges
from specdis.errors import InputError
from specdis.network.mixture import Mixture, ParallaxInErrors
from specdis.network.settings import MIXTURE_PARTS, RELEASED
from specdis.prior.laws import Density, DensityTable, galactic_direction
from specdis.prior.population import FEWEST_STARS, fit_prior, given_density
from specdis.prior.quantiles import Observed, Own, Posterior, mixture_of
from specdis.prior.settings import PriorSettings
from specdis.rng import generator, stream, uniform
from specdis.surveys.base import IDENTIFIER

_PARALLAX = ("PARALLAX", "PARALLAX_ZPC", "PARALLAX_ERR_USED")
_OBSERVED = (
    *("PHOT_G_MEAN_MAG", "A_G", "A_G_ERR", "RA", "DEC"),
    *(f"{part}_{number}" for part in MIXTURE_PARTS for number in range(1, RELEASED + 1)),
)
POSTERIOR_NEEDS = (*_OBSERVED[:5], "SELECTED", *_OBSERVED[5:])
"""Columns of the catalogue that posterior distances are made from."""
OBSERVED_COLUMNS = (*_OBSERVED, *_PARALLAX)
"""Columns of the catalogue that tell what was observed of stars."""
DRAWS_COLUMN = "DISTMOD_POST_DRAWS"
_BLOCK = 1 << 14


def observed_in(columns: Columns, *, own_parallax: bool = False) -> Observed:
    """Return what a catalogue says was observed of its stars.

    Parameters
    ----------
    columns
        `OBSERVED_COLUMNS`, missing floats NaN, shape (star,); those of parallaxes only with `own_parallax`.
    own_parallax
        Whether the posterior takes the stars' own parallaxes in.
    """
    magnitude = np.asarray(columns["PHOT_G_MEAN_MAG"].astype(np.float64) - columns["A_G"])
    mixture, direction = mixture_of(columns, columns["A_G_ERR"]), galactic_direction(columns["RA"], columns["DEC"])
    return Observed(mixture, magnitude, direction, _parallaxes(columns, magnitude) if own_parallax else None)


def _parallaxes(columns: Columns, magnitude: Array) -> Own:
    """Return the corrected parallaxes, and which stars have one; 0 +- 1 mas at magnitude 20 if missing."""
    parallax = columns["PARALLAX"] - np.nan_to_num(columns["PARALLAX_ZPC"])
    error = columns["PARALLAX_ERR_USED"]
    there = np.isfinite(magnitude) & np.isfinite(parallax) & (error > 0)
    filled = (np.where(there, values, filling) for values, filling in ((magnitude, 20), (parallax, 0), (error, 1)))
    return ParallaxInErrors.of(*filled), there


def random_moduli(under: Posterior, observed: Observed, stars: Columns, number: int, seed: int) -> Array:
    """Return random distance moduli of stars from their posteriors, mag, float16, shape (star, number).

    Parameters
    ----------
    under
        The posterior.
    observed
        What was observed of the stars.
    stars
        DIST_POST, without which there is none, and `IDENTIFIER`, shape (star,). A star's numbers depend on its
        identifier and on the seed, not on the other stars.
    number
        How many of each star.
    seed
        Random seed.
    """
    drawn = np.empty((len(observed.magnitude), number), np.float16)
    keys = [stream(seed, f"posterior draw {place}") for place in range(number)]
    for rows in ranges(len(drawn), _BLOCK):
        names = [stars[name][rows] for name in IDENTIFIER]
        levels = np.stack([uniform(key, *names) for key in keys], axis=1)
        moduli = under.moduli(observed.take(rows), levels)
        drawn[rows] = np.where(np.isnan(stars["DIST_POST"][rows, None]), np.nan, moduli)
    return drawn


def posterior(
    stars: Any, prior: PriorSettings | tuple[Array, Array] | None = None, draws: int = 0, seed: int = 0
) -> dict[str, Array]:
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
    draws
        How many posterior draws of each star are wanted: random distance moduli.
    seed
        Random seed of these. They depend on the star's TARGETID, SURVEY, PROGRAM and HEALPIX too, not on other stars.

    Returns
    -------
    dict
        DIST_POST, DISTERR_POST, DIST_POST_05, _16, _84 and _95, kpc, shape (star,); NaN where missing. With draws
        DISTMOD_POST_DRAWS, mag, shape (star, draw).

    Raises
    ------
    InputError
        When a column is missing, the table of the prior is wrong, or there are too few stars.
    """
    columns = _plain_columns(stars, (*POSTERIOR_NEEDS, *(IDENTIFIER if draws else ())))
    table = DensityTable.of_distances(*prior) if isinstance(prior, tuple) else None
    settings = prior if isinstance(prior, PriorSettings) else PriorSettings()
    observed = observed_in(columns)
    mixture, magnitude, direction, _ = observed
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
    found = Posterior(fitted)
    distances = found.columns(observed)
    if draws:
        distances[DRAWS_COLUMN] = random_moduli(found, observed, {**columns, **distances}, draws, seed)
    return distances


def _plain_columns(stars: Any, needed: tuple[str, ...]) -> Columns:
    """Return the needed columns as plain arrays, missing floats NaN, strings as bytes."""
    names = getattr(stars, "colnames", None) or list(stars)
    if lacking := [name for name in needed if name not in names]:
        raise InputError(
            "the catalogue",
            expected=f"columns {', '.join(lacking[:5])}" + (", ..." if len(lacking) > 5 else ""),
            found="none of these names",
            remedy="Read it with `specdis.read_catalogue`. If an earlier version wrote it, run that stage again.",
        )
    return {name: _plain(np.ma.asarray(stars[name])) for name in needed}


def _plain(values: Any) -> Array:
    plain = np.asarray(values.filled(np.nan) if values.dtype.kind == "f" else values.data)
    return np.char.encode(plain, "ascii") if plain.dtype.kind == "U" else plain
