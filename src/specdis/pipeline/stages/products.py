"""From a model to the catalogue: the stages `distances`, `binaries` and `catalogue`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from specdis import accelerator, binaries, catalogue, streams
from specdis.arrays import Array, Float64, Int64, ranges
from specdis.calibration import calibration_stars
from specdis.catalogue import BINARIES_COLUMNS, DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.companions import (
    STEEPNESS,
    companion_magnitude,
    light_share,
    magnitude_excess,
    spectra_of_companions,
    together,
)
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
    config, seed = context.config, context.config.run.seed
    stars = read_table(context.paths.sample, [*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", *_OF_SINGLES])
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
    pairs = _pair_magnitudes(context, rows, Targets.of(stars, seed).take(rows))
    width = np.hypot(pairs.sigma, error[rows])
    precise = precision[rows] > config.binaries.parallax_snr_min
    deviation = ((geometric[rows] - pairs.single) / width)[precise]
    few = _few_of(streams.uniform(streams.stream(seed, "injected stars"), stars["STAR_ID"][rows]), _INJECTED)
    here = {name: values[rows[few]] for name, values in {**stars, "M_G_NN_CHI2": m_g_nn}.items()}
    injected = _inject(context, rows[few], here, pairs.single[few], width[few], deviation)
    write_table(context.paths.injected, context.provenance("injected"), injected)
    median = np.full(len(geometric), np.nan)
    median[rows] = np.where(precise, pairs.median, np.nan)
    columns = {**identifier, **called, "M_G_NN_PAIR": median}
    write_table(context.paths.binaries, context.provenance("binaries"), columns)
    counts = {"binaries": int((called["BINARY_FLAG"] == 0).sum()), "injected": len(injected["FOUND"])}
    return Outcome(len(geometric), notes=counts)


_OF_SINGLES = ("LOGG", "FEH", "SELECTED", "HELD_OUT")
_MARGIN = 0.5
"""Parallax S/N over the least one from which single stars and binaries are simulated."""
_INJECTED = 10_000
"""Stars that companions are put on at most: completeness is then known to half a per cent."""
_INJECTIONS = 2
"""Companions per star and steepness of the main sequence."""
_TRIAL = 512
"""Stars simulated at once."""


def _few_of(chance: Float64, most: int) -> Int64:
    """Return the rows of the smallest numbers, in increasing order."""
    return np.sort(np.argsort(chance, kind="stable")[:most])


def _pair_magnitudes(context: Context, rows: Int64, targets: Targets) -> PairMagnitudes:
    """Return what the two Gaussians say of the magnitudes of some stars."""
    model = load_model(context.paths.model) if len(rows) else None
    parts = [np.empty((3, 0))]
    for block in ranges(len(rows), 1 << 14):
        assert model is not None
        parts.append(np.stack(model.pair_magnitudes(network_inputs(context.paths, rows[block]), targets.take(block))))
    return PairMagnitudes(*np.concatenate(parts, axis=1))


def _inject(
    context: Context, rows: Int64, stars: dict[str, Array], single: Float64, width: Float64, deviation: Float64
) -> dict[str, Array]:
    """Simulate single stars, and the same with a companion, and say which are called binaries.

    Nothing is put on an observed star, which may have a companion already, but on the single star that the model takes
    it for. Its spectrum and that of another star, a companion of less mass, are added up.

    Parameters
    ----------
    context
        Of the stage.
    rows
        Places of the stars in the store of pixels, shape (star,).
    stars
        Their columns.
    single, width
        Magnitudes that they have as single stars, and the error of these and of the parallax; mag, shape (star,).
    deviation
        How observed stars deviate, as in `binaries.draw_singles`.

    Returns
    -------
    dict
        Columns `IDENTIFIER`, MASS_RATIO, STEEPNESS, FOUND and FALSE_ALARM.
    """
    settings, seed = context.config.binaries, context.config.run.seed
    dwarfs = binaries.is_on_main_sequence(stars["LOGG"])
    rounds = STEEPNESS * _INJECTIONS if dwarfs.any() else ()
    trial = _Trial(context, rows, Targets.of(stars, seed)) if rounds else None
    none: dict[str, Array] = {"MASS_RATIO": np.empty(0), "STEEPNESS": np.empty(0)}
    none |= {name: np.empty(0, np.bool_) for name in ("FOUND", "FALSE_ALARM")}
    parts = [{**{name: stars[name][:0] for name in IDENTIFIER}, **none}]
    for number, steepness in enumerate(rounds):
        assert trial is not None
        chance = {
            name: streams.uniform(streams.stream(seed, f"injected {name} {number}"), stars["STAR_ID"])
            for name in ("twin", "mass ratio", "deviation", "side")
        }
        alone = binaries.draw_singles(deviation, single, width, chance["deviation"], chance["side"])
        ratio = binaries.mass_ratios(chance["twin"], chance["mass ratio"], settings.twin_fraction)
        companion = companion_magnitude(single, ratio, steepness)
        partner = spectra_of_companions(companion, stars["FEH"], single, stars["FEH"], dwarfs)
        flags = trial.called(alone, stars["M_G_NN_CHI2"], single, companion, partner)
        kept = flags.pop("PARALLAX_SNR") > settings.parallax_snr_min
        part = {**{name: stars[name] for name in IDENTIFIER}, "MASS_RATIO": ratio}
        part |= {"STEEPNESS": np.full(len(rows), steepness), **flags}
        parts.append({name: values[kept] for name, values in part.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


class _Trial:
    """The stars on which the model of binaries is tried, with their pixels."""

    def __init__(self, context: Context, rows: Int64, targets: Targets) -> None:
        self._targets, self._threshold = targets, context.config.binaries.threshold
        self._model = load_model(context.paths.model)
        self._inputs = network_inputs(context.paths, rows)
        store = PixelStore.open(context.paths.pixels)
        self._wavelength = store.grid.wavelength
        self._flux, self._bad = store.read_stars(rows)

    def called(
        self, alone: Float64, m_g_nn: Array, single: Float64, companion: Float64, partner: Int64
    ) -> dict[str, Array]:
        """Return which of the simulated stars are called binaries, with the companion and without, and their S/N.

        Parameters
        ----------
        alone
            Magnitude by the parallax of the single star, mag, shape (star,).
        m_g_nn
            Magnitude by the network of the label, mag, shape (star,).
        single, companion
            Absolute magnitudes of the two, mag, shape (star,).
        partner
            Whose spectrum is that of the companion, shape (star,).
        """
        excess = magnitude_excess(single, companion)
        targets = self._targets.with_parallax_of(alone)
        found, false = np.zeros((2, len(alone)), np.bool_)
        for block in ranges(len(alone), _TRIAL):
            mine = targets.take(block)
            share = light_share(self._wavelength, single[block], companion[block])
            other, bad = partner[block], self._bad[block]
            flux = together(self._flux[block], self._flux[other], self._bad[other], share)
            both = self._model.inputs(np.where(bad, 0, flux), bad)
            pairs = ((found, both, excess[block]), (false, self._inputs[block], np.zeros(len(share))))
            for flags, inputs, added in pairs:
                probability = self._model.binary_probability(inputs, mine.brighter(added))
                network = self._model.label_magnitude(inputs, mine) if flags is found else m_g_nn[block]
                flags[block] = binaries.is_binary(probability, network, alone[block] - added, self._threshold)
        return {"FOUND": found, "FALSE_ALARM": false, "PARALLAX_SNR": targets.parallax / targets.error}


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
