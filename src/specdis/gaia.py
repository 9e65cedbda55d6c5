"""Gaia's releases: everything in which they differ for this software."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

Release = Literal["dr3", "dr4"]


class ReleaseFacts(NamedTuple):
    """What is known of a release. An identifier of one release may be that of another star in the other.

    Parameters
    ----------
    name
        As people write it.
    epoch
        Year of its positions.
    recipes
        Key of section [photometry] to the recipes that were measured for this release.
    """

    name: str
    epoch: float
    recipes: Mapping[str, tuple[str, ...]]


RELEASES: Mapping[Release, ReleaseFacts] = MappingProxyType(
    {
        "dr3": ReleaseFacts(
            "Gaia DR3", 2016.0, {"zero_point": ("lindegren2021",), "error_inflation": ("el-badry2021",)}
        ),
        "dr4": ReleaseFacts("Gaia DR4", 2017.5, {"zero_point": (), "error_inflation": ()}),
    }
)
"""DR3 includes EDR3, whose identifiers and parallaxes are equal. Columns have the names of DR3: no others are known."""


def invalid_recipes(release: Release, photometry: Mapping[str, str]) -> dict[str, str]:
    """Return a message for each key whose recipe was not measured for a release.

    Parameters
    ----------
    release
        The release of the parallaxes.
    photometry
        Keys of section [photometry] and their values; `none` is valid for every release.
    """
    facts = RELEASES[release]
    wrong = {key: (*known, "none") for key, known in facts.recipes.items() if photometry[key] not in (*known, "none")}
    return {
        key: f"expected {' or '.join(valid)} with survey.gaia = {release}: no other recipe is known to hold for "
        f"{facts.name}, found {photometry[key]}"
        for key, valid in wrong.items()
    }
