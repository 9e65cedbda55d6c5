"""Inputs of the networks: scaled coefficients of the spectrum, and colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Array, Bool, Float32, Float64
from specdis.colours import Bands, Colours
from specdis.jaxed import jax, jnp
from specdis.network.settings import NetworkSettings
from specdis.statistics import robust_scatter

_REACH = 5.0
"""Largest scaled colour: a wrong one must not take the networks far beyond what they were trained on."""
_LEAST_WIDTH = 0.01  # mag


class ColourScale(NamedTuple):
    """The colours of the training set.

    Parameters
    ----------
    centre, width
        Of each colour, mag, shape (colour,).
    slopes
        Change of each colour with the scaled coefficients, by linear regression, shape (component, colour).
    offset, scatter
        Colour of a spectrum whose coefficients are 0, and robust scatter about the regression beside the errors of
        photometry and E(B-V); mag, shape (colour,).
    limit
        Largest deviation of a colour from the regression, in its error and `scatter` together, shape (colour,).
    """

    centre: Float64
    width: Float64
    slopes: Float64
    offset: Float64
    scatter: Float64
    limit: Float64

    @classmethod
    def of_stars(cls, bands: Bands, colours: Colours, scaled: Float32) -> ColourScale:
        """Measure the known colours of training stars, whose scaled coefficients have shape (star, component)."""
        value, error, known = (np.asarray(values) for values in colours_of(bands, jnp.asarray(colours.difference)))
        found = [_regression(*one, scaled) for one in zip(value.T, error.T, known.T, strict=True)]
        return cls(*(np.stack(values, axis=-1) for values in zip(*found, strict=True)))

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to save: `of` is the inverse."""
        return self._asdict()

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> ColourScale:
        """Return what was saved as `arrays`."""
        return cls(*(arrays[name] for name in cls._fields))


def _regression(value: Float32, error: Float32, known: Bool, scaled: Float32) -> tuple[Float64, ...]:
    """Return what `ColourScale` holds of one colour, shape (star,); a colour that no star has never fits."""
    rows = np.flatnonzero(known)
    if len(rows) < _FEWEST:
        zero = np.zeros(())
        return zero, np.ones(()), np.zeros(scaled.shape[1]), zero, np.ones(()), zero
    colour, spectrum = value[rows].astype(np.float64), scaled[rows].astype(np.float64)
    low, centre, high = np.quantile(colour, (0.16, 0.5, 0.84))
    middle = spectrum.mean(0)
    about = spectrum - middle
    kept = np.ones(len(rows), np.bool_)
    for _ in range(3):  # without the odd ones
        matrix = about[kept].T @ about[kept] + _RIDGE * kept.sum() * np.eye(spectrum.shape[1])
        slopes = np.linalg.solve(matrix, about[kept].T @ (colour[kept] - centre))
        residual = colour - centre - about @ slopes
        residual -= np.median(residual[kept])
        spread = robust_scatter(residual)
        kept = np.abs(residual) < 4 * max(spread, _LEAST_WIDTH)
    scatter = np.sqrt(max(spread**2 - float(np.median(error[rows])) ** 2, _LEAST_WIDTH**2))
    deviation = np.abs(residual) / np.hypot(scatter, error[rows])
    offset = np.median((colour - spectrum @ slopes)[kept])
    limit = max(_LEAST_LIMIT, float(np.quantile(deviation, _USUAL)))
    width = max((high - low) / 2, _LEAST_WIDTH)
    return tuple(np.asarray(found, np.float64) for found in (centre, width, slopes, offset, scatter, limit))


_FEWEST = 100
"""Fewest training stars with a colour for it to be used."""
_RIDGE = 1e-4
"""Variance of the coefficients' noise, in units of their own, that keeps the regression stable."""
_USUAL, _LEAST_LIMIT = 0.999, 4.0
"""Share of the training stars whose colour fits, and the least limit."""


