"""The store of normalised pixels: flux, sigma and bad pixels of every star."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from pydantic import PositiveFloat, ValidationError

from specdis.arrays import Array, Bool, Float64, Int64, ranges
from specdis.settings import Settings
from specdis.spectra.grid import ArmPixels, PixelGrid
from specdis.spectra.pixels import Pixels
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.sky import ErrorStack
from specdis.spectra.transform import Transform, noise_sums
from specdis.storage import Provenance
from specdis.stores.identity import require_identity
from specdis.stores.zarr import (
    BLOCK,
    array,
    create_array,
    damaged_store,
    folder_of,
    keep_array,
    open_group,
    read_store_rows,
    values,
    write_rows,
)

_WEIGHED = 32
"""Number of blocks of stars for the typical noise of the pixels."""
_LARGEST = float(np.finfo(np.float16).max)


class _Attributes(Settings):
    """Attributes of a store of pixels, in addition to its arrays."""

    provenance: dict[str, Any]
    arms: tuple[tuple[str, int, int], ...]
    step: PositiveFloat
    sky_windows: tuple[tuple[float, float], ...]


class PixelStore:
    """Stored pixels of a run.

    Flux and sigma over continuum are in half precision: rounding, 0.05 % of the continuum, is a tenth of the noise at
    an S/N of 200 per pixel.

    Parameters
    ----------
    group
        The open store.
    """

    def __init__(self, group: zarr.Group) -> None:
        self._group = group

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Array,
        grid: PixelGrid,
        sky: Sequence[tuple[float, float]],
        stack: ErrorStack,
        provenance: Provenance,
    ) -> PixelStore:
        """Make an empty store for the rows of `identity`; a star is without a spectrum until it is written."""
        group = zarr.create_group(path, overwrite=True)
        stars, pixels = len(identity), len(grid.wavelength)
        keep_array(group, "identity", identity)
        create_array(group, "flux", (stars, pixels), np.float16)
        create_array(group, "sigma", (stars, pixels), np.float16)
        create_array(group, "bad", (stars, pixels), np.bool_)
        create_array(group, "velocity", (stars,), np.float64)
        keep_array(group, "wavelength", grid.wavelength)
        for name, column in zip(("stack_wavelength", "stack_error"), stack.spectrum(), strict=True):
            keep_array(group, name, column)
        for arm in grid.arms:
            keep_array(group, f"native_{arm.name}", arm.native)
        group.attrs.update(
            {
                "provenance": provenance.to_dict(),
                "arms": [[arm.name, arm.start, arm.stop] for arm in grid.arms],
                "step": grid.step,
                "sky_windows": [list(window) for window in sky],
            }
        )
        return cls(group)

    @classmethod
    def open(cls, path: Path, identity: Array | None = None, *, writable: bool = False) -> PixelStore:
        """Open a store, finished or from an interrupted run.

        Raises
        ------
        ProductError
            When it is missing or damaged, or its rows differ from those of `identity`.
        """
        store = cls(open_group(path, "pixels", writable=writable))
        if identity is not None:
            require_identity(path, values(store._group, "identity"), identity)
        return store

    def write(self, rows: slice, pixels: Pixels) -> None:
        """Write one block of stars, `rows` being one chunk."""
        write_rows(self._group, "flux", rows, np.clip(pixels.flux, -_LARGEST, _LARGEST).astype(np.float16))
        sigma = np.zeros_like(pixels.flux) if pixels.sigma is None else pixels.sigma
        write_rows(self._group, "sigma", rows, np.clip(sigma, 0, _LARGEST).astype(np.float16))
        write_rows(self._group, "bad", rows, pixels.bad)
        write_rows(self._group, "velocity", rows, pixels.velocity)

    def keep(self, selected: Bool, bad_fraction_max: float) -> Int64:
        """Set the pixel mask: remove pixels that are bad in too many selected stars with a spectrum."""
        count, stars = np.zeros(len(self.grid.wavelength), np.int64), 0
        for rows in self.blocks():
            bad = read_store_rows(self._group, "bad", rows)[selected[rows]]
            bad = bad[~bad.all(1)]
            count, stars = count + bad.sum(0), stars + len(bad)
        kept = np.flatnonzero(count <= bad_fraction_max * stars) if stars else np.arange(0)
        keep_array(self._group, "kept", kept)
        return kept

    def weigh(self, selected: Bool, settings: SpectraSettings) -> None:
        """Find the typical noise of the pixels kept, over selected stars in blocks spread over the store.

        The noise of a star is that of its unit vector, as in the components. Without errors, or without this setting,
        all pixels have equal weight.
        """
        if settings.weights == "none":
            return
        sums, (total, count) = noise_sums(self.transform(settings)), np.zeros((2, len(self._values("kept"))))
        every = list(self.blocks())
        for number in np.unique(np.linspace(0, len(every) - 1, min(len(every), _WEIGHED)).astype(int)):
            rows = every[number]
            pixels = self.read(rows)
            variance, known = sums(pixels.flux, pixels.sigma, pixels.bad, selected[rows])
            total, count = total + np.asarray(variance), count + np.asarray(known)
        if (count > 0).all():
            weight = np.sqrt(count / total)
            keep_array(self._group, "weight", (weight / weight.mean()).astype(np.float32))

    def __len__(self) -> int:
        return int(self._array("velocity").shape[0])

    def blocks(self) -> Iterator[slice]:
        """Yield the slices of rows of the chunks."""
        return ranges(len(self), BLOCK)

    def read(self, rows: slice, *, errors: bool = True) -> Pixels:
        """Read a block of stars; a missing sigma is 0, and there is none at all without `errors`."""
        flux, bad, velocity = (read_store_rows(self._group, name, rows) for name in ("flux", "bad", "velocity"))
        return Pixels(flux, read_store_rows(self._group, "sigma", rows) if errors else None, bad, velocity)

    def read_stars(self, rows: Int64) -> Pixels:
        """Read some stars, in increasing order, block by block, without errors."""
        flux = np.empty((len(rows), len(self.grid.wavelength)), np.float16)
        bad, velocity = np.empty(flux.shape, np.bool_), np.empty(len(rows))
        for block in self.blocks():
            mine = slice(*np.searchsorted(rows, (block.start, block.stop)))
            if mine.start < mine.stop:
                found = self.read(block, errors=False).take(rows[mine] - block.start)
                flux[mine], bad[mine], velocity[mine] = found.flux, found.bad, found.velocity
        return Pixels(flux, None, bad, velocity)

    @property
    def velocity(self) -> Float64:
        """Velocity between the native pixels and the rest frame, km/s, shape (star,)."""
        return self._values("velocity")

    @property
    def grid(self) -> PixelGrid:
        """The grid."""
        said = self._attributes
        arms = [ArmPixels(name, self._values(f"native_{name}"), *span) for name, *span in said.arms]
        return PixelGrid(self._values("wavelength"), tuple(arms), said.step)

    @property
    def sky(self) -> tuple[tuple[float, float], ...]:
        """Observed-frame windows that were masked."""
        return self._attributes.sky_windows

    @property
    def _attributes(self) -> _Attributes:
        try:
            return _Attributes.model_validate(self._group.attrs.asdict())
        except ValidationError as error:
            raise damaged_store(
                folder_of(self._group) / "zarr.json", f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
            ) from error

    @property
    def error_stack(self) -> tuple[Float64, Float64]:
        """Observed wavelength and error over the star's own median error, by which the sky windows were found."""
        return self._values("stack_wavelength"), self._values("stack_error")

    def transform(self, settings: SpectraSettings) -> Transform:
        """Return the transform of the stored pixels."""
        weight = self._values("weight") if (folder_of(self._group) / "weight").exists() else None
        return Transform.of(settings, self._values("kept"), weight)

    def _array(self, name: str) -> zarr.Array[Any]:
        return array(self._group, name)

    def _values(self, name: str) -> Array:
        return values(self._group, name)
