"""The model: distances for stored pixels, native spectra, surveys and plain arrays, one way for all."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from specdis import catalogue
from specdis.arrays import Array, Float64, ranges
from specdis.binaries import classify
from specdis.distances.columns import summarise, summarise_labels, summarise_mixture
from specdis.distances.targets import Targets
from specdis.domain import MOST_BAD
from specdis.flags import Flag
from specdis.log import Progress, logger
from specdis.model.coverage import remarks_on, with_arms
from specdis.model.engine import Engine
from specdis.noise import NativePixels, native_pixels
from specdis.photometry import geometric_magnitude
from specdis.sample import TrainedStars, select
from specdis.spectra.normalise import normalise
from specdis.spectra.pixels import Pixels
from specdis.surveys.arrays import ArraySurvey
from specdis.surveys.base import IDENTIFIER, Arm, Fault, Spectra, Stars, Survey
from specdis.surveys.values import say

if TYPE_CHECKING:
    from astropy.table import Table


_BLOCK = 2048
"""Stars whose spectra are in memory at once."""


class Predicted(NamedTuple):
    """What the stars of a survey get.

    Parameters
    ----------
    stars
        The sample.
    columns
        The columns of the catalogue, in its order.
    spectra
        How many spectra could be read.
    """

    stars: Stars
    columns: dict[str, Array]
    spectra: int


@dataclass(frozen=True, kw_only=True)
class Model(Engine):
    """A trained model.

    Parameters
    ----------
    settings
        The sections of the configuration that predicting needs.
    grid, transform
        The pixels, and what is done to them.
    sky
        Observed-frame windows that are masked, vacuum Angstrom.
    basis
        Principal components.
    networks
        The networks.
    calibration
        What the distributions of the mixture are moved and stretched by.
    training_error
        The paper's one training error, mag.
    domain
        Where the model can be trusted.
    seed
        Random seed of the run: a star's draws depend on it and on its identifier alone.
    card
        What the model was trained on, and how well it did, in plain values.
    trained
        Gives the stars that it was trained on; they are read when they are needed.
    """

    sky: tuple[tuple[float, float], ...]
    training_error: float
    seed: int
    card: Mapping[str, Any] = field(default_factory=dict)
    trained: Callable[[], TrainedStars] = TrainedStars.unknown

    def predict_pixels(self, pixels: Pixels, targets: Targets, native: NativePixels | None = None) -> dict[str, Array]:
        """Predict stars from stored pixels.

        Parameters
        ----------
        pixels
            Flux over continuum on the model's grid, shape (star, pixel).
        targets
            What else is needed of the stars.
        native
            The native pixels, to which the noise belongs, where they are not those of the model's grid.

        Returns
        -------
        dict
            The columns of `summarise`, PROB_BINARY, CHI2_RECONSTRUCTION and FRACTION_BAD, shape (star,).
        """
        answers = self.answers(pixels, targets, native)
        columns = summarise(
            summarise_labels(answers.labels, targets.magnitude, self.training_error, self.settings.distances),
            summarise_mixture(answers.magnitudes, targets.magnitude),
            self.settings.network.kind,
        )
        bad = pixels.bad[:, self.transform.kept].mean(1)
        columns["FLAGS"] |= np.where(answers.outside & (bad < 1), Flag.OUTSIDE_DOMAIN, 0).astype(np.int32)
        columns["FLAGS"] |= np.where(bad > MOST_BAD, Flag.MANY_BAD_PIXELS, 0).astype(np.int32)
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
        return self.predict_pixels(pixels, targets, native)

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
        """Predict spectra that are plain arrays, all on one wavelength grid: what `specdis predict` does with a table.

        A Quantity, or a column of a table with a unit, is converted. What is masked is missing. Numbers without a unit
        are in the unit below. A value that no star has counts as missing, as in a file; the log says so.

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
            it tells where the lines of the sky are.
        phot_g_mean_mag
            Gaia G magnitude, shape (star,); without it there are no distances, M_G alone.
        parallax, parallax_error
            As Gaia publishes them, in mas, shape (star,); without them there is no probability of a binary. The error
            is inflated as in the model's run. The zero point needs `astrometric_params_solved`, `ecl_lat`,
            `nu_eff_used_in_astrometry` and `pseudocolour` as well; without them the parallax is used as it is, and
            NO_ZERO_POINT says so.
        ebv
            E(B-V) on the scale of the survey that the model was trained on, shape (star,); 0 without it, flagged.
        teff
            Effective temperature in K for the extinction law, shape (star,).
        source_id
            Gaia DR3 source identifiers, shape (star,). By them the model knows the stars that it was trained on, and
            predicts each by networks that never saw it.
        identifier
            Integers that name the spectra, shape (star,): TARGETID of a spectra table. They decide the random draws.
            `source_id` where it is given, or else 0, 1, ..., without them.
        medium, frame
            Of the wavelengths.
        **columns
            Any other column of the spectra table, by its name in small letters, shape (star,): `logg`, `ra`, `sn`, ...

        Returns
        -------
        Table
            One row per spectrum in the order of `flux`: the columns of the catalogue, with units and descriptions,
            missing values masked. HELD_OUT is false where a network that predicts the star was trained on it, and where
            that cannot be known, because the star has neither `source_id` nor `identifier`.

        Raises
        ------
        InputError
            When shapes disagree, a unit cannot be converted, numbers cannot be wavelengths in Angstrom or do not
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
        survey = ArraySurvey(
            wavelength, flux, ivar=ivar, mask=mask, medium=medium, frame=frame, stars={**columns, **named}
        )
        found = self.predict_survey(survey, identified=survey.identified)
        order = np.argsort(survey.rows(found.stars))
        return catalogue.as_table({name: values[order] for name, values in found.columns.items()}, self.header)

    @property
    def header(self) -> catalogue.Cards:
        """What a catalogue of this model's predictions says of it."""
        loss = str(self.card.get("loss", "unknown"))
        return catalogue.header_cards(self.settings.photometry.ebv_scale, self.settings.network.kind, loss)

    def predict_survey(self, survey: Survey, *, identified: bool = True) -> Predicted:
        """Predict every star of a survey that the model need not have been trained on.

        A star that was trained on is predicted by the networks that never saw it, as in the model's run.

        Parameters
        ----------
        survey
            The stars and their spectra.
        identified
            Whether its identifiers tell one star from another, and are not mere numbers of rows.

        Returns
        -------
        Predicted
            What its stars get; one whose spectrum cannot be read has the flag NO_SPECTRUM.
        """
        # The cuts flag what the training did not hold; its split has no meaning here.
        cuts = {"predict_outside": True, "n_folds": None, "fold_column": None, "train_fraction": 0.5}
        settings = self.settings.sample.model_copy(update=cuts)
        sample = select(survey.stars(), survey.columns, settings, self.settings.photometry, self.seed, True)
        say(sample.cutflow.summary["missing_values"])
        stars = sample.stars
        known = self.trained() if identified else TrainedStars.unknown()
        stars = stars.replace(TRAINABLE=np.zeros(len(stars), np.bool_), **known.held_out(stars.columns))
        targets = Targets.of(stars.columns, self.seed)
        predicted: dict[str, Array] = {}
        unread = np.ones(len(stars), np.bool_)
        progress = Progress("predict", len(stars))
        place = str(survey.inputs[0]) if survey.inputs else survey.name
        said: set[str] = set()
        for block in ranges(len(stars), _BLOCK):
            for found in survey.spectra(stars.take(block)):
                rows = found.row + block.start
                if isinstance(found, Fault):
                    logger.warning("%s: %s: %s", found.place, found.name, found.message)
                    continue
                for message in remarks_on(found, self.grid, self.domain):
                    if message not in said:
                        logger.warning("%s: %s", place, message)
                    said.add(message)
                target = targets.take(rows)
                target = target._replace(snr=np.where(np.isfinite(target.snr), target.snr, _median_snr(found)))
                _put(predicted, rows, self.predict_spectra(found, target), len(stars))
                unread[rows] = False
                progress.advance(len(rows))
        progress.close()
        lost = np.flatnonzero(unread)
        for part in ranges(len(lost), _BLOCK):
            rows = lost[part]
            _put(predicted, rows, self._predict_nothing(targets.take(rows)), len(stars))
        return Predicted(stars, self._catalogue(stars, predicted), len(stars) - len(lost))

    def _predict_nothing(self, targets: Targets) -> dict[str, Array]:
        """Return what stars without a spectrum get: that of one without a good pixel."""
        shape = (len(targets.magnitude), self.n_pixel)
        pixels = Pixels(np.zeros(shape, np.float32), None, np.ones(shape, np.bool_), np.zeros(shape[0]))
        return self.predict_pixels(pixels, targets)

    def _catalogue(self, stars: Stars, predicted: dict[str, Array]) -> dict[str, Array]:
        """Return the columns of the catalogue."""
        predicted["FLAGS"] |= self.outside_parameters(stars.columns)
        predicted["CALIBRATION"] = stars["CALIBRATION"]
        identifier = {name: stars[name] for name in IDENTIFIER}
        geometric, _ = geometric_magnitude(stars["PARALLAX_CORRECTED"], np.nan, stars["G_0"])
        found = classify(
            predicted["PROB_BINARY"], predicted["M_G_NN_CHI2"], geometric, stars["LOGG"], self.settings.binaries
        )
        return catalogue.build(stars.columns, {**identifier, **predicted}, {**identifier, **found})


def _put(columns: dict[str, Array], rows: Array, found: Mapping[str, Array], stars: int) -> None:
    """Put what some of the stars get into columns of all of them."""
    for name, values in found.items():
        columns.setdefault(name, np.zeros(stars, values.dtype))[rows] = values


def _median_snr(spectra: Spectra) -> Float64:
    """Return the S/N of spectra as DESI's: the median per Angstrom^(1/2), the mean of the arms; NaN without errors."""
    arms = [_median_snr_of(arm) for arm in spectra.arms.values()]
    return np.asarray(np.mean(arms, axis=0))


def _median_snr_of(arm: Arm) -> Float64:
    if arm.ivar is None:
        return np.full(len(arm.flux), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # spectra without a good pixel
        per_pixel = np.nanmedian(np.where(arm.bad, np.nan, arm.flux * np.sqrt(arm.ivar)), axis=1)
    return np.asarray(per_pixel / np.sqrt(np.median(np.diff(arm.wavelength))), np.float64)
