"""Plain implementations of the stages with numpy, scipy, astropy and PyTorch.

They serve to compare speed, and in the tests to compare results.
"""

from __future__ import annotations

import itertools
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.ndimage import uniform_filter1d

from specdis.arrays import Array, Float, Float32, Float64
from specdis.components import Basis
from specdis.encoding.completion import SHARED, UNHELD
from specdis.spectra.grid import PixelGrid
from specdis.spectra.pixels import Pixels
from specdis.surveys.wavelengths import SPEED_OF_LIGHT


def read_coadd(path: Path) -> dict[str, Array]:
    """Read the B and R arms of a file, whole."""
    with fits.open(path, memmap=False) as file:
        names = [f"{arm}_{part}" for arm in "BR" for part in ("WAVELENGTH", "FLUX", "IVAR", "MASK")]
        return {name: np.asarray(file[name].data) for name in names}


def normalise_plainly(
    images: dict[str, Array], velocity: Float64, grid: PixelGrid, half: int
) -> tuple[Array, Array, Array]:
    """Bring spectra to rest, divide them by their running mean and join their arms, star by star.

    Returns
    -------
    flux, sigma, bad : ndarray, shape (star, pixel)
    """
    shape = len(velocity), len(grid.wavelength)
    flux, sigma, bad = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
    for star, speed in enumerate(velocity):
        for part in grid.arms:
            native = images[f"{part.name}_WAVELENGTH"] * (1 - speed / SPEED_OF_LIGHT)
            value, ivar = images[f"{part.name}_FLUX"][star], images[f"{part.name}_IVAR"][star]
            spoilt = (ivar <= 0) | (images[f"{part.name}_MASK"][star] > 0)
            error = np.where(spoilt, 0, 1 / np.sqrt(np.where(spoilt, 1, ivar)))
            rest, inside = grid.widened(part, half), slice(half, -half)
            here = np.interp(rest, native, np.where(spoilt, 0, value))
            pixels = slice(part.start, part.stop)
            outside = (rest < native[0] - 1e-6) | (rest > native[-1] + 1e-6)
            good = ~outside & (np.interp(rest, native, spoilt.astype(float)) < 1e-6)
            place, width = np.arange(len(rest), dtype=float), 2 * half + 1
            share, middle = (
                uniform_filter1d(some, width)[inside] for some in (good.astype(float), np.where(good, place, 0.0))
            )
            ends = np.flatnonzero(good) if good.any() else np.array([0, len(rest)])
            low, high = np.maximum(place[inside] - half, ends[0]), np.minimum(place[inside] + half, ends[-1])
            lean = np.abs(middle / np.maximum(share, 1e-9) - (low + high) / 2) > 0.03 * width
            few = share * width < 0.5 * (high - low + 1) - 1e-6
            continuum = uniform_filter1d(np.where(good, here, 0), 2 * half + 1)[inside] / np.maximum(share, 1e-9)
            bad[star, pixels] = ~good[inside] | lean | few | (continuum <= 0)
            safe = np.where(bad[star, pixels], 1, continuum)
            flux[star, pixels] = np.where(bad[star, pixels], 0, here[inside] / safe)
            sigma[star, pixels] = np.where(bad[star, pixels], 0, np.interp(rest, native, error)[inside] / safe)
    return flux, sigma, bad


def unit_vectors(pixels: Pixels, weight: Float) -> Float32:
    """Subtract the mean, apply Eq. 1 and the weights and divide by the norm, (..., pixel)."""
    flux, good = pixels.flux, ~pixels.bad
    mean = np.where(good, flux, 0).sum(-1, keepdims=True) / np.maximum(good.sum(-1, keepdims=True), 1)
    values = np.where(good, flux - mean, 0)
    values = np.sign(values) * np.log1p(np.abs(values)) * weight
    norm = np.sqrt((values**2).sum(-1, keepdims=True))
    return np.asarray(values / np.where(norm > 0, norm, 1), np.float32)


