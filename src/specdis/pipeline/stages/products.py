"""From a model to the catalogue: the stages `distances`, `binaries` and `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from specdis import accelerator, binaries, catalogue, streams
from specdis.arrays import Array, Float64, Int64, ranges
from specdis.calibration import calibration_stars
from specdis.catalogue import BINARIES_COLUMNS, DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.distances import TARGET_COLUMNS, Targets
from specdis.log import Progress
from specdis.model import Model, load_model
from specdis.photometry import geometric_magnitude
from specdis.pipeline.pixels import PixelStore
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.stages.learning import assemble, network_inputs
from specdis.spectra import Normalised
from specdis.storage import Provenance, RunPaths, atomic, read_arrays, read_table, write_arrays, write_table
from specdis.surveys import IDENTIFIER

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


def distances(context: Context) -> Outcome:
    """Predict every star (section 3.3), a block at a time; a finished block is not done again."""
    accelerator.use(context.config.run.device)
    model, store = assemble(context), PixelStore.open(context.paths.pixels)
    with atomic(context.paths.model) as folder:
        model.save(folder, context.provenance("model"))
    stars = read_table(
        context.paths.sample, [*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", "TRAINABLE", "TEFF", "LOGG", "FEH"]
    )
    targets = Targets.of(stars, model.seed)
    velocity, provenance = store.velocity, context.provenance("distances")
    finished = {rows.start: context.scratch / f"{rows.start:010d}.npz" for rows in store.blocks()}
    left = [rows for rows in store.blocks() if not finished[rows.start].exists()]
    resumed = len(store) - sum(rows.stop - rows.start for rows in left)
    progress = Progress("distances", len(store), resumed)
    blocks = (PredictBlock(rows, velocity[rows], targets.take(rows), finished[rows.start]) for rows in left)
    for block, _ in context.workers.each(Predict(context.config, provenance), blocks, here=accelerator.on_gpu()):
        progress.advance(len(block.velocity))
    progress.close()
    parts = [read_arrays(path, "distances")[1] for path in finished.values()]
    # A column leaves the parts as it is joined, so that it is not held twice.
    columns = {name: np.concatenate([part.pop(name) for part in parts]) for name in list(parts[0])}
    columns["FLAGS"] |= model.outside_parameters(stars)
    calibration = calibration_stars(
        stars["FOLD"], stars["STAR_ID"], context.config.calibration, context.config.run.seed
    )
    # A star without a parallax taught the recalibration nothing.
    columns["CALIBRATION"] = calibration & np.isin(stars["STAR_ID"], stars["STAR_ID"][stars["TRAINABLE"]])
    identifier = {name: stars[name] for name in IDENTIFIER}
    write_table(context.paths.distances, provenance, {**identifier, **columns})
    return Outcome(len(store), resumed=resumed, notes={"without_distance": int(np.isnan(columns["DIST"]).sum())})


class PredictBlock(NamedTuple):
    """A block of stars, and where what is predicted of it goes."""

    rows: slice
    velocity: Float64
    targets: Targets
    path: Path


@dataclass(frozen=True)
class Predict:
    """The work on a block: predict it with the run's model."""

    config: Config
    provenance: Provenance

    @cached_property
    def model(self) -> Model:
        """The model, loaded once in every process."""
        accelerator.use(self.config.run.device)
        return load_model(RunPaths(self.config.run.directory).model)

    @cached_property
    def store(self) -> PixelStore:
        """The stored pixels."""
        return PixelStore.open(RunPaths(self.config.run.directory).pixels)

    def __call__(self, block: PredictBlock) -> None:
        """Predict a block and write its part."""
        pixels = Normalised(*self.store.read(block.rows))
        write_arrays(block.path, self.provenance, self.model.predict_pixels(pixels, block.velocity, block.targets))


