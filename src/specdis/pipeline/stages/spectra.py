"""The stage `spectra`: from the survey to stored pixels (section 2.4 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specdis.arrays import Bool, Float64, Int64
from specdis.errors import InputError, SpecdisError
from specdis.log import Progress, logger
from specdis.pipeline.manifest import StageFault, States, look
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import OnSurvey
from specdis.spectra.grid import PixelGrid
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.spectra.sky import ErrorStack, merge_windows
from specdis.storage import read_json, read_table, remove, write_json
from specdis.stores.identity import identity
from specdis.stores.pixels import PixelStore
from specdis.stores.resumable import Unfinished
from specdis.stores.zarr import BLOCK
from specdis.surveys import Fault, Spectra, Stars
from specdis.workers.answers import Died

_SKY_BLOCKS = 20
"""Number of evenly spaced blocks of stars whose errors are stacked to find the sky lines."""


def run(context: Context) -> Outcome:
    """Normalise every spectrum (section 2.4), block by block; finished blocks are kept."""
    stars, settings = Stars(read_table(context.paths.sample)), context.config.spectra
    files = look(context.survey().files(stars))
    _start_again_if_changed(context.scratch, files)

    rows = identity(stars.columns)

    def create(path: Path) -> None:
        grid, sky, stack = _survey_pixels(context, stars)
        PixelStore.create(path, rows, grid, sky, stack, context.provenance("pixels"))

    unfinished = Unfinished(context.scratch, "pixels.zarr", create)
    store = PixelStore.open(unfinished.path, rows, writable=True)
    left = unfinished.left(store.blocks())
    resumed = len(stars) - sum(block.stop - block.start for block in left)
    progress = Progress("spectra", len(stars), resumed)
    task = Normalise(context.config, context.opener, unfinished.path)
    for block, lost in _surviving(context, task, (SpectraBlock(block, stars.take(block)) for block in left)):
        unfinished.mark(block.rows, [_named(fault) for fault in lost])
        progress.advance(len(block.stars))
    progress.close()
    faults = [StageFault(**fault) for said in unfinished.said() for fault in said]
    kept = store.keep(stars["SELECTED"], settings.bad_fraction_max)
    if not len(kept):
        raise _no_spectra(context, faults)
    store.weigh(stars["SELECTED"], settings)
    notes = {"pixels": len(store.grid.wavelength), "pixels_kept": len(kept), "sky_windows": store.sky}
    unfinished.publish(context.paths.pixels)
    return Outcome(len(stars), faults, notes, resumed=resumed, read=files)


def _start_again_if_changed(scratch: Path, files: States) -> None:
    """Discard the work of an interrupted attempt if files of spectra have changed since."""
    seen = scratch / "files.json"
    if seen.exists() and read_json(seen) != files:
        remove(scratch)
    write_json(seen, files)


class SpectraBlock(NamedTuple):
    """A block of stars; some are left out if a process died while reading their files."""

    rows: slice
    stars: Stars
    readable: Bool | None = None


@dataclass(frozen=True)
class Normalise(OnSurvey):
    """Task: read, normalise and store a block; return its faults."""

    path: Path

    @cached_property
    def store(self) -> PixelStore:
        """The open store."""
        return PixelStore.open(self.path, writable=True)

    @cached_property
    def pixels(self) -> tuple[PixelGrid, Sequence[tuple[float, float]]]:
        """The grid and the sky windows."""
        return self.store.grid, self.store.sky

    def __call__(self, block: SpectraBlock) -> list[Fault]:
        """Store a block; return its faults."""
        readable = np.ones(len(block.stars), np.bool_) if block.readable is None else block.readable
        pixels, lost = self._normalised(block.stars, np.flatnonzero(readable))
        self.store.write(block.rows, pixels)
        return lost

    def _normalised(self, stars: Stars, rows: Int64) -> tuple[Pixels, list[Fault]]:
        """Normalise some stars of a block; the others, and those lost to a fault, get bad pixels only."""
        (grid, sky), survey = self.pixels, self.survey
        shape = (len(stars), len(grid.wavelength))
        flux, sigma = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        bad, velocity = np.ones(shape, np.bool_), np.zeros(len(stars))
        faults = []
        for found in survey.spectra(stars.take(rows)):
            if isinstance(found, Fault):
                faults.append(found)
                continue
            part, place = normalise(found, grid, self.config.spectra, sky), rows[found.row]
            flux[place], bad[place], velocity[place] = part.flux, part.bad, part.velocity
            if part.sigma is not None:
                sigma[place] = part.sigma
            faults += _unusable(str(survey.inputs[0]) if survey.inputs else survey.name, found, part)
        return Pixels(flux, sigma, bad, velocity), faults


@dataclass(frozen=True)
class _Try(OnSurvey):
    """Task: read some rows of a block from one file that may kill the process, and discard them."""

    def __call__(self, part: tuple[Int64, Stars]) -> None:
        for _ in self.survey.spectra(part[1]):
            pass


def _surviving(
    context: Context, task: Normalise, blocks: Iterable[SpectraBlock]
) -> Iterator[tuple[SpectraBlock, list[Fault]]]:
    """Process blocks; if one kills its process, find the damaged files and leave out their stars."""
    for block, result in context.workers.each(task, blocks, may_kill=True):
        if not isinstance(result, Died):
            yield block, result
            continue
        readable, faults = _without_killers(context, block.stars)
        again = block._replace(readable=readable)
        for _, second in context.workers.each(task, [again], may_kill=True):
            if isinstance(second, Died):
                where = f"spectra {block.rows.start} to {block.rows.stop}"
                raise SpecdisError(f"{where}: {second.reason}, although each of their files can be read alone.")
            yield block, faults + second


def _without_killers(context: Context, stars: Stars) -> tuple[Bool, list[Fault]]:
    """Read the files of some stars one by one; return the readable stars, and faults of the others."""
    place = np.stack([np.unique(stars[name], return_inverse=True)[1] for name in ("SURVEY", "PROGRAM", "HEALPIX")])
    _, file = np.unique(place, axis=1, return_inverse=True)
    readable, faults = np.ones(len(stars), np.bool_), []
    every = (np.flatnonzero(file == number) for number in range(int(file.max()) + 1))
    parts = ((rows, stars.take(rows)) for rows in every)
    for (rows, chosen), result in context.workers.each(_Try(context.config, context.opener), parts, may_kill=True):
        if isinstance(result, Died):
            readable[rows] = False
            where = next(map(str, context.survey().files(chosen)), context.config.survey.place)
            message = f"{result.reason}. The file is damaged and crashes its reader: replace it."
            faults.append(Fault("killed-its-reader", where, message, rows))
    return readable, faults


def _unusable(place: str, spectra: Spectra, pixels: Pixels) -> Iterator[Fault]:
    """Report the spectra that could be read, but have no good pixel on the grid."""
    empty, at_rest = pixels.bad.all(1), np.isfinite(spectra.velocity)
    for name, rows, message in (
        ("no-velocity", empty & ~at_rest, "without a radial velocity to bring them to rest. Add VRAD where it is NaN."),
        ("no-pixel-on-grid", empty & at_rest, "without a good pixel on the grid. Check their flux and continuum."),
    ):
        if rows.any():
            yield Fault(name, place, f"{rows.sum()} spectra {message}", spectra.row[rows])


def _no_spectra(context: Context, faults: Sequence[Fault | StageFault]) -> InputError:
    found = f"none with a good pixel. The first fault: {faults[0].message.rstrip('.')}" if faults else "none in common"
    return InputError(
        str(context.config.survey.spectra or context.config.survey.place),
        expected="good pixels in common for most selected stars",
        found=found,
        remedy="Correct this, or survey.spectra, survey.spectra_kind or spectra.bad_fraction_max.",
    )


def _named(fault: Fault) -> dict[str, Any]:
    logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
    return {"name": fault.name, "place": fault.place, "message": fault.message, "stars": len(fault.row)}


class _Seen(NamedTuple):
    """Properties of the survey seen in a block: native pixels of the arms, and errors."""

    native: dict[str, Float64]
    stack: ErrorStack
    faults: list[Fault]


@dataclass(frozen=True)
class _Look(OnSurvey):
    """Task: measure the properties of the survey in a numbered block."""

    def __call__(self, block: tuple[int, Stars]) -> _Seen:
        seen = _Seen({}, ErrorStack(), [])
        for found in self.survey.spectra(block[1]):
            if isinstance(found, Fault):
                seen.faults.append(found)
                continue
            for name, arm in found.arms.items():
                seen.native.setdefault(name, arm.native_wavelength)
            if self.config.spectra.sky_windows == "auto":
                seen.stack.add(found)
        return seen


def _survey_pixels(context: Context, stars: Stars) -> tuple[PixelGrid, Sequence[tuple[float, float]], ErrorStack]:
    """Read a few blocks spread over the sample, to find the arms and, from the errors, the sky lines."""
    settings = context.config.spectra
    total = -(-len(stars) // BLOCK)
    numbers = np.unique(np.linspace(0, total - 1, min(total, _SKY_BLOCKS)).astype(int))
    blocks = ((int(number), stars.take(slice(number * BLOCK, (number + 1) * BLOCK))) for number in numbers)
    look = _Look(context.config, context.opener)
    found = {
        number: seen
        for (number, _), seen in context.workers.each(look, blocks, may_kill=True)
        if not isinstance(seen, Died)
    }
    in_order = [found[number] for number in sorted(found)]
    native = {name: pixels for seen in reversed(in_order) for name, pixels in seen.native.items()}
    if not native:
        raise _no_spectra(context, [fault for seen in in_order for fault in seen.faults])
    stack = ErrorStack()
    for seen in in_order:
        stack.merge(seen.stack)
    sky: Sequence[tuple[float, float]] = ()
    if settings.sky_windows == "auto":
        sky = stack.windows(settings.sky_threshold)
    elif settings.sky_windows != "none":
        sky = merge_windows(settings.sky_windows)
    logger.info("spectra: %d sky windows, %.0f A in all", len(sky), sum(high - low for low, high in sky))
    return PixelGrid.of(native, settings), sky, stack