def colours_of(bands: Bands, difference: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return colours, their errors in mag, and which are known, shape (star, colour).

    Parameters
    ----------
    bands
        Dereddened magnitudes.
    difference
        `Colours.difference`.
    """
    used = jnp.abs(difference)
    variance = jnp.asarray(bands.error) ** 2 @ used
    variance += (jnp.asarray(bands.reddening) @ difference * jnp.asarray(bands.ebv_error)[:, None]) ** 2
    known = (~jnp.asarray(bands.known)).astype(jnp.float32) @ used == 0
    return jnp.asarray(bands.magnitude) @ difference, jnp.sqrt(jnp.maximum(variance, 1e-6)), known


@dataclass(frozen=True)
class NetworkInputs:
    """From coefficients and dereddened magnitudes to the inputs of the networks.

    For every colour there are two inputs: its value, and whether it is known. Its error is none: it is larger for faint
    stars, so that it would tell their magnitudes.

    Parameters
    ----------
    settings
        Section [network]: which colours, and whether the spectrum is seen.
    scale
        Divisor of the coefficients.
    colour_scale
        Centre and width of the colours; None without colours.
    """

    settings: NetworkSettings
    scale: float
    colour_scale: ColourScale | None

    @cached_property
    def colours(self) -> Colours:
        """The colours."""
        return Colours(self.settings.colours)

    def __call__(self, coefficients: jax.Array, bands: Bands) -> jax.Array:
        """Return the inputs, float32, shape (star, input), of coefficients (star, component) and bands."""
        return self.join(coefficients / self.scale, bands)

    def join(self, scaled: jax.Array, bands: Bands) -> jax.Array:
        """Return the inputs of coefficients that are scaled already."""
        if not self.settings.spectrum:
            scaled = jnp.zeros_like(scaled)
        if self.colour_scale is None:
            return scaled
        return jnp.concatenate([scaled, self._features(bands)], axis=-1)

    def sound(self, scaled: jax.Array, bands: Bands) -> Bands:
        """Return the bands without those of colours that do not fit the spectrum, of scaled coefficients."""
        if self.colour_scale is None:
            return bands
        return bands._replace(known=np.asarray(self._sound(scaled, bands)))

    @cached_property
    def _sound(self) -> Callable[[jax.Array, Bands], jax.Array]:
        scale, difference = self.colour_scale, jnp.asarray(self.colours.difference)
        assert scale is not None

        @jax.jit
        def known(scaled: jax.Array, bands: Bands) -> jax.Array:
            value, error, known = colours_of(bands, difference)
            deviation = value - (scaled @ jnp.asarray(scale.slopes, jnp.float32) + scale.offset)
            odd = known & (jnp.abs(deviation) > scale.limit * jnp.hypot(error, scale.scatter))
            return jnp.asarray(bands.known) & ~(odd.astype(jnp.float32) @ jnp.abs(difference).T > 0)

        return known

    def lacking(self, bands: Bands) -> Bool:
        """Tell which stars lack a colour that enough of the training stars had, shape (star,)."""
        if self.colour_scale is None:
            return np.zeros(len(bands.known), np.bool_)
        needed = (self.colours.difference[:, self.colour_scale.limit > 0] != 0).any(1)
        return np.asarray((~bands.known[:, needed]).any(1))

    @property
    def n_features(self) -> int:
        """Number of inputs besides the coefficients."""
        return 2 * len(self.colours)

    def features(self, bands: Bands) -> Float32:
        """Return the inputs besides the coefficients, shape (star, 2 colours)."""
        return np.asarray(jax.jit(self._features)(bands))

    def _features(self, bands: Bands) -> jax.Array:
        assert self.colour_scale is not None
        value, _, known = colours_of(bands, jnp.asarray(self.colours.difference))
        centre, width = jnp.asarray(self.colour_scale.centre), jnp.asarray(self.colour_scale.width)
        value = jnp.clip((value - centre) / width, -_REACH, _REACH)
        return jnp.concatenate([jnp.where(known, value, 0), known], axis=-1).astype(jnp.float32)


def perturbed_bands(bands: Bands, normal: jax.Array) -> Bands:
    """Return stars with the errors of photometry and E(B-V) drawn once more.

    Parameters
    ----------
    bands
        Stars, shape (star, band), or one star, shape (band,).
    normal
        Normal numbers: one per band, and the last for E(B-V), which changes all bands; shape (..., star, band + 1).
    """
    of_dust = bands.reddening * jnp.asarray(bands.ebv_error)[..., None] * normal[..., -1:]
    moved: Any = bands.magnitude + bands.error * normal[..., :-1] - of_dust
    return bands._replace(magnitude=moved)
