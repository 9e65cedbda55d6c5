"""Memory that does not grow with the stars, but for their coefficients; tools/measure_memory.py measures whole runs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import table_files
from specdis.pipeline.config import Config
from specdis.pipeline.runner import run
from specdis.pipeline.stages import STAGES
from specdis.stores.zarr import BLOCK

pytestmark = pytest.mark.slow

FEW, MANY = 12 * BLOCK, 28 * BLOCK  # moments are summed of 2,048 stars at once, and as many are read meanwhile

PAPER = 400
"""Bytes of the paper's 100 coefficients of one star. One byte for each of the 1,200 pixels is three times as much."""


def repeated(stars: int) -> table_files.Hdus:
    """Return a table of many stars, whose spectra repeat those of one block."""
    hdus = table_files.table(BLOCK)
    columns = {name: np.resize(values, stars) for name, values in hdus["STARS"].items()}
    images = {name: np.resize(hdus[name], (stars, len(hdus["WAVELENGTH"]))) for name in ("FLUX", "IVAR", "MASK")}
    return {**hdus, **images, "STARS": {**columns, "SOURCE_ID": 1 + np.arange(stars)}}


@pytest.fixture(scope="module")
def peaks(compiled, tmp_path_factory):
    """Return the peak memory in bytes that each stage allocates, by number of stars."""
    folder = tmp_path_factory.mktemp("memory")

    def peaks_of(stars: int) -> dict[str, int]:
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
        run(settings, [measured(stage) for stage in STAGES], last="distances", force=True)
        tracemalloc.stop()
        return peaks

    peaks_of(FEW)  # what is allocated once for all
    return {stars: peaks_of(stars) for stars in (FEW, MANY)}


@pytest.mark.parametrize("stage", ["spectra", "components", "training", "distances"])
def test_peak_memory_grows_by_no_more_than_the_coefficients(peaks, stage):
    growth = (peaks[MANY][stage] - peaks[FEW][stage]) / (MANY - FEW)
    assert growth < PAPER, f"{growth:.0f} bytes per star"


def test_a_block_of_pixels_shows_in_the_measurement(peaks):
    """The measurement sees numpy's arrays: flux and bad pixels of which moments are summed."""
    assert peaks[FEW]["components"] > 2048 * 1200 * (2 + 1)
