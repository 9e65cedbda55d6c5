"""From a model to the catalogue: the stages `distances`, `binaries` and `catalogue`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from specdis import accelerator, binaries, catalogue, streams
from specdis.arrays import Array, Float32, Float64, Int64, ranges
from specdis.calibration import calibration_stars
from specdis.catalogue import BINARIES_COLUMNS, DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.distances import TARGET_COLUMNS, Targets
from specdis.log import Progress
from specdis.model import Model, PairMagnitudes, load_model
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
    names = [*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", "LOGG", "SELECTED", "HELD_OUT"]
    stars = read_table(context.paths.sample, names)
    found = read_table(context.paths.distances, ["PROB_BINARY", "M_G_NN_CHI2"])
    m_g_nn = found["M_G_NN_CHI2"]
    geometric, error = geometric_magnitude(stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"], stars["G_0"])
    identifier = {name: stars[name] for name in IDENTIFIER}
    called = binaries.classify(found["PROB_BINARY"], m_g_nn, geometric, stars["LOGG"], config.binaries)
    precision = stars["PARALLAX_CORRECTED"] / stars["PARALLAX_ERROR_USED"]
    # Simulated parallaxes scatter into the sample as well as out of it.
    eligible = stars["SELECTED"] & stars["HELD_OUT"] & (precision > _MARGIN * config.binaries.parallax_snr_min)
    eligible &= np.isfinite(found["PROB_BINARY"]) & binaries.is_in_domain(stars["LOGG"], m_g_nn)
    rows = np.flatnonzero(eligible)
    trial = _Trial(context, rows, Targets.of(stars, config.run.seed).take(rows))
    pairs = trial.pairs()
    expected = np.hypot(pairs.sigma, error[rows])
    precise = precision[rows] > config.binaries.parallax_snr_min
    deviation = ((geometric[rows] - pairs.single) / expected)[precise]
    parts = []
    for number, power in enumerate(_INJECTIONS * binaries.POWERS):
        chance = {
            name: streams.uniform(streams.stream(config.run.seed, f"injected {name} {number}"), stars["STAR_ID"][rows])
            for name in ("twin", "mass ratio", "deviation", "side")
        }
        alone = binaries.draw_singles(deviation, pairs.single, expected, chance["deviation"], chance["side"])
        ratio = binaries.mass_ratios(chance["twin"], chance["mass ratio"], config.binaries.twin_fraction)
        tried = trial.called(alone, binaries.magnitude_excess(ratio, power), m_g_nn[rows])
        kept = tried.pop("PARALLAX_SNR") > config.binaries.parallax_snr_min
        mine = {name: values[rows] for name, values in identifier.items()}
        part = {**mine, "MASS_RATIO": ratio, "POWER": np.full(len(rows), power), **tried}
        parts.append({name: values[kept] for name, values in part.items()})
    injected = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    write_table(context.paths.injected, context.provenance("injected"), injected)
    median = np.full(len(geometric), np.nan)
    median[rows] = np.where(precise, pairs.median, np.nan)
    columns = {**identifier, **called, "M_G_NN_PAIR": median}
    write_table(context.paths.binaries, context.provenance("binaries"), columns)
    counts = {"binaries": int((called["BINARY_FLAG"] == 0).sum()), "injected": len(injected["FOUND"])}
    return Outcome(len(geometric), notes=counts)


_MARGIN = 0.5
"""Parallax S/N over the least one from which single stars and binaries are simulated."""
_INJECTIONS = 2
"""Simulated single stars per star and power of mass: enough for the errors of fractions to be those of the sample."""


class _Trial:
    """Simulated single stars, and the same with a companion, on which the model of binaries is tried.

    A companion of like kind leaves the continuum-normalised spectrum as it is, and makes the star brighter by Eq. 6.
    What it is put on is no observed star, which may have a companion already, but the single star that the model
    takes it for.
    """

    def __init__(self, context: Context, rows: Int64, targets: Targets) -> None:
        self._paths, self._rows, self._targets = context.paths, rows, targets
        self._threshold = context.config.binaries.threshold
        self._model = load_model(context.paths.model) if len(rows) else None

    def _blocks(self) -> Iterator[tuple[slice, Model, Float32, Targets]]:
        for block in ranges(len(self._rows), 1 << 14):
            assert self._model is not None
            yield block, self._model, network_inputs(self._paths, self._rows[block]), self._targets.take(block)

    def pairs(self) -> PairMagnitudes:
        """Return what the two Gaussians say of the magnitudes of the stars."""
        parts = [model.pair_magnitudes(inputs, targets) for _, model, inputs, targets in self._blocks()]
        if not parts:
            return PairMagnitudes(*np.empty((3, 0)))
        return PairMagnitudes(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def called(self, alone: Float64, excess: Float64, m_g_nn: Array) -> dict[str, Array]:
        """Return which of the simulated stars are called binaries, with the companion and without, and their S/N.

        Parameters
        ----------
        alone
            Magnitude by the parallax of the single star, mag, shape (star,).
        excess
            What the companion adds, mag, shape (star,).
        m_g_nn
            Magnitude by the network of the label, mag, shape (star,).
        """
        found, false = np.zeros((2, len(alone)), np.bool_)
        single = self._targets.with_parallax_of(alone)
        for block, model, inputs, _ in self._blocks():
            mine = single.take(block)
            for flags, added in ((found, excess[block]), (false, np.zeros(len(alone[block])))):
                probability = model.binary_probability(inputs, mine.brighter(added))
                flags[block] = binaries.is_binary(probability, m_g_nn[block], alone[block] - added, self._threshold)
        return {"EXCESS": excess, "FOUND": found, "FALSE_ALARM": false, "PARALLAX_SNR": single.parallax / single.error}


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