def find_binaries(context: Context) -> Outcome:
    """Say which stars are binaries, and inject some to see how many would be found (section 5)."""
    accelerator.use(context.config.run.device)
    config = context.config
    stars = read_table(context.paths.sample, [*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", "LOGG", "SELECTED"])
    found = read_table(context.paths.distances, ["PROB_BINARY", "M_G_NN_CHI2"])
    geometric, _ = geometric_magnitude(stars["PARALLAX_CORRECTED"], np.nan, stars["G_0"])
    identifier = {name: stars[name] for name in IDENTIFIER}
    columns = binaries.classify(found["PROB_BINARY"], found["M_G_NN_CHI2"], geometric, stars["LOGG"], config.binaries)
    write_table(context.paths.binaries, context.provenance("binaries"), {**identifier, **columns})
    precise = stars["PARALLAX_CORRECTED"] > config.binaries.parallax_snr_min * stars["PARALLAX_ERROR_USED"]
    eligible = stars["SELECTED"] & precise & np.isfinite(found["PROB_BINARY"])
    rows = np.flatnonzero(eligible & binaries.is_in_domain(stars["LOGG"], found["M_G_NN_CHI2"]))
    injected = _injected(context, rows, stars, found["M_G_NN_CHI2"], geometric)
    mine = {name: values[rows] for name, values in identifier.items()}
    write_table(context.paths.injected, context.provenance("injected"), {**mine, **injected})
    return Outcome(len(geometric), notes={"binaries": int((columns["BINARY_FLAG"] == 0).sum()), "injected": len(rows)})


def _injected(
    context: Context, rows: Int64, stars: Mapping[str, Array], m_g_nn: Array, m_g_geo: Array
) -> dict[str, Array]:
    """Give some stars a companion, and some a parallax as single stars have it, and see which are called binaries.

    A companion of like kind leaves the continuum-normalised spectrum as it is, and makes the star brighter by Eq. 6.
    """
    seed, threshold = context.config.run.seed, context.config.binaries.threshold
    chances = {
        name: streams.uniform(streams.stream(seed, f"injected {name}"), stars["STAR_ID"][rows])
        for name in ("mass ratio", "network", "magnitude", "parallax")
    }
    ratio = binaries.LEAST_RATIO + (1 - binaries.LEAST_RATIO) * chances["mass ratio"]
    excess = binaries.magnitude_excess(ratio)
    columns = {"MASS_RATIO": ratio, "EXCESS": excess}
    if not len(rows):
        return {**columns, "FOUND": np.zeros(0, np.bool_), "FALSE_ALARM": np.zeros(0, np.bool_)}
    model = load_model(context.paths.model)
    everyone = Targets.of(stars, model.seed).take(rows)
    paired, single, single_geometric = [], [], []
    for block in ranges(len(rows), 1 << 14):
        inputs, targets = network_inputs(context.paths, rows[block]), everyone.take(block)
        chance = [values[block] for values in chances.values()]
        alone = targets.with_parallax_of(model.single_magnitude(inputs, targets, *chance[1:3]), chance[3])
        paired.append(model.binary_probability(inputs, targets.brighter(excess[block])))
        single.append(model.binary_probability(inputs, alone))
        single_geometric.append(geometric_magnitude(alone.parallax, np.nan, alone.magnitude)[0])
    mine = m_g_nn[rows]
    found = binaries.is_binary(np.concatenate(paired), mine, m_g_geo[rows] - excess, threshold)
    false = binaries.is_binary(np.concatenate(single), mine, np.concatenate(single_geometric), threshold)
    return {**columns, "FOUND": found, "FALSE_ALARM": false}


def make_catalogue(context: Context) -> Outcome:
    """Join sample, distances and binaries into Table 1."""
    columns = catalogue.build(
        read_table(context.paths.sample, SAMPLE_COLUMNS),
        read_table(context.paths.distances, DISTANCES_COLUMNS),
        read_table(context.paths.binaries, BINARIES_COLUMNS),
    )
    config = context.config
    header = catalogue.header_cards(config.photometry.ebv_scale, config.network.kind, config.training.loss)
    catalogue.write(context.paths.catalogue, columns, context.provenance("catalogue"), header)
    return Outcome(len(columns["TARGETID"]))
