"""Memory that does not grow with the stars, but for their coefficients; tools/measure_memory.py measures whole runs."""

from __future__ import annotations

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest

import table_files
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.stores.zarr import BLOCK

MEASURED = ("spectra", "components", "training", "distances")

PAPER = 400
"""Bytes of the paper's 100 coefficients of one star. One byte for each of the 1,200 pixels is three times as much."""


def repeated(stars: int) -> table_files.Hdus:
    """Return a table of many stars, whose spectra repeat those of one block."""
    hdus = table_files.table(BLOCK)
    columns = {name: np.resize(values, stars) for name, values in hdus["STARS"].items()}
    images = {name: np.resize(hdus[name], (stars, len(hdus["WAVELENGTH"]))) for name in ("FLUX", "IVAR", "MASK")}
    return {**hdus, **images, "STARS": {**columns, "SOURCE_ID": 1 + np.arange(stars)}}


class Peaks(NamedTuple):
    """The peak memory in bytes that each stage allocates for a number of stars."""

    stars: int
    of: dict[str, int]


# Moments are summed of 2,048 stars, four blocks, at once, and as many are read meanwhile.
@pytest.fixture(
    scope="module", params=[("components", 8, 16), pytest.param(("distances", 12, 28), marks=pytest.mark.slow)]
)
def peaks(request, compiled, tmp_path_factory) -> tuple[Peaks, Peaks]:
    """Return the peak memory for few and for many stars, up to some stage."""
    folder = tmp_path_factory.mktemp("memory")
    last, few, many = request.param

    def peaks_of(blocks: int) -> Peaks:
        stars = blocks * BLOCK
        config = table_files.write_config(table_files.write(folder / f"{stars}.fits", repeated(stars)))
        peaks: dict[str, int] = {}

        def measured(stage):
            def work(context):
                tracemalloc.reset_peak()
                before, _ = tracemalloc.get_traced_memory()
                outcome = stage.run(context)
                peaks[stage.name] = tracemalloc.get_traced_memory()[1] - before
                return outcome

            return stage._replace(run=work)

        # The stars of the recalibration are limited: that many take part in the smaller run already.
        settings = Config.load(config, [f"run.directory={folder / str(stars)}", "calibration.stars_max=100"])
        tracemalloc.start()
        run_stages(settings, [measured(stage) for stage in STAGES], last=last, force=True)
        tracemalloc.stop()
        return Peaks(stars, peaks)

    def least_of(blocks: int) -> Peaks:
        """Return the least of two runs: how much is read at the same time depends on the threads."""
        one, other = peaks_of(blocks), peaks_of(blocks)
        return one._replace(of={stage: min(peak, other.of[stage]) for stage, peak in one.of.items()})

    peaks_of(few)  # what is allocated once for all
    return least_of(few), least_of(many)


def test_peak_memory_grows_by_no_more_than_the_coefficients(peaks):
    few, many = peaks
    grown = {stage: many.of[stage] - few.of[stage] for stage in MEASURED if stage in few.of}
    assert {"spectra", "components"} <= grown.keys()
    assert max(grown.values()) < PAPER * (many.stars - few.stars), grown


def test_a_block_of_pixels_shows_in_the_measurement(peaks):
    """The measurement sees numpy's arrays: flux and bad pixels of which moments are summed."""
    assert peaks[0].of["components"] > 2048 * 1200 * (2 + 1)
