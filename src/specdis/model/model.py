"""The model: distances for stored pixels, native spectra, surveys and plain arrays, one way for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from specdis import catalogue
from specdis.arrays import Array, Float64, ranges
from specdis.binaries import classify
from specdis.distances.columns import summarise, summarise_labels, summarise_mixture
from specdis.distances.targets import Targets
from specdis.domain import MOST_BAD
from specdis.encoding.encoder import Encoded
from specdis.flags import Flag
from specdis.log import Progress, logger
from specdis.model.blocks import BlockPrediction, Predicted, SurveyBlock
from specdis.model.coverage import remarks_on, with_arms
from specdis.model.engine import Engine
from specdis.noise import NativePixels, native_pixels
from specdis.photometry import geometric_magnitude
from specdis.sample import TrainedStars, choose
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.surveys.arrays import ArraySurvey, SpectraArrays
from specdis.surveys.base import IDENTIFIER, Arm, Fault, Spectra, Stars, Survey
from specdis.surveys.values import say

if TYPE_CHECKING:
    from astropy.table import Table


_BLOCK = 2048
"""Number of stars with spectra in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Model(Engine):
    """A trained model.

    Parameters
    ----------
    settings
        Sections of the configuration for predictions.
    grid, transform
        The pixels and their transform.
    sky
        Observed-frame windows that are masked, vacuum Angstrom.
    basis
        Principal components.
    networks
        The networks.
    calibration
        Recalibration of the distributions.
    training_error
        The paper's one training error, mag.
    domain
        Domain of the training set.
    prior
        Density of stars for posterior distances; None for none.
    seed
        Random seed of the run; a star's draws depend only on it and on the identifier.
    card
        Description of training set and scores, in plain values.
    trained
        Returns the training stars, read when first needed.
    """

    sky: tuple[tuple[float, float], ...]
    training_error: float
    seed: int
    card: Mapping[str, Any] = field(default_factory=dict)
    trained: Callable[[], TrainedStars] = TrainedStars.unknown

    def predict_pixels(
        self, pixels: Pixels, encoded: Encoded, targets: Targets, native: NativePixels | None = None
    ) -> dict[str, Array]:
        """Predict stars from stored pixels.

        Parameters
        ----------
        pixels
            Flux over continuum on the model's grid, shape (star, pixel).
        encoded
            What `encode` makes of them.
        targets
            Further data of the stars.
        native
            The native pixels, which have independent noise, if they differ from those of the model's grid.

        Returns
        -------
        dict
            The columns of `summarise`, PROB_BINARY, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).
        """
        answers = self.answers(pixels, encoded, targets, native)
        columns = summarise(
            summarise_labels(answers.labels, targets, self.training_error, self.settings.distances),
            summarise_mixture(answers.magnitudes, targets),
            self.settings.network.kind,
        )
        bad = pixels.bad[:, self.transform.kept].mean(1)
        reasons = {
            Flag.OUTSIDE_DOMAIN: answers.outside & (bad < 1),
            Flag.MANY_BAD_PIXELS: bad > MOST_BAD,
            Flag.NO_COLOUR: answers.lacking,
            Flag.ODD_COLOUR: answers.odd,
        }
        for flag, rows in reasons.items():
            columns["FLAGS"] |= np.where(rows, flag, 0).astype(np.int32)
        return {
            **columns,
            "PROB_BINARY": answers.binary.astype(np.float32),
            "CHI2_RECONSTRUCTION": answers.chi2.astype(np.float32),
            "FRACTION_BAD": bad.astype(np.float32),
        }

    def predict_spectra(self, spectra: Spectra, targets: Targets) -> dict[str, Array]:
        """Predict a block of native spectra; arguments and result as in `predict_pixels`, row by row of `spectra`."""
        spectra = with_arms(spectra, self.grid)
        pixels = normalise(spectra, self.grid, self.settings.spectra, self.sky)
        native = native_pixels(self.grid, {name: arm.native_wavelength for name, arm in spectra.arms.items()})
        return self.predict_pixels(pixels, self.encode(pixels), targets, native)

    def outside_parameters(self, stars: Mapping[str, Array]) -> Array:
        """Return the flag of stars whose TEFF, LOGG or FEH lies outside the range of the training stars, (star,)."""
        outside = np.zeros(len(stars["TARGETID"]), np.bool_)
        for name, (low, high) in self.domain.limits.parameters.items():
            outside |= (stars[name] < low) | (stars[name] > high)
        return np.where(outside, np.int32(Flag.OUTSIDE_PARAMETERS), np.int32(0))

    def predict(
        self,
        wavelength: Any,
        flux: Any,
        *,
        ivar: Any = None,
        mask: Any = None,
        vrad: Any = None,
        phot_g_mean_mag: Any = None,
        parallax: Any = None,
        parallax_error: Any = None,
        ebv: Any = None,
        teff: Any = None,
        source_id: Any = None,
        identifier: Any = None,
        medium: Literal["vacuum", "air"] = "vacuum",
        frame: Literal["observed", "rest"] = "observed",
        **columns: Any,
    ) -> Table:
        """Predict spectra from plain arrays on one wavelength grid, as `specdis predict` does from a table.

        A Quantity, or a column of a table with a unit, is converted. Masked values are missing. Numbers without a
        unit are in the unit below. Impossible values count as missing, with a log message, as in a file.

        Parameters
        ----------
        wavelength
            Increasing, Angstrom, shape (pixel,).
        flux
            In any unit, shape (star, pixel) or (pixel,) for one star; NaN is a bad pixel.
        ivar
            Inverse variance in that unit, shape of `flux`; 0 is a bad pixel. Without it there are no errors.
        mask
            True, or any number but 0, for a bad pixel; shape of `flux`.
        vrad
            Heliocentric radial velocity in km/s, shape (star,); needed for observed-frame spectra. For spectra at rest
            it gives the position of sky lines.
        phot_g_mean_mag
            Gaia G magnitude, shape (star,); without it there are no distances, only M_G.
        parallax, parallax_error
            As Gaia publishes them, in mas, shape (star,); without them there is no probability of a binary. The error
            is inflated as in the model's run. The zero point needs `astrometric_params_solved`, `ecl_lat`,
            `nu_eff_used_in_astrometry` and `pseudocolour` as well; without them the parallax is not corrected and
            has the flag NO_ZERO_POINT.
        ebv
            E(B-V) on the scale of the survey that the model was trained on, shape (star,); 0 without it, flagged.
        teff
            Effective temperature in K for the extinction law, shape (star,).
        source_id
            Gaia source identifiers, of the release of the model, shape (star,). It recognises its training stars by
            them, and predicts each by networks that were not trained on it.
        identifier
            Integers that identify the spectra, shape (star,): TARGETID of a spectra table. They determine the random
            draws. `source_id` where it is given, or else 0, 1, ..., without them.
        medium, frame
            Of the wavelengths.
        **columns
            Any other column of the spectra table, by its name in small letters, shape (star,): `logg`, `ra`, `sn`, ...

        Returns
        -------
        Table
            One row per spectrum in the order of `flux`: the columns of the catalogue, with units and descriptions,
            missing values masked. HELD_OUT is false if a network that predicts the star was trained on it, or if that
            is unknown without `source_id` and `identifier`.

        Raises
        ------
        InputError
            When shapes disagree, a unit cannot be converted, wavelengths cannot be Angstrom or do not
            increase, or the rest frame cannot be reached.
        """
        named = {
            "VRAD": vrad,
            "PHOT_G_MEAN_MAG": phot_g_mean_mag,
            "PARALLAX": parallax,
            "PARALLAX_ERROR": parallax_error,
            "EBV": ebv,
            "TEFF": teff,
            "SOURCE_ID": source_id,
            "TARGETID": identifier,
        }
        spectra = SpectraArrays(wavelength, flux, ivar, mask, medium, frame)
        survey = ArraySurvey(spectra, {**columns, **named})
        found = self.predict_survey(survey, identified=survey.identified)
        order = np.argsort(survey.rows(found.stars))
        return catalogue.as_table({name: values[order] for name, values in found.columns.items()}, self.header)

    @property
    def header(self) -> catalogue.Cards:
        """Cards about this model for a catalogue of its predictions."""
        settings = self.settings
        return catalogue.header_cards(
            settings.photometry.ebv_scale, settings.network, settings.gaia, settings.prior.kind
        )

    def predict_survey(self, survey: Survey, *, identified: bool = True) -> Predicted:
        """Predict every star of a survey, which may differ from that of the training.

        A training star is predicted by the networks that were not trained on it, as in the model's run.

        Parameters
        ----------
        survey
            The stars and their spectra.
        identified
            Whether its identifiers are those of stars, and not row numbers.

        Returns
        -------
        Predicted
            Predictions of its stars; one without a readable spectrum has the flag NO_SPECTRUM.
        """
        stars = self.sample_of(survey, identified=identified)
        progress = Progress("predict", len(stars))
        predictions = []
        for block in self.blocks(stars):
            predictions.append(self.predict_block(survey, block))
            progress.advance(len(block.stars))
        progress.close()
        return self.joined(stars, predictions)

    def sample_of(self, survey: Survey, *, identified: bool = True) -> Stars:
        """Return the stars of a survey with what predicting needs of them; parameters as of `predict_survey`."""
        cuts, photometry = self.settings.sample, self.settings.photometry
        sample = choose(survey.stars(), survey.columns, cuts, photometry, outside=True)
        say(sample.cutflow.summary["missing_values"])
        stars = sample.stars.replace(**self.networks.corrected(sample.stars.columns))
        known = self.trained() if identified else TrainedStars.unknown()
        return stars.replace(TRAINABLE=np.zeros(len(stars), np.bool_), **known.held_out(stars.columns))

    def blocks(self, stars: Stars) -> Iterator[SurveyBlock]:
        """Yield the stars of a sample in blocks that fit in memory with their spectra."""
        for rows in ranges(len(stars), _BLOCK):
            part = stars.take(rows)
            yield SurveyBlock(rows.start, part, self.targets_of(part.columns))

    def targets_of(self, stars: Mapping[str, Array]) -> Targets:
        """Return what predicting needs of stars besides spectra, from the columns of a sample."""
        return Targets.of(stars, self.seed, self.network_inputs.colours.of(stars, self.settings.photometry))

    def predict_block(self, survey: Survey, block: SurveyBlock) -> BlockPrediction:
        """Read and predict a block of a survey's stars."""
        made = BlockPrediction([], [], [])
        for found in survey.spectra(block.stars):
            if isinstance(found, Fault):
                made.faults.append(found)
                continue
            place = str(survey.inputs[0]) if survey.inputs else survey.name
            made.remarks.extend(f"{place}: {remark}" for remark in remarks_on(found, self.grid, self.domain))
            target = block.targets.take(found.row)
            target = target._replace(snr=np.where(np.isfinite(target.snr), target.snr, _median_snr(found)))
            columns = self.predict_spectra(found, target)
            columns |= self.posterior(columns, target, block.stars.take(found.row).columns)
            made.parts.append((found.row + block.start, columns))
        return made

    def joined(self, stars: Stars, predictions: Iterable[BlockPrediction]) -> Predicted:
        """Join the predictions for the blocks of a sample, and log what is wrong with the spectra."""
        predicted: dict[str, Array] = {}
        unread = np.ones(len(stars), np.bool_)
        said: set[str] = set()
        for found in predictions:
            for fault in found.faults:
                logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
            for message in dict.fromkeys(found.remarks):
                if message not in said:
                    logger.warning("%s", message)
                said.add(message)
            for rows, columns in found.parts:
                _put(predicted, rows, columns, len(stars))
                unread[rows] = False
        lost = np.flatnonzero(unread)
        for block in ranges(len(lost), _BLOCK):
            rows = lost[block]
            part = stars.take(rows)
            _put(predicted, rows, self._predict_nothing(part), len(stars))
        return Predicted(stars, self._catalogue(stars, predicted), len(stars) - len(lost))

    def _predict_nothing(self, stars: Stars) -> dict[str, Array]:
        """Return the prediction for stars without a spectrum: that of one without a good pixel."""
        targets, shape = self.targets_of(stars.columns), (len(stars), self.n_pixel)
        pixels = Pixels(np.zeros(shape, np.float32), None, np.ones(shape, np.bool_), np.zeros(shape[0]))
        columns = self.predict_pixels(pixels, self.encode(pixels), targets)
        return columns | self.posterior(columns, targets, stars.columns)

    def _catalogue(self, stars: Stars, predicted: dict[str, Array]) -> dict[str, Array]:
        """Return the columns of the catalogue."""
        predicted["FLAGS"] |= self.outside_parameters(stars.columns)
        predicted["CALIBRATION"] = stars["CALIBRATION"]
        identifier = {name: stars[name] for name in IDENTIFIER}
        geometric, _ = geometric_magnitude(stars["PARALLAX_CORRECTED"], np.nan, stars["G_0"])
        found = classify(
            predicted["PROB_BINARY"], predicted["M_G_NN_LABEL"], geometric, stars["LOGG"], self.settings.binaries
        )
        return catalogue.build(stars.columns, {**identifier, **predicted}, {**identifier, **found})


def _put(columns: dict[str, Array], rows: Array, found: Mapping[str, Array], stars: int) -> None:
    """Insert values of some stars into columns of all."""
    for name, values in found.items():
        columns.setdefault(name, np.zeros(stars, values.dtype))[rows] = values


def _median_snr(spectra: Spectra) -> Float64:
    """Return the S/N of spectra as in DESI: the median per Angstrom^(1/2), averaged over arms; NaN without errors."""
    arms = [_median_snr_of(arm) for arm in spectra.arms.values()]
    return np.asarray(np.mean(arms, axis=0))


def _median_snr_of(arm: Arm) -> Float64:
    if arm.ivar is None:
        return np.full(len(arm.flux), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # spectra without a good pixel
        per_pixel = np.nanmedian(np.where(arm.bad, np.nan, arm.flux * np.sqrt(arm.ivar)), axis=1)
    return np.asarray(per_pixel / np.sqrt(np.median(np.diff(arm.wavelength))), np.float64)
