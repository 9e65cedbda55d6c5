"""The stage `components`: principal components, and the coefficients of all stars (section 3.1 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specdis import jaxed, rng
from specdis.arrays import Array, Bool, Float64, ranges
from specdis.components import Basis, Sums, Vectors, add_moments, basis_of_moments, vectors_of
from specdis.distances.targets import star_keys
from specdis.encoding.encoder import Encoded, Encoder, encoder
from specdis.jaxed import in_tiles, jax
from specdis.log import Progress, logger
from specdis.noise import NativeNoise, native_pixels
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import OnPixels, copies_factor
from specdis.spectra.instruments import Instruments
from specdis.spectra.pixels import Pixels
from specdis.storage import read_arrays, read_table, write_arrays
from specdis.stores.coefficients import CoefficientStore
from specdis.stores.resumable import Unfinished
from specdis.surveys import IDENTIFIER
from specdis.workers.processes import read_ahead

_LEAST_COPIED = 8.0  # S/N of stars that get a noisier copy
SUMMED = 2048
"""Stars whose moments are summed at once."""


def run(context: Context) -> Outcome:
    """Find the principal components of the selected stars and the coefficients of all (section 3.1)."""
    jaxed.use(context.config.run.device)
    store = context.pixels
    saved = context.scratch / "basis.npz"
    if not saved.exists():
        write_arrays(saved, context.provenance("basis"), _basis(context, len(store)).arrays())
    basis = Basis.of(read_arrays(saved, "basis")[1])
    copies, provenance = context.config.training.noisy_copies, context.provenance("coefficients")
    unfinished = Unfinished(
        context.scratch,
        "coefficients.zarr",
        lambda path: CoefficientStore.create(path, context.identity, basis, copies, provenance),
    )
    CoefficientStore.open(unfinished.path, context.identity)
    left = unfinished.left(store.blocks())
    resumed = len(store) - sum(rows.stop - rows.start for rows in left)
    progress = Progress("components", len(store), resumed)
    task = Encode(context.config, unfinished.path, saved)
    for block, _ in context.workers.each(task, blocks(context, left), here=jaxed.on_gpu()):
        unfinished.mark(block.rows)
        progress.advance(block.rows.stop - block.rows.start)
    progress.close()
    write_arrays(context.paths.basis, context.provenance("basis"), basis.arrays())
    unfinished.publish(context.paths.coefficients)
    return Outcome(len(store), notes={"explained": basis.explained}, resumed=resumed)


def _basis(context: Context, stars: int) -> Basis:
    """Find the components of the selected stars."""
    settings = context.config.components
    sums = context.workers.total(Moments(context.config), spread(stars, settings.stars_max), _add)
    logger.info("components: computed from %s spectra", f"{int(sums.stars):,}")
    return basis_of_moments(sums, settings)


def spread(stars: int, most: int | None) -> list[slice]:
    """Return all blocks, or an evenly spaced subset with at most `most` stars."""
    every = list(ranges(stars, SUMMED))
    wanted = len(every) if most is None else min(len(every), max(1, most // SUMMED))
    return [every[int(number)] for number in np.linspace(0, len(every) - 1, wanted).round()]


@dataclass(frozen=True)
class Moments(OnPixels):
    """Task: the moments of the spectra of the selected stars in some blocks."""

    @cached_property
    def vectors(self) -> Callable[..., Vectors]:
        """The compiled function from a block to unit vectors."""
        return vectors_of(self.transform)

    def __call__(self, blocks: Sequence[slice]) -> Sums:
        """Return the sums over some blocks."""
        selected = read_table(self.paths.sample, ["SELECTED"])["SELECTED"]

        def read(rows: slice) -> Vectors:
            pixels = self.store.read(rows, errors=False)
            filled: Pixels = jax.tree.map(lambda values: _filled(values, SUMMED), pixels)
            return self.vectors(filled, _filled(selected[rows], SUMMED))

        sums = Sums.zero(len(self.transform.kept))
        progress = Progress("components (moments)", sum(rows.stop - rows.start for rows in blocks))
        for rows, vectors in read_ahead(read, blocks):
            sums = add_moments(sums, vectors)
            jax.block_until_ready(sums.stars)  # type: ignore[no-untyped-call]
            progress.advance(rows.stop - rows.start)
        progress.close()
        return Sums(*(np.asarray(values) for values in sums))


def _filled(values: Array, length: int) -> Array:
    """Pad the values of a block with rows of 0, so that one compiled program serves all blocks."""
    return np.pad(values, [(0, length - len(values)), *[(0, 0)] * (values.ndim - 1)])


def _add(one: Sums, other: Sums) -> Sums:
    return Sums(*(np.asarray(a) + np.asarray(b) for a, b in zip(one, other, strict=True)))


class EncodeBlock(NamedTuple):
    """A block of stars, with keys and noise factors of their noisier copies, shape (copy, star), and their names."""

    rows: slice
    copied: Bool
    keys: Array
    factor: Float64
    identifier: tuple[Array, ...] = ()


def blocks(context: Context, left: Sequence[slice]) -> Iterator[EncodeBlock]:
    """Yield the remaining blocks. Only trainable stars above the S/N limit get a noisier copy."""
    seed, copies = context.config.run.seed, range(context.config.training.noisy_copies)
    stars = read_table(context.paths.sample, [*IDENTIFIER, "TRAINABLE", "SN"])
    identifier = [stars[name] for name in IDENTIFIER]
    copied = stars["TRAINABLE"] & ~(stars["SN"] < _LEAST_COPIED)
    keys = np.empty((len(copies), len(copied), 2), np.uint32)
    factor = np.empty((len(copies), len(copied)))
    for number in copies:
        keys[number] = star_keys(seed, *identifier, purpose=f"copies {number}")
        factor[number] = copies_factor(seed, number, stars)
    for rows in left:
        names = tuple(name[rows] for name in identifier)
        yield EncodeBlock(rows, copied[rows], keys[:, rows], factor[:, rows], names)


@dataclass(frozen=True)
class Encode(OnPixels):
    """Task: coefficients, residuals, and coefficients of noisier copies of a block."""

    path: Path
    basis_path: Path

    @cached_property
    def coefficients(self) -> CoefficientStore:
        """The store of coefficients."""
        return CoefficientStore.open(self.path, writable=True)

    @cached_property
    def basis(self) -> Basis:
        """The components."""
        return Basis.of(read_arrays(self.basis_path, "basis")[1])

    @cached_property
    def encode(self) -> Encoder:
        """The compiled function from pixels to coefficients."""
        return encoder(self.transform, self.basis, self.store.grid, self.config.spectra)

    @cached_property
    def noisier(self) -> Callable[..., jax.Array]:
        """The compiled function from pixels to the flux of noisier copies."""
        noise, native = NativeNoise(self.store.grid, self.config.spectra), native_pixels(self.store.grid)

        def noisier(pixels: Pixels, key: jax.Array, factor: jax.Array) -> jax.Array:
            return noise.noisier(pixels, key, factor, native)

        return jax.jit(in_tiles(noisier))

    @cached_property
    def instruments(self) -> Instruments | None:
        """The instruments for which the copies stand; None for that of the survey."""
        settings = self.config.training.instruments
        return Instruments(settings, self.config.spectra, self.store.grid) if settings.on else None

    def __call__(self, block: EncodeBlock) -> None:
        """Encode a block and store the results."""
        pixels = self.store.read(block.rows)
        encoded = self.encode(pixels)
        copies = self._copies(block, pixels) if self.config.training.noisy_copies else None
        fraction_bad = pixels.bad[:, self.transform.kept].mean(1)
        self.coefficients.write(block.rows, encoded, fraction_bad, copies)

    def _copies(self, block: EncodeBlock, pixels: Pixels) -> Encoded:
        """Return what noisier copies are encoded to, (star, copy); NaN for stars not copied or without errors."""
        copied = block.copied & pixels.has_errors
        found = [self._copy(block, pixels, number) for number in range(len(block.keys))]

        def joined(*copies: jax.Array) -> Array:
            values = np.stack(copies, 1)
            return np.where(copied.reshape(-1, *[1] * (values.ndim - 1)), values, values.dtype.type(np.nan))

        together: Encoded = jax.tree.map(joined, *found)
        return together

    def _copy(self, block: EncodeBlock, pixels: Pixels, number: int) -> Encoded:
        """Return what the copies of one number are encoded to."""
        factor = block.factor[number]
        if self.instruments is not None:
            seed = self.config.run.seed

            def chance(purpose: str) -> Float64:
                return rng.uniform(rng.stream(seed, f"instruments of copies {number}, {purpose}"), *block.identifier)

            pixels = self.instruments.see(pixels, factor, chance)
        flux = self.noisier(pixels, block.keys[number], factor)
        return self.encode(pixels._replace(flux=flux, sigma=pixels.sigma * factor[:, None]))
