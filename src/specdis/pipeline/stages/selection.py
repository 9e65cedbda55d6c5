"""From the survey to stored pixels: the stages `sample` and `spectra`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from specdis.arrays import Float64, Int64
from specdis.errors import InputError
from specdis.log import Progress, logger
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.pixels import BLOCK, PixelStore
from specdis.pipeline.stage import Context, Outcome
from specdis.sample import select
from specdis.spectra import ErrorStack, Normalised, PixelGrid, merge, normalise
from specdis.storage import atomic, read_json, read_table, remove, write_json, write_table
from specdis.surveys import Fault, Spectra, Stars

_SKY_BLOCKS = 20
"""Blocks of stars, spread evenly over the sample, whose errors are stacked to find the sky lines."""


def sample(context: Context) -> Outcome:
    """Choose the stars (section 2.3)."""
    config, survey = context.config, context.survey()
    chosen = select(
        survey.stars(), survey.columns, config.sample, config.photometry, config.run.seed, survey.predicts_every_row
    )
    write_table(context.paths.sample, context.provenance("sample"), chosen.stars.columns)
    flow = chosen.cutflow.to_dict()
    write_json(context.paths.cutflow, flow)
    return Outcome(stars=flow["summary"]["rows"], notes=flow["summary"])


def spectra(context: Context) -> Outcome:
    """Normalise every spectrum (section 2.4), a block at a time; a finished block is not done again."""
    stars = Stars(read_table(context.paths.sample))
    settings, survey = context.config.spectra, context.survey()
    unfinished = context.scratch / "pixels.zarr"
    done = context.scratch / "done"
    if not (done.exists() and unfinished.exists()):  # a kill at the very end leaves the marks without the store
        remove(done)
        grid, sky, stack = _survey_pixels(context, stars)
        PixelStore.create(unfinished, len(stars), grid, sky, stack, context.provenance("pixels"))
        done.mkdir()
    store = PixelStore.open(unfinished, writable=True)
    grid, sky = store.grid, store.sky
    resumed = sum(1 for _ in done.iterdir()) * BLOCK
    progress = Progress("spectra", len(stars), resumed)
    for rows in store.blocks():
        mark = done / f"{rows.start:010d}.json"
        if mark.exists():
            continue
        block, velocity = _empty(rows.stop - rows.start, len(grid.wavelength)), np.zeros(rows.stop - rows.start)
        lost = []
        for found in survey.spectra(stars.take(rows)):
            if isinstance(found, Fault):
                lost.append(_named(found))
                continue
            _put(block, found.row, normalise(found, grid, settings, sky))
            velocity[found.row] = found.native_velocity
        store.write(rows, block, velocity)
        write_json(mark, lost)
        progress.advance(rows.stop - rows.start)
    progress.close()
    kept = store.keep(stars["SELECTED"], settings.bad_fraction_max)
    if not len(kept):
        raise InputError(
            context.config.survey.spectra,
            expected="spectra of the selected stars",
            found="none with a good pixel",
            remedy="See the faults in the log; check survey.spectra and survey.spectra_kind.",
        )
    faults = [StageFault(**fault) for mark in sorted(done.iterdir()) for fault in read_json(mark)]
    with atomic(context.paths.pixels) as temporary:
        os.replace(unfinished, temporary)
    notes = {"pixels": len(grid.wavelength), "pixels_kept": len(kept), "sky_windows": sky}
    return Outcome(len(stars), faults, notes, resumed=min(resumed, len(stars)))


def _empty(stars: int, pixels: int) -> Normalised:
    shape = (stars, pixels)
    return Normalised(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.ones(shape, np.bool_))


def _put(block: Normalised, rows: Int64, part: Normalised) -> None:
    block.flux[rows], block.bad[rows] = part.flux, part.bad
    if block.sigma is not None and part.sigma is not None:
        block.sigma[rows] = part.sigma


def _named(fault: Fault) -> dict[str, Any]:
    logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
    return {"name": fault.name, "place": fault.place, "message": fault.message, "stars": len(fault.row)}


def _survey_pixels(context: Context, stars: Stars) -> tuple[PixelGrid, Sequence[tuple[float, float]], ErrorStack]:
    """Read a few blocks spread over the sample: they show the arms and, in their errors, the sky lines."""
    settings = context.config.spectra
    stack = ErrorStack()
    native: dict[str, Float64] = {}
    total = -(-len(stars) // BLOCK)
    for number in np.unique(np.linspace(0, total - 1, min(total, _SKY_BLOCKS)).astype(int)):
        block = stars.take(slice(number * BLOCK, (number + 1) * BLOCK))
        for found in context.survey().spectra(block):
            if isinstance(found, Spectra):
                for name, arm in found.arms.items():
                    native.setdefault(name, arm.native_wavelength)
                if settings.sky_windows == "auto":
                    stack.add(found)
    if not native:
        raise InputError(
            context.config.survey.spectra,
            expected="spectra of the selected stars",
            found="none that can be read",
            remedy="See the faults in the log; check survey.spectra and survey.spectra_kind.",
        )
    sky: Sequence[tuple[float, float]] = ()
    if settings.sky_windows == "auto":
        sky = stack.windows(settings.sky_threshold)
    elif settings.sky_windows != "none":
        sky = merge(settings.sky_windows)
    logger.info("spectra: %d sky windows, %.0f A in all", len(sky), sum(high - low for low, high in sky))
    return PixelGrid.of(native, settings), sky, stack
