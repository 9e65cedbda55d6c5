"""The stage `binaries`: classification of binaries, and its completeness (section 5 of the paper)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specdis import binaries, jaxed, rng
from specdis.arrays import Array, Float32, Float64, Int64, ranges
from specdis.companions import (
    STEEPNESS,
    blended_spectra,
    companion_magnitude,
    light_share,
    magnitude_excess,
    spectra_of_companions,
)
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.model.answers import PairMagnitudes
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.photometry import geometric_magnitude
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import bands_of, read_corrected
from specdis.spectra.pixels import Pixels
from specdis.storage import read_table, write_table
from specdis.surveys import IDENTIFIER
from specdis.validation import join


def run(context: Context) -> Outcome:
    """Classify the stars, and inject binaries to measure completeness (section 5)."""
    jaxed.use(context.config.run.device)
    config, seed = context.config, context.config.run.seed
    model = load_model(context.paths.model)
    stars = read_corrected(context, (*IDENTIFIER, *TARGET_COLUMNS, "STAR_ID", *_OF_SINGLES), model.networks)
    found = _of_sample(read_table(context.paths.distances, [*IDENTIFIER, "PROB_BINARY", "M_G_NN_LABEL"]), stars)
    m_g_nn = found["M_G_NN_LABEL"]
    geometric, error = geometric_magnitude(stars["PARALLAX_CORRECTED"], stars["PARALLAX_ERROR_USED"], stars["G_0"])
    identifier = {name: stars[name] for name in IDENTIFIER}
    called = binaries.classify(found["PROB_BINARY"], m_g_nn, geometric, stars["LOGG"], config.binaries)
    precision = stars["PARALLAX_CORRECTED"] / stars["PARALLAX_ERROR_USED"]
    # Simulated parallaxes scatter into the sample as well as out of it.
    eligible = stars["SELECTED"] & stars["HELD_OUT"] & (precision > _MARGIN * config.binaries.parallax_snr_min)
    eligible &= np.isfinite(found["PROB_BINARY"]) & binaries.is_in_domain(stars["LOGG"], m_g_nn)
    rows = np.flatnonzero(eligible)
    targets = Targets.of(stars, seed, bands_of(context, stars))
    pairs = _pair_magnitudes(context, rows, targets.take(rows))
    width = np.hypot(pairs.sigma, error[rows])
    precise = precision[rows] > config.binaries.parallax_snr_min
    deviation = ((geometric[rows] - pairs.single) / width)[precise]
    few = _few_of(rng.uniform(rng.stream(seed, "injected stars"), stars["STAR_ID"][rows]), _INJECTED)
    here = {name: values[rows[few]] for name, values in {**stars, "M_G_NN_LABEL": m_g_nn}.items()}
    injected = _inject(context, rows[few], here, pairs.single[few], width[few], deviation)
    write_table(context.paths.injected, context.provenance("injected"), injected)
    median = np.full(len(geometric), np.nan)
    median[rows] = np.where(precise, pairs.median, np.nan)
    columns = {**identifier, **called, "M_G_NN_PAIR": median}
    write_table(context.paths.binaries, context.provenance("binaries"), columns)
    counts = {"binaries": int((called["BINARY_FLAG"] == 0).sum()), "injected": len(injected["FOUND"])}
    return Outcome(len(geometric), notes=counts)


def _of_sample(table: dict[str, Array], stars: dict[str, Array]) -> dict[str, Array]:
    """Return the rows of a table in the order of the sample."""
    rows = join(stars, table)
    return {name: values[rows] for name, values in table.items()}


_OF_SINGLES = ("LOGG", "FEH", "SELECTED", "HELD_OUT")
_MARGIN = 0.5
"""Parallax S/N for simulated stars, relative to the least one of the section."""
_INJECTED = 10_000
"""Largest number of stars with injected companions: completeness is then accurate to half a per cent."""
_INJECTIONS = 2
"""Number of companions per star and value of STEEPNESS."""
_TRIAL = 512
"""Stars simulated at once."""


def _few_of(chance: Float64, most: int) -> Int64:
    """Return the rows of the smallest numbers, in increasing order."""
    return np.sort(np.argsort(chance, kind="stable")[:most])


def _pair_magnitudes(context: Context, rows: Int64, targets: Targets) -> PairMagnitudes:
    """Return the magnitudes of some stars by the binary network."""
    model = load_model(context.paths.model) if len(rows) else None
    parts = [np.empty((3, 0))]
    for block in ranges(len(rows), 1 << 14):
        assert model is not None
        mine, scaled = targets.take(block), context.coefficients.inputs(rows[block])
        parts.append(np.stack(model.pair_magnitudes(model.inputs_of(scaled, mine.bands), mine)))
    return PairMagnitudes(*np.concatenate(parts, axis=1))


def _inject(
    context: Context, rows: Int64, stars: dict[str, Array], single: Float64, width: Float64, deviation: Float64
) -> dict[str, Array]:
    """Simulate single stars, with and without a companion, and classify both.

    Companions are added not to observed stars, which may already have one, but to the single stars that the model
    predicts for them. The spectrum of the star and that of another one, of lower mass, are added.

    Parameters
    ----------
    context
        The stage's.
    rows
        Rows of the stars in the store of pixels, shape (star,).
    stars
        Their columns.
    single, width
        Magnitudes as single stars, and the combined error of these and of the parallax; mag, shape (star,).
    deviation
        Deviations of observed stars, as in `binaries.draw_singles`.

    Returns
    -------
    dict
        Columns `IDENTIFIER`, MASS_RATIO, STEEPNESS, FOUND and FALSE_ALARM.
    """
    settings, seed = context.config.binaries, context.config.run.seed
    dwarfs = binaries.is_on_main_sequence(stars["LOGG"])
    rounds = STEEPNESS * _INJECTIONS if dwarfs.any() else ()
    trial = Trial.of(context, rows, Targets.of(stars, seed, bands_of(context, stars))) if rounds else None
    none: dict[str, Array] = {"MASS_RATIO": np.empty(0), "STEEPNESS": np.empty(0)}
    none |= {name: np.empty(0, np.bool_) for name in ("FOUND", "FALSE_ALARM")}
    parts = [{**{name: stars[name][:0] for name in IDENTIFIER}, **none}]
    for number, steepness in enumerate(rounds):
        assert trial is not None
        chance = {
            name: rng.uniform(rng.stream(seed, f"injected {name} {number}"), stars["STAR_ID"])
            for name in ("twin", "mass ratio", "deviation", "side")
        }
        alone = binaries.draw_singles(deviation, single, width, chance["deviation"], chance["side"])
        ratio = binaries.mass_ratios(chance["twin"], chance["mass ratio"], settings.twin_fraction)
        companion = companion_magnitude(single, ratio, steepness)
        partner = spectra_of_companions(companion, stars["FEH"], single, stars["FEH"], dwarfs)
        flags = trial.called(alone, stars["M_G_NN_LABEL"], single, companion, partner)
        kept = flags.pop("PARALLAX_SNR") > settings.parallax_snr_min
        part = {**{name: stars[name] for name in IDENTIFIER}, "MASS_RATIO": ratio}
        part |= {"STEEPNESS": np.full(len(rows), steepness), **flags}
        parts.append({name: values[kept] for name, values in part.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@dataclass(frozen=True)
class Trial:
    """Stars for the test of the binary network, with their pixels.

    Parameters
    ----------
    model
        The model whose networks are asked.
    pixels, wavelength
        Stored pixels of the stars, and the wavelengths of the grid.
    inputs
        The networks' inputs of the stars as they are, shape (star, input).
    targets
        What else is needed of the stars.
    threshold
        Least probability of a binary.
    """

    model: Model
    pixels: Pixels
    wavelength: Float64
    inputs: Float32
    targets: Targets
    threshold: float

    @classmethod
    def of(cls, context: Context, rows: Int64, targets: Targets) -> Trial:
        """Read some rows of the stores."""
        model = load_model(context.paths.model)
        return cls(
            model,
            context.pixels.read_stars(rows),
            context.pixels.grid.wavelength,
            model.inputs_of(context.coefficients.inputs(rows), targets.bands),
            targets,
            context.config.binaries.threshold,
        )

    def called(
        self, alone: Float64, m_g_nn: Array, single: Float64, companion: Float64, partner: Int64
    ) -> dict[str, Array]:
        """Tell which simulated stars are called binaries, with and without the companion, and their S/N.

        Parameters
        ----------
        alone
            Magnitude by the parallax of the single star, mag, shape (star,).
        m_g_nn
            Magnitude by the label network, mag, shape (star,).
        single, companion
            Absolute magnitudes of the two, mag, shape (star,).
        partner
            Row of the star whose spectrum and colours are those of the companion, shape (star,).
        """
        excess = magnitude_excess(single, companion)
        targets = self.targets.with_parallax_of(alone)
        found, false = np.zeros((2, len(alone)), np.bool_)
        for block in ranges(len(alone), _TRIAL):
            mine = targets.take(block)
            share = light_share(self.wavelength, single[block], companion[block])
            pixels, other = self.pixels.take(block), self.pixels.take(partner[block])
            flux = blended_spectra(pixels.flux, other.flux, other.bad, share)
            partners = self.targets.take(partner[block])
            fainter = mine.magnitude - single[block] + companion[block] - partners.magnitude
            bands = mine.bands.blended(partners.bands, fainter)
            both = self.model.inputs(pixels._replace(flux=np.where(pixels.bad, 0, flux)), bands)
            pairs = ((found, both, excess[block]), (false, self.inputs[block], np.zeros(len(share))))
            for flags, inputs, added in pairs:
                probability = self.model.binary_probability(inputs, mine.brighter(added))
                network = self.model.label_magnitude(inputs, mine) if flags is found else m_g_nn[block]
                flags[block] = binaries.is_binary(probability, network, alone[block] - added, self.threshold)
        return {"FOUND": found, "FALSE_ALARM": false, "PARALLAX_SNR": targets.parallax / targets.error}