def encode(pixels: Pixels, basis: Basis, weight: Float) -> tuple[Array, Array]:
    """Return coefficients, missing pixels estimated, and the reduced chi-square of the reconstruction."""
    flux, sigma, bad, _ = pixels
    spectra, vectors = unit_vectors(pixels, weight), np.asarray(basis.vectors)
    projected = spectra @ vectors.T
    fitted, coefficients = np.array(projected), np.array(projected)
    typical = (basis.total - basis.eigenvalues.sum()) / len(basis.mean)

    def shared(noise: float) -> float:
        return float(noise / SHARED + UNHELD * basis.eigenvalues[-1])

    for star in np.flatnonzero(bad.any(1)):
        missing = vectors[:, bad[star]]
        hidden, seen = missing @ missing.T, projected[star]
        seen_share = np.eye(len(hidden)) - hidden
        z = np.linalg.solve(seen_share + np.diag(shared(typical) / basis.eigenvalues), seen)
        left = np.where(bad[star], 0, spectra[star] - z @ vectors)
        noise = max((left**2).sum() / ((~bad[star]).sum() - len(z)), 1e-3 * typical)
        inverse = np.linalg.inv(seen_share + np.diag(shared(noise) / basis.eigenvalues))
        z = inverse @ seen
        fitted[star] = seen + hidden @ z
        unknown = noise * bad[star].sum() + shared(noise) * np.trace(inverse @ hidden)
        coefficients[star] = fitted[star] / np.sqrt(1 + z @ hidden @ z + unknown)
    residual = np.where(bad, 0, spectra - fitted @ vectors)
    good = ~bad
    contrast = np.where(good, flux - np.where(good, flux, 0).sum(1, keepdims=True) / good.sum(1, keepdims=True), 0)
    norm = np.sqrt(((np.log1p(np.abs(contrast)) * weight) ** 2).sum(1, keepdims=True))
    error = np.where(bad, 0, sigma * weight / (1 + np.abs(contrast)) / norm)
    known = error > 0
    chi2 = np.where(known, (residual / np.where(known, error, 1)) ** 2, 0).sum(1)
    return coefficients, chi2 / (known.sum(1) - len(vectors))


def perceptron(inputs: Array, layers: list[tuple[Array, Array]]) -> Array:
    """Return the answers of a network, (..., output)."""
    for weight, bias in layers[:-1]:
        inputs = np.maximum(inputs @ weight + bias, 0)
    return np.asarray(inputs @ layers[-1][0] + layers[-1][1])


def draws(
    pixels: Pixels,
    grid: PixelGrid,
    half: int,
    projection: tuple[Array, Float, Float32],
    networks: list[list[tuple[Array, Array]]],
    n_draws: int,
) -> Float64:
    """Return the scatter of the mean answer of some networks over perturbed versions of each spectrum, (star,).

    `projection` has the pixels kept, their weights and the components.
    """
    flux, sigma, bad, velocity = pixels
    kept, weight, vectors = projection
    random, scatter = np.random.default_rng(1), np.zeros(len(flux))
    for star, speed in enumerate(velocity):
        perturbed = np.empty((n_draws, len(grid.wavelength)), np.float32)
        for part in grid.arms:
            here, rest = slice(part.start, part.stop), grid.widened(part, half)
            native = part.native * (1 - speed / SPEED_OF_LIGHT)
            place = np.clip(np.interp(rest, native, np.arange(len(native))), 0, len(native) - 1.000001)
            below, share = place.astype(int), place % 1
            noise = random.standard_normal((n_draws, len(native)), np.float32)
            drawn = noise[:, below] * (1 - share) + noise[:, below + 1] * share
            spoilt, scale = np.pad(bad[star, here], half, mode="edge"), np.pad(sigma[star, here], half, mode="edge")
            counted = ~spoilt & (rest >= native[0]) & (rest <= native[-1])
            wide = np.where(counted, scale * drawn, 0)
            share = uniform_filter1d(counted.astype(float), 2 * half + 1)
            change = (uniform_filter1d(wide, 2 * half + 1, axis=1) / np.maximum(share, 1e-9))[:, half:-half]
            perturbed[:, here] = (flux[star, here] + wide[:, half:-half]) / (1 + change)
        versions = Pixels(perturbed[:, kept], None, bad[star, kept], None)
        inputs = unit_vectors(versions, weight) @ vectors.T
        answers = np.mean([perceptron(inputs, layers)[:, 0] for layers in networks], axis=0)
        scatter[star] = answers.std(ddof=1)
    return scatter


def train_plainly(
    inputs: Float32, target: Float32, error: Float32, hidden: tuple[int, ...], batch: int, networks: int
) -> None:
    """Train networks on a chi-square for one epoch, one by one, with PyTorch.

    Raises
    ------
    ImportError
        When PyTorch or a library that it needs is not installed.
    """
    torch: Any = import_module("torch")
    x, y, s = (torch.from_numpy(values) for values in (inputs, target, error))
    for number in range(networks):
        torch.manual_seed(number)
        sizes, layers = (inputs.shape[1], *hidden), []
        for a, b in itertools.pairwise(sizes):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))
        optimiser = torch.optim.AdamW(network.parameters(), 1e-3)
        order = torch.randperm(len(x))
        for first in range(0, len(x) - batch + 1, batch):
            rows = order[first : first + batch]
            loss = (((network(x[rows])[:, 0] - y[rows]) / s[rows]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
