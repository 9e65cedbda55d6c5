"""From the survey to stored pixels: the stages `sample` and `spectra`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from specdis.arrays import Float64
from specdis.errors import InputError
from specdis.log import Progress, logger
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.pixels import BLOCK, PixelStore
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.survey import parents
from specdis.sample import select
from specdis.spectra import ErrorStack, Normalised, PixelGrid, SpectraSettings, merge, normalise
from specdis.storage import atomic, read_json, read_table, remove, write_json, write_table
from specdis.surveys import Fault, Spectra, Stars, Survey

_SKY_BLOCKS = 20
"""Blocks of stars, spread evenly over the sample, whose errors are stacked to find the sky lines."""


def sample(context: Context) -> Outcome:
    """Choose the stars (section 2.3)."""
    config, survey = context.config, context.survey()
    stars = map(parents(config), survey.stars())
    chosen = select(stars, survey.columns, config.sample, config.photometry, config.run.seed, survey.predicts_every_row)
    flow = chosen.cutflow.to_dict()
    if not flow["summary"]["trainable"]:
        raise _nothing_to_learn_from(context, flow)
    write_table(context.paths.sample, context.provenance("sample"), chosen.stars.columns)
    write_json(context.paths.cutflow, flow)
    return Outcome(stars=flow["summary"]["rows"], notes=flow["summary"])


def _nothing_to_learn_from(context: Context, flow: Mapping[str, Any]) -> InputError:
    needed = ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR")
    lacking = [f"no column {name}" for name in needed if name not in context.survey().columns]
    lost = [f"{line['cut']:,} cut as {line['name']}" for line in flow["cuts"] if line["cut"]]
    return InputError(
        context.config.survey.place,
        expected="stars to train on: selected, with a G magnitude, a parallax and a positive parallax error",
        found=f"none among {flow['summary']['rows']:,} rows ({', '.join(lacking + lost) or 'see [sample]'})",
        remedy="Add what is missing, or loosen [sample]; stars without parallaxes are for `specdis predict`.",
    )


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
        block, velocity, lost = _normalised(survey, stars.take(rows), grid, settings, sky)
        store.write(rows, block, velocity)
        write_json(mark, [_named(fault) for fault in lost])
        progress.advance(rows.stop - rows.start)
    progress.close()
    faults = [StageFault(**fault) for mark in sorted(done.iterdir()) for fault in read_json(mark)]
    kept = store.keep(stars["SELECTED"], settings.bad_fraction_max)
    if not len(kept):
        raise _no_spectra(context, faults)
    with atomic(context.paths.pixels) as temporary:
        os.replace(unfinished, temporary)
    notes = {"pixels": len(grid.wavelength), "pixels_kept": len(kept), "sky_windows": sky}
    return Outcome(len(stars), faults, notes, resumed=min(resumed, len(stars)))


def _normalised(
    survey: Survey,
    stars: Stars,
    grid: PixelGrid,
    settings: SpectraSettings,
    sky: Sequence[tuple[float, float]],
) -> tuple[Normalised, Float64, list[Fault]]:
    """Normalise a block of stars; those that are lost to a fault have bad pixels alone."""
    shape = (len(stars), len(grid.wavelength))
    flux, sigma = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    bad, velocity = np.ones(shape, np.bool_), np.zeros(len(stars))
    faults = []
    for found in survey.spectra(stars):
        if isinstance(found, Fault):
            faults.append(found)
            continue
        part = normalise(found, grid, settings, sky)
        flux[found.row], bad[found.row], velocity[found.row] = part.flux, part.bad, found.native_velocity
        if part.sigma is not None:
            sigma[found.row] = part.sigma
        faults += _unusable(str(survey.inputs[0]) if survey.inputs else survey.name, found, part)
    return Normalised(flux, sigma, bad), velocity, faults


def _unusable(place: str, spectra: Spectra, pixels: Normalised) -> Iterator[Fault]:
    """Name the spectra that could be read, but of which no pixel of the grid is good."""
    empty, at_rest = pixels.bad.all(1), np.isfinite(spectra.velocity)
    for name, rows, message in (
        ("no-velocity", empty & ~at_rest, "without a radial velocity to bring them to rest. Add VRAD where it is NaN."),
        ("no-pixel-on-grid", empty & at_rest, "without a good pixel on the grid. Look at their flux and continuum."),
    ):
        if rows.any():
            yield Fault(name, place, f"{rows.sum()} spectra {message}", spectra.row[rows])


def _no_spectra(context: Context, faults: Sequence[Fault | StageFault]) -> InputError:
    found = f"none with a good pixel. The first fault: {faults[0].message.rstrip('.')}" if faults else "none in common"
    return InputError(
        str(context.config.survey.spectra or context.config.survey.place),
        expected="good pixels that most of the selected stars share",
        found=found,
        remedy="Mend that, or correct survey.spectra, survey.spectra_kind or spectra.bad_fraction_max.",
    )


def _named(fault: Fault) -> dict[str, Any]:
    logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
    return {"name": fault.name, "place": fault.place, "message": fault.message, "stars": len(fault.row)}


def _survey_pixels(context: Context, stars: Stars) -> tuple[PixelGrid, Sequence[tuple[float, float]], ErrorStack]:
    """Read a few blocks spread over the sample: they show the arms and, in their errors, the sky lines."""
    settings = context.config.spectra
    stack = ErrorStack()
    native: dict[str, Float64] = {}
    faults: list[Fault] = []
    total = -(-len(stars) // BLOCK)
    for number in np.unique(np.linspace(0, total - 1, min(total, _SKY_BLOCKS)).astype(int)):
        block = stars.take(slice(number * BLOCK, (number + 1) * BLOCK))
        for found in context.survey().spectra(block):
            if isinstance(found, Fault):
                faults.append(found)
            else:
                for name, arm in found.arms.items():
                    native.setdefault(name, arm.native_wavelength)
                if settings.sky_windows == "auto":
                    stack.add(found)
    if not native:
        raise _no_spectra(context, faults)
    sky: Sequence[tuple[float, float]] = ()
    if settings.sky_windows == "auto":
        sky = stack.windows(settings.sky_threshold)
    elif settings.sky_windows != "none":
        sky = merge(settings.sky_windows)
    logger.info("spectra: %d sky windows, %.0f A in all", len(sky), sum(high - low for low, high in sky))
    return PixelGrid.of(native, settings), sky, stack
