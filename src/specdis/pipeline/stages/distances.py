"""The stage `distances`: predict every star (section 3.3 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specdis import jaxed
from specdis.arrays import Columns
from specdis.calibration import calibration_stars
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.log import Progress
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import OnPixels, bands_of, read_corrected
from specdis.storage import Provenance, read_arrays, write_arrays, write_table
from specdis.stores.coefficients import CoefficientStore
from specdis.surveys import IDENTIFIER


def run(context: Context) -> Outcome:
    """Predict every star (section 3.3), block by block; finished blocks are kept."""
    jaxed.use(context.config.run.device)
    model, store = load_model(context.paths.model), context.pixels
    assert len(context.coefficients) == len(store)
    names = (*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", "TRAINABLE", "RA", "DEC", "TEFF", "LOGG", "FEH")
    stars = read_corrected(context, names, model.networks)
    targets = Targets.of(stars, model.seed, bands_of(context, stars))
    provenance = context.provenance("distances")
    finished = {rows.start: context.scratch / f"{rows.start:010d}.npz" for rows in store.blocks()}
    left = [rows for rows in store.blocks() if not finished[rows.start].exists()]
    resumed = len(store) - sum(rows.stop - rows.start for rows in left)
    progress = Progress("distances", len(store), resumed)
    blocks = (PredictBlock.of(rows, targets, stars, finished[rows.start]) for rows in left)
    for block, _ in context.workers.each(Predict(context.config, provenance), blocks, here=jaxed.on_gpu()):
        progress.advance(block.rows.stop - block.rows.start)
    progress.close()
    parts = [read_arrays(path, "distances")[1] for path in finished.values()]
    # Joined columns are removed from the parts, so that memory holds them once.
    columns = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    columns["FLAGS"] |= model.outside_parameters(stars)
    calibration = calibration_stars(
        stars["FOLD"], stars["STAR_ID"], context.config.calibration, context.config.run.seed
    )
    # Stars without a parallax were not used for recalibration.
    columns["CALIBRATION"] = calibration & np.isin(stars["STAR_ID"], stars["STAR_ID"][stars["TRAINABLE"]])
    identifier = {name: stars[name] for name in IDENTIFIER}
    write_table(context.paths.distances, provenance, {**identifier, **columns})
    return Outcome(len(store), resumed=resumed, notes={"without_distance": int(np.isnan(columns["DIST"]).sum())})


class PredictBlock(NamedTuple):
    """A block of stars, their RA and DEC, and the file for their predictions."""

    rows: slice
    targets: Targets
    position: Columns
    path: Path

    @classmethod
    def of(cls, rows: slice, targets: Targets, stars: Columns, path: Path) -> PredictBlock:
        """Return a block of all targets and stars."""
        return cls(rows, targets.take(rows), {name: stars[name][rows] for name in ("RA", "DEC")}, path)


@dataclass(frozen=True)
class Predict(OnPixels):
    """Task: predict a block with the run's model."""

    provenance: Provenance

    @cached_property
    def model(self) -> Model:
        """The model, loaded once in every process."""
        return load_model(self.paths.model)

    @cached_property
    def coefficients(self) -> CoefficientStore:
        """The stored coefficients."""
        return CoefficientStore.open(self.paths.coefficients)

    def __call__(self, block: PredictBlock) -> None:
        """Predict a block and write its part."""
        pixels, encoded = self.store.read(block.rows), self.coefficients.read(block.rows)
        predicted = self.model.predict_pixels(pixels, encoded, block.targets)
        predicted |= self.model.posterior(predicted, block.targets, block.position)
        write_arrays(block.path, self.provenance, predicted)
