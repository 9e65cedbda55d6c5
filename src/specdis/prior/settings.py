"""Section [prior]: the density of stars over distance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from specdis.settings import Settings, departs

PriorKind = Literal["none", "fitted", "halo", "disc-halo"]
"""No posterior; a density fitted to the survey itself; or a law with the numbers of the section."""


class PriorSettings(Settings):
    """Section [prior]: the density of stars behind the posterior distances, the columns DIST_POST."""

    kind: PriorKind = departs("fitted", paper="none")
    """`fitted`: a smooth density of the survey's stars over distance modulus, from all predicted distributions; `halo`
    or `disc-halo`: the laws below, along each line of sight; `none`: no posterior distances."""
    stars_max: PositiveInt = 100_000
    """Largest number of stars that it is fitted to."""
    smoothness: PositiveFloat = 100.0
    """Penalty on the curvature of the logarithms of densities, per step of 0.2 mag. Where there are no stars they
    continue as power laws of the distance."""
    sun_radius: PositiveFloat = 8.2
    """Distance of the Sun from the Galactic centre, kpc."""
    halo_inner_slope: float = 2.3
    """Slope of the halo within the break: density ~ radius^-slope (Deason et al. 2011)."""
    halo_outer_slope: float = 4.6
    """Slope of the halo beyond the break."""
    halo_break: PositiveFloat = 27.0
    """Radius of the break, kpc."""
    halo_flattening: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Axis ratio of the halo."""
    halo_fraction: Annotated[float, Field(gt=0)] = 0.005
    """Density of the halo at the Sun, in units of the thin disc's (Juric et al. 2008)."""
    thin_length: PositiveFloat = 2.6
    """Scale length of the thin disc, kpc."""
    thin_height: PositiveFloat = 0.3
    """Scale height of the thin disc, kpc."""
    thick_length: PositiveFloat = 3.6
    """Scale length of the thick disc, kpc."""
    thick_height: PositiveFloat = 0.9
    """Scale height of the thick disc, kpc."""
    thick_fraction: Annotated[float, Field(ge=0)] = 0.12
    """Density of the thick disc at the Sun, in units of the thin disc's (Juric et al. 2008)."""
