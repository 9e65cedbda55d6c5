"""Densities of stars along a line of sight: discs and halo, or a table."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from specdis.arrays import Array, Float64
from specdis.errors import InputError
from specdis.jaxed import ArrayLike, jax, jnp
from specdis.photometry import distance_modulus
from specdis.prior.settings import PriorSettings

_VOLUME = 0.6 * float(np.log(10))
"""Derivative with respect to the distance modulus of the logarithm of the volume between two equal steps of it."""

# Rows: Galactic axes in ICRS (ESA 1997, The Hipparcos and Tycho Catalogues, vol. 1, Eq. 1.5.11).
_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)


class DensityTable(NamedTuple):
    """A density of stars over distance modulus, the same in every direction.

    Parameters
    ----------
    modulus
        Increasing, mag, shape (node,).
    log_density
        Natural logarithm of the number of stars per mag of modulus, up to a constant, shape (node,); -inf for none.
    """

    modulus: Array
    log_density: Array

    @classmethod
    def of_distances(cls, distance: Array, density: Array) -> DensityTable:
        """Convert stars per volume at some distances; in between it is a power law of the distance.

        Parameters
        ----------
        distance
            Increasing, kpc, shape (node,).
        density
            Stars per volume in any unit, shape (node,). It is zero outside the distances, and next to a zero.

        Raises
        ------
        InputError
            When they are no such numbers.
        """
        distance, density = (np.asarray(values, np.float64) for values in (distance, density))
        good = distance.ndim == 1 and distance.shape == density.shape and len(distance) > 1
        if not good or not (np.isfinite(distance).all() and distance[0] > 0 and (np.diff(distance) > 0).all()):
            raise InputError(
                "the table of the prior",
                expected="two or more distances in kpc, above 0 and increasing, and a density for each",
                found=f"distances of shape {distance.shape} and densities of shape {density.shape}, or out of order",
                remedy="Correct the table.",
            )
        if not (np.isfinite(density).all() and (density >= 0).all() and (density > 0).any()):
            raise InputError(
                "the table of the prior",
                expected="densities that are finite and not negative, one at least positive",
                found=f"values from {np.min(density)} to {np.max(density)}",
                remedy="Correct the table.",
            )
        modulus = distance_modulus(distance)
        with np.errstate(divide="ignore"):
            return cls(modulus, np.log(density) + _VOLUME * modulus)

    def __call__(self, modulus: jax.Array, direction: jax.Array) -> jax.Array:
        """Return ln of the stars per mag of modulus, shape (star, node); the direction does not matter."""
        del direction
        some = np.isfinite(self.log_density)
        place, height = (jnp.asarray(values, modulus.dtype) for values in (self.modulus, self.log_density))
        found = jnp.interp(modulus, place, jnp.where(some, height, 0), left=-jnp.inf, right=-jnp.inf)
        beside_nothing = jnp.interp(modulus, place, jnp.asarray(some, modulus.dtype)) < 1
        return jnp.where(beside_nothing, -jnp.inf, found)


class Law(NamedTuple):
    """Thin and thick disc and a flattened halo with a broken power law, around the Galactic centre.

    Parameters
    ----------
    settings
        Their numbers.
    discs
        Whether there are discs, or the halo alone.
    """

    settings: PriorSettings
    discs: bool

    def __call__(self, modulus: jax.Array, direction: jax.Array) -> jax.Array:
        """Return ln of the stars per mag of modulus.

        Parameters
        ----------
        modulus
            Distance moduli, mag, shape (star, node).
        direction
            Galactic unit vectors, shape (star, 3); the Sun lies in the plane.
        """
        law = self.settings
        kpc = 10 ** (modulus / 5 - 2)
        x, y, height = (kpc * direction[:, axis, None] for axis in range(3))
        across = (law.sun_radius - x) ** 2 + y**2
        radius = jnp.sqrt(across + (height / law.halo_flattening) ** 2 + _CORE**2)
        excess = law.halo_outer_slope - law.halo_inner_slope
        halo = (
            jnp.log(law.halo_fraction)
            - law.halo_inner_slope * jnp.log(radius / law.sun_radius)
            - excess * jnp.log(jnp.maximum(radius / law.halo_break, 1))
        )
        if not self.discs:
            return halo + _VOLUME * modulus
        outwards, height = jnp.sqrt(across) - law.sun_radius, jnp.abs(height)
        thin = -outwards / law.thin_length - height / law.thin_height
        thick = -outwards / law.thick_length - height / law.thick_height
        thick = thick + jnp.log(max(law.thick_fraction, 1e-30))
        return jnp.logaddexp(jnp.logaddexp(thin, thick), halo) + _VOLUME * modulus


_CORE = 0.5
"""Radius within which the halo's density no longer rises, kpc."""

Density = DensityTable | Law
"""Gives ln of the stars per mag of distance modulus, (star, node), from moduli and directions, (star, 3)."""


def galactic_direction(ra: ArrayLike, dec: ArrayLike) -> Float64:
    """Return the Galactic unit vectors of positions in deg, shape (star, 3): to the centre, to l = 90, to the pole."""
    a, d = (np.radians(np.asarray(angle, np.float64)) for angle in (ra, dec))
    icrs = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
    return np.asarray(icrs @ _GALACTIC.T)
