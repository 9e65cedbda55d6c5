"""From a model to the catalogue: the stages `distances` and `catalogue`."""

from __future__ import annotations

import numpy as np

from specdis import accelerator, catalogue
from specdis.catalogue import DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.catalogue.header import Cards
from specdis.distances import star_keys
from specdis.log import Progress
from specdis.pipeline.pixels import PixelStore
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.stages.learning import assemble
from specdis.spectra import Normalised
from specdis.storage import atomic, read_arrays, read_table, write_arrays, write_table
from specdis.surveys import IDENTIFIER


def distances(context: Context) -> Outcome:
    """Predict every star (section 3.3), a block at a time; a finished block is not done again."""
    accelerator.use(context.config.run.device)
    model, store = assemble(context), PixelStore.open(context.paths.pixels)
    with atomic(context.paths.model) as folder:
        model.save(folder, context.provenance("model"))
    stars = read_table(context.paths.sample, [*IDENTIFIER, "G_0", "FOLD", "TEFF", "LOGG", "FEH"])
    keys = star_keys(model.seed, *(stars[name] for name in IDENTIFIER))
    velocity, provenance = store.velocity, context.provenance("distances")
    finished = {rows.start: context.scratch / f"{rows.start:010d}.npz" for rows in store.blocks()}
    resumed = sum(rows.stop - rows.start for rows in store.blocks() if finished[rows.start].exists())
    progress = Progress("distances", len(store), resumed)
    for rows in store.blocks():
        if not finished[rows.start].exists():
            predicted = model.predict_pixels(
                Normalised(*store.read(rows)), velocity[rows], stars["G_0"][rows], stars["FOLD"][rows], keys[rows]
            )
            write_arrays(finished[rows.start], provenance, predicted)
            progress.advance(rows.stop - rows.start)
    progress.close()
    parts = [read_arrays(path, "distances")[1] for path in finished.values()]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["FLAGS"] |= model.outside_parameters(stars)
    identifier = {name: stars[name] for name in IDENTIFIER}
    write_table(context.paths.distances, provenance, {**identifier, **columns})
    return Outcome(len(store), resumed=resumed, notes={"without_distance": int(np.isnan(columns["DIST"]).sum())})


def make_catalogue(context: Context) -> Outcome:
    """Join sample and distances into Table 1."""
    columns = catalogue.build(
        read_table(context.paths.sample, SAMPLE_COLUMNS), read_table(context.paths.distances, DISTANCES_COLUMNS)
    )
    scale = context.config.photometry.ebv_scale
    header: Cards = {"EBVSCALE": (scale, "EBV over E(B-V) of the survey file")}
    catalogue.write(context.paths.catalogue, columns, context.provenance("catalogue"), header)
    return Outcome(len(columns["TARGETID"]))
