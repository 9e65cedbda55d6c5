"""The verb `predict`: a released model on new spectra, without training data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from specdis import catalogue
from specdis.arrays import Array
from specdis.binaries import classify
from specdis.distances import Targets
from specdis.errors import InputError
from specdis.flags import DESCRIPTIONS, Flag
from specdis.log import Progress, logger
from specdis.model import Model, load_model
from specdis.photometry import geometric_magnitude
from specdis.pipeline.pixels import BLOCK
from specdis.sample import select
from specdis.storage import Provenance, digest, file_digest
from specdis.surveys import IDENTIFIER, Fault, Spectra, Stars, Survey, open_file


def predict_files(directory: Path, inputs: Sequence[Path], output: Path) -> None:
    """Predict every star of some files and write a catalogue of them.

    Parameters
    ----------
    directory
        A model: the folder RUN/model.
    inputs
        Spectra tables, or DESI coadd or spmod files.
    output
        The catalogue to write: .fits, or .parquet.

    Raises
    ------
    InputError
        When no file can be read, or the output is neither FITS nor Parquet.
    """
    if output.suffix not in (".fits", ".parquet"):
        raise InputError(
            output, expected="a name that ends in .fits or .parquet", found=output.name, remedy="Rename it."
        )
    model = load_model(directory)
    parts = []
    for path in inputs:
        try:
            parts.append(_predict_survey(model, open_file(path)))
        except InputError as error:
            if len(inputs) == 1:
                raise
            logger.warning("%s is left out: %s", path, error)
    if not parts:
        raise InputError(
            ", ".join(map(str, inputs)), expected="spectra", found="no file that can be read", remedy="See the log."
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    _say_what_is_missing(columns["FLAGS"])
    made_of = digest([file_digest(directory / "model.json"), *(path.name for path in inputs)])
    settings, loss = model.settings, str(model.card.get("loss", "unknown"))
    header = catalogue.header_cards(settings.photometry.ebv_scale, settings.network.kind, loss)
    catalogue.write_file(output, columns, Provenance("predictions", made_of, model.seed), header)


def _predict_survey(model: Model, survey: Survey) -> dict[str, Array]:
    """Return the catalogue's columns of every star of one file."""
    # The cuts flag what the training did not hold; its split has no meaning here.
    cuts = {"predict_outside": True, "n_folds": None, "fold_column": None, "train_fraction": 0.5}
    settings = model.settings.sample.model_copy(update=cuts)
    stars = select(survey.stars(), survey.columns, settings, model.settings.photometry, model.seed, True).stars
    # No star here was trained on as far as the model knows.
    stars = stars.replace(
        TRAINABLE=np.zeros(len(stars), np.bool_), HELD_OUT=np.ones(len(stars), np.bool_), FOLD=np.full(len(stars), -1)
    )
    targets = Targets.of(stars.columns, model.seed)
    predicted: dict[str, Array] = {}
    progress = Progress("predict", len(stars))
    said: set[str] = set()
    for start in range(0, len(stars), BLOCK):
        block = stars.take(slice(start, start + BLOCK))
        for found in survey.spectra(block):
            rows = found.row + start
            if isinstance(found, Fault):
                logger.warning("%s: %s: %s", found.place, found.name, found.message)
                continue
            for message in _remarks(model, found):
                if message not in said:
                    logger.warning("%s: %s", survey.name, message)
                said.add(message)
            for name, values in model.predict_spectra(found, targets.take(rows)).items():
                predicted.setdefault(name, _nothing(len(stars), values))[rows] = values
            progress.advance(len(rows))
    progress.close()
    if not predicted:
        raise InputError(survey.name, expected="spectra", found="none that can be read", remedy="See the log.")
    return _catalogue(model, stars, predicted)


def _remarks(model: Model, spectra: Spectra) -> list[str]:
    """Say what of these spectra the model was not trained for, or cannot use."""
    remarks = [f"outside the model's domain: {message}" for message in model.coverage(spectra)]
    if not np.isfinite(spectra.velocity).all():
        remarks.append("some spectra have no radial velocity to bring them to rest: they get no prediction")
    return remarks


def _nothing(stars: int, like: Array) -> Array:
    """Return a column of stars without a spectrum."""
    return np.full(stars, np.nan if like.dtype.kind == "f" else int(Flag.NO_SPECTRUM), like.dtype)


def _catalogue(model: Model, stars: Stars, predicted: dict[str, Array]) -> dict[str, Array]:
    predicted["FLAGS"] = predicted["FLAGS"] | model.outside_parameters(stars.columns)
    identifier = {name: stars[name] for name in IDENTIFIER}
    geometric, _ = geometric_magnitude(stars["PARALLAX_CORRECTED"], np.nan, stars["G_0"])
    found = classify(
        predicted["PROB_BINARY"], predicted["M_G_NN_CHI2"], geometric, stars["LOGG"], model.settings.binaries
    )
    predicted["CALIBRATION"] = np.zeros(len(stars), np.bool_)
    return catalogue.build(stars.columns, {**identifier, **predicted}, {**identifier, **found})


def _say_what_is_missing(flags: Array) -> None:
    for flag, description in DESCRIPTIONS.items():
        count = int((flags & flag > 0).sum())
        if count:
            logger.warning("%d of %d stars: %s", count, len(flags), description)
