"""From stored pixels to coefficients, and the quality of the reconstruction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from specdis.components import Basis
from specdis.encoding.completion import SHARED, Completer
from specdis.encoding.measures import LAGS, curvature, structure_of, sums_beyond, swan_bands
from specdis.jaxed import in_tiles, jax, jnp
from specdis.spectra.grid import PixelGrid
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform


class Fit(NamedTuple):
    """Quality of the reconstruction of spectra, one row per star.

    Parameters
    ----------
    residual
        Sum of squares of R of Eq. 2 over the good pixels, as a fraction of that of the spectrum.
    structure, structure_error
        The part that is not noise, and its error: the mean product of residuals separated by one of `LAGS`, for the
        more significant of these. Such residuals share no native pixel: for pure noise it scatters about 0, whatever
        the noise and the quoted errors.
    broadening, broadening_error
        Excess of the squared width (a Gaussian's sigma, Angstrom) of the lines over that of the spectra from which the
        components were computed, and its error: the residual is fitted by the second derivative of the reconstruction,
        as far as it is orthogonal to the components. Negative for sharper lines.
    noise
        Mean variance of a coefficient from the noise of the pixels, in units of the unit vector.
    carbon, carbon_error
        Projection of the residual on the Swan bands of C2, as far as they are orthogonal to the components, as a
        fraction of the spectrum's length, and its error. Positive for a spectrum with the bands.
    chi2
        Reduced chi-square of the reconstruction over good pixels; NaN without errors. Pixels of the grid are
        interpolated, so that neighbours share their noise: about 0.7 for pure noise.
    """

    residual: jax.Array
    structure: jax.Array
    structure_error: jax.Array
    broadening: jax.Array
    broadening_error: jax.Array
    carbon: jax.Array
    carbon_error: jax.Array
    noise: jax.Array
    chi2: jax.Array


class Encoded(NamedTuple):
    """Coefficients of spectra and the quality of their reconstruction, one row per star.

    Parameters
    ----------
    coefficients
        C of Eq. 2, of completed spectra where pixels are missing, float32, shape (star, component).
    fit
        Quality of the reconstruction.
    pixel_noise, shrink
        Of the `Completion` of each spectrum, which follows from these and the missing pixels; 0 and 1 if missing
        pixels are zeros.
    """

    coefficients: jax.Array
    fit: Fit
    pixel_noise: jax.Array
    shrink: jax.Array


Encoder = Callable[[Pixels], Encoded]


def encoder(transform: Transform, basis: Basis, grid: PixelGrid, settings: SpectraSettings) -> Encoder:
    """Compile the way from stored pixels to coefficients.

    A sigma of NaN or 0 means a pixel without an error.

    Parameters
    ----------
    transform, basis
        Transform of the pixels, and components.
    grid
        The pixels.
    settings
        Whether missing pixels are estimated, and the width of the running mean.
    """
    completer = Completer(basis, settings.missing == "estimated", transform.unit_norm)
    carbon = jnp.asarray(swan_bands(transform, basis, grid, settings.continuum_half), jnp.float32)
    beyond = [sums_beyond(transform, *(grid.pixels(lag) for lag in lags)) for lags in LAGS]
    # Contribution of each pixel's noise to a coefficient, averaged over coefficients.
    leverage = jnp.asarray(1 / basis.n_components if basis.vectors is None else (basis.vectors**2).mean(0), jnp.float32)
    leverage = jnp.broadcast_to(leverage, basis.mean.shape)

    def one(pixels: Pixels) -> Encoded:
        flux, sigma, bad, _ = pixels
        spectrum, missing = transform.one(flux, bad), bad[transform.kept]
        completion = completer.completion(spectrum, missing)
        seen = completer.seen(spectrum, missing)
        full = seen if completion is None else completion.complete(seen)[0]
        rebuilt = basis.reconstruct(full)
        residual = jnp.where(missing, 0, spectrum - rebuilt)
        good = jnp.maximum((~missing).sum(), 1)
        square, power = jnp.maximum((spectrum**2).sum(), 1e-30), residual**2
        structures = jnp.stack([structure_of(residual, missing, sums) for sums in beyond]) * good / square
        structure, structure_error = structures[(structures[:, 0] / jnp.maximum(structures[:, 1], 1e-30)).argmax()]
        curve = curvature(transform, basis, grid, rebuilt, missing)
        steep = jnp.maximum((curve**2).sum(), 1e-30)
        bands = jnp.where(missing, 0, carbon)
        deep = jnp.maximum(jnp.sqrt((bands**2).sum() * square), 1e-30)
        error = sigma[transform.kept].astype(jnp.float32) * transform.slope(flux, bad)
        known = error > 0
        chi2 = jnp.where(known, (residual / jnp.where(known, error, 1)) ** 2, 0).sum()
        freedom = known.sum() - basis.n_components
        fit = Fit(
            residual=power.sum() / square,
            structure=structure,
            structure_error=structure_error,
            broadening=(residual @ curve) / steep,
            broadening_error=jnp.sqrt((power @ curve**2) / SHARED) / steep,
            carbon=(residual @ bands) / deep,
            carbon_error=jnp.sqrt((power @ bands**2) / SHARED) / deep,
            noise=(power @ leverage) / (SHARED * square),
            chi2=jnp.where(freedom > 0, chi2 / jnp.maximum(freedom, 1), jnp.nan),
        )
        unmissed = jnp.zeros(()), jnp.ones(())
        pixel_noise, shrink = unmissed if completion is None else (completion.pixel_noise, completion.shrink)
        return Encoded(completer.coefficients(spectrum, missing, completion), fit, pixel_noise, shrink)

    tiles = in_tiles(one)

    @jax.jit
    def encode(pixels: Pixels) -> Encoded:
        sigma = jnp.zeros_like(pixels.flux) if pixels.sigma is None else pixels.sigma
        encoded: Encoded = tiles(pixels._replace(sigma=sigma))
        return encoded

    return encode
