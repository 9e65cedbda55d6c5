"""Anchors: stars of known distance in training and recalibration (section 4.4).

Beyond 10 kpc a parallax says little: an error of its zero point of 5 uas is 5 per cent of the distance at 10 kpc and
half of it at 100 kpc. Members of clusters, dwarf galaxies and streams, and stars of known luminosity, carry the scale
there.

A distance modulus known to a few hundredths of a magnitude is as good as a parallax: to first order in its error the
likelihood of the modulus is that of a parallax 10^((10 - modulus)/5) mas with a relative error of 0.46 times that of
the modulus. So an anchor enters every likelihood as a better parallax, combined with the star's own.

A probable member counts with its probability: the likelihood of its modulus, a Gaussian, is raised to that power, which
divides its variance by it. The star's own parallax counts in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
from pydantic import Field

from specdis import rng
from specdis.arrays import Array, Bool, Float64
from specdis.references import Kind
from specdis.settings import Settings

_RELATIVE = float(np.log(10) / 5)
"""Relative error of a distance per magnitude of its modulus."""
_OF_SYSTEMS = ("cluster", "dwarf", "stream")

Use = Literal["none", "training", "calibration", "both"]


class AnchorsSettings(Settings):
    """Section [anchors]: stars of known distance that take part in training and recalibration (not in the paper)."""

    use: Use = "none"
    """Where the members of [references] count with their known distances: in `training`, in the recalibration
    (`calibration`), in `both`, or in neither, as in the paper. A system is then in one fold: networks that predict its
    stars were not trained on any of them."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    """Kinds of lists that are used."""
    least_error: float = Field(0.05, gt=0)
    """Least error of an anchor's distance modulus, mag: of the distance scale, and of the depth of a system."""
    usual_error: float = Field(0.2, gt=0)
    """Error of the distance modulus of an anchor whose list gives none, mag."""


def anchor_columns(members: Mapping[str, Array], stars: int, settings: AnchorsSettings) -> dict[str, Array]:
    """Return the columns of a sample that tell its anchors.

    Parameters
    ----------
    members
        ROW in the sample, SYSTEM, KIND, DIST_REF and DIST_REF_ERR (kpc) and PROBABILITY, as
        `references.Members.columns`.
    stars
        Number of stars of the sample.
    settings
        Section [anchors].

    Returns
    -------
    dict
        ANCHOR_DISTMOD and ANCHOR_DISTMOD_ERR (mag, NaN for other stars), the latter divided by the root of PROBABILITY,
        and ANCHOR_GROUP, a number that the members of a system share, 0 for other stars and for those that are known
        one by one; shape (star,).
    """
    used = np.isin(members["KIND"], settings.kinds) & (members["PROBABILITY"] > 0)
    row, kind, system, probability = (members[name][used] for name in ("ROW", "KIND", "SYSTEM", "PROBABILITY"))
    kpc, kpc_error = (np.asarray(members[name][used], np.float64) for name in ("DIST_REF", "DIST_REF_ERR"))
    error = np.where(np.isfinite(kpc_error), kpc_error / kpc / _RELATIVE, settings.usual_error)
    found = {
        "ANCHOR_DISTMOD": np.full(stars, np.nan),
        "ANCHOR_DISTMOD_ERR": np.full(stars, np.nan),
        "ANCHOR_GROUP": np.zeros(stars, np.int64),
    }
    found["ANCHOR_DISTMOD"][row] = 5 * np.log10(kpc) + 10
    found["ANCHOR_DISTMOD_ERR"][row] = np.maximum(error, settings.least_error) / np.sqrt(probability)
    together = np.isin(kind, _OF_SYSTEMS)
    groups = {str(name): rng.stream(0, f"system {name}") >> 1 for name in np.unique(system[together])}
    found["ANCHOR_GROUP"][row[together]] = [groups[str(name)] for name in system[together]]
    return found


def is_anchor(stars: Mapping[str, Array]) -> Bool:
    """Tell which stars of a sample are anchors, shape (star,)."""
    if "ANCHOR_DISTMOD" not in stars:
        return np.zeros(len(next(iter(stars.values()))), np.bool_)
    return np.isfinite(stars["ANCHOR_DISTMOD"])


def anchored(stars: Mapping[str, Array]) -> tuple[Float64, Float64]:
    """Return parallaxes and errors in mas in which the distances of anchors are combined with their own parallaxes.

    Parameters
    ----------
    stars
        PARALLAX_CORRECTED and PARALLAX_ERROR_USED (mas), A_G_ERR (mag), and the columns of `anchor_columns`, shape
        (star,). The error of A_G is part of that of the modulus: it moves G as much as the distance would.
    """
    parallax, error = (np.asarray(stars[name], np.float64) for name in ("PARALLAX_CORRECTED", "PARALLAX_ERROR_USED"))
    anchor = is_anchor(stars)
    both, both_error = combine(parallax, error, *known_parallaxes(stars))
    return np.where(anchor, both, parallax), np.where(anchor, both_error, error)


def known_parallaxes(stars: Mapping[str, Array]) -> tuple[Float64, Float64]:
    """Return parallaxes of the distances of anchors and their errors in mas, 0 and infinite for other stars, (star,).

    Parameters
    ----------
    stars
        As of `anchored`; without columns of anchors there are none.
    """
    anchor = is_anchor(stars)
    if not anchor.any():
        return np.zeros(len(anchor)), np.full(len(anchor), np.inf)
    known = 10.0 ** ((10.0 - stars["ANCHOR_DISTMOD"]) / 5.0)
    error = known * _RELATIVE * np.hypot(stars["ANCHOR_DISTMOD_ERR"], stars["A_G_ERR"])
    return np.where(anchor, known, 0), np.where(anchor, error, np.inf)


def combine(parallax: Any, error: Any, known: Any, known_error: Any) -> tuple[Any, Any]:
    """Return the weighted mean of two parallaxes and its error, arrays of numpy or JAX of any shape.

    A known parallax with an infinite error changes nothing.
    """
    weight, known_weight = error**-2.0, known_error**-2.0
    return (weight * parallax + known_weight * known) / (weight + known_weight), (weight + known_weight) ** -0.5
