"""The folder of a model: npz files, and model.json, which holds their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from specdis.calibration import Calibration
from specdis.components import Basis
from specdis.domain import Domain, DomainLimits
from specdis.errors import InputError, ProductError
from specdis.log import logger
from specdis.model.engine import ModelSettings
from specdis.model.model import Model
from specdis.model.soundness import misfits
from specdis.network.ensemble import Networks
from specdis.prior import Prior
from specdis.sample import TrainedStars
from specdis.spectra.grid import ArmPixels, PixelGrid
from specdis.spectra.transform import Transform
from specdis.storage import Provenance, as_json, digest, file_digest, read_arrays, read_json, write_arrays, write_json

CARD, _TRAINED, _PRIOR = "model.json", "trained_stars.npz", "prior"


def save_model(model: Model, directory: Path, provenance: Provenance) -> None:
    """Write the model as a folder of npz files and model.json, which holds their checksums and one of itself."""
    write_arrays(directory / "domain.npz", provenance, {"reference": model.domain.reference})
    native = {f"native_{arm.name}": arm.native for arm in model.grid.arms}
    pixels = {"wavelength": model.grid.wavelength, "kept": np.asarray(model.transform.kept), **native}
    if model.transform.weight is not None:
        pixels["weight"] = np.asarray(model.transform.weight)
    write_arrays(directory / "preprocessing.npz", provenance, pixels)
    write_arrays(directory / "basis.npz", provenance, model.basis.arrays())
    for name, arrays in model.networks.arrays().items():
        write_arrays(directory / f"{name}.npz", provenance, arrays)
    if model.prior is not None:
        write_arrays(directory / f"{_PRIOR}.npz", provenance, model.prior.arrays())
    write_arrays(directory / _TRAINED, provenance, model.trained()._asdict())
    content = as_json(
        {
            "provenance": provenance.to_dict(),
            "settings": model.settings.model_dump(mode="json"),
            "arms": [[arm.name, arm.start, arm.stop] for arm in model.grid.arms],
            "sky_windows": model.sky,
            "training_error_mag": model.training_error,
            "calibration": model.calibration._asdict(),
            "domain": model.domain.limits.model_dump(mode="json"),
            "card": model.card,
            "parts": {path.name: file_digest(path) for path in sorted(directory.glob("*.npz"))},
        }
    )
    write_json(directory / CARD, {**content, "sum": digest(content)})


def load_model(directory: str | Path) -> Model:
    """Load a model from its folder.

    Raises
    ------
    InputError
        When the folder is not a model.
    ProductError
        When a file is missing, damaged or of another format.
    """
    directory = Path(directory)
    content = _read_card(directory)
    provenance, pixels = read_arrays(directory / "preprocessing.npz", "model")
    _, basis = read_arrays(directory / "basis.npz", "model")
    _, domain = read_arrays(directory / "domain.npz", "model")
    ensembles = {
        name: read_arrays(directory / f"{name}.npz", "model")[1]
        for name in Networks._fields
        if f"{name}.npz" in content["parts"]
    }
    prior = read_arrays(directory / f"{_PRIOR}.npz", "model")[1] if f"{_PRIOR}.npz" in content["parts"] else None
    try:
        settings = ModelSettings.model_validate(content["settings"])
        arms = tuple(ArmPixels(name, pixels[f"native_{name}"], *span) for name, *span in content["arms"])
        training = content["training_error_mag"]
        model = Model(
            settings=settings,
            grid=PixelGrid(pixels["wavelength"], arms, settings.spectra.grid.step),
            transform=Transform.of(settings.spectra, pixels["kept"], pixels.get("weight")),
            sky=tuple((float(low), float(high)) for low, high in content["sky_windows"]),
            basis=Basis.of(basis),
            networks=Networks.of(ensembles, settings.network),
            calibration=Calibration(*(np.asarray(content["calibration"][name]) for name in Calibration._fields)),
            training_error=np.nan if training is None else float(training),
            domain=Domain(DomainLimits.model_validate(content["domain"]), domain["reference"]),
            prior=None if prior is None else Prior.of(prior, settings.prior),
            seed=provenance.seed,
            card=dict(content["card"]),
            trained=cache(lambda: _read_trained(directory / _TRAINED)),
        )
        wrong = misfits(model)
    except Exception as error:  # wrong content fails in many libraries
        raise ProductError(
            f"{directory / CARD} is not a model of this version ({type(error).__name__}: {error}). Copy the model "
            "again, or use the version that made it."
        ) from error
    if wrong:
        raise ProductError(
            f"{directory} is not a model: its {' and '.join(wrong)} do not fit the other parts. Copy it again."
        )
    return model


def _read_card(directory: Path) -> dict[str, Any]:
    """Read model.json, and check it and the other files against their checksums."""
    card = directory / CARD
    try:
        if card.is_file():
            return _checked_card(card)
        found = f"no file {CARD} in it" if directory.is_dir() else "a file" if directory.exists() else "nothing"
    except OSError as error:  # permission denied
        found = f"{error.filename}, which cannot be read ({error.strerror})"
    raise InputError(
        directory,
        expected=f"a model: a folder with {CARD}",
        found=found,
        remedy="Give the folder model of a finished run, RUN/model, or of a model that you downloaded.",
    )


def _checked_card(card: Path) -> dict[str, Any]:
    content = read_json(card)
    if not isinstance(content, dict) or not isinstance(content.get("parts"), dict):
        raise ProductError(f"{card} is not the card of a model. Copy the model again.")
    said = content.pop("sum", None)
    if said is None:
        raise ProductError(f"{card} has no sum: an earlier version made it. Use that one, or make the model again.")
    if said != digest(content):
        raise ProductError(f"{card} is damaged: its content does not fit its sum. Copy the model again.")
    if wrong := _wrong_parts(card.parent, content["parts"]):
        raise ProductError(
            f"{card.parent}: {' and '.join(wrong)} missing or damaged, by the sums in {CARD}. Copy the model again."
        )
    return content


def _wrong_parts(directory: Path, sums: Mapping[str, str]) -> list[str]:
    """Return the names of a model's files that are missing or disagree with their checksums.

    The list of training stars is optional.
    """
    files = {name: directory / name for name in sums if name != _TRAINED or (directory / name).exists()}
    return [name for name, path in files.items() if not path.is_file() or file_digest(path) != sums[name]]


def _read_trained(path: Path) -> TrainedStars:
    """Read the training stars of a model.

    Raises
    ------
    ProductError
        When the file is damaged or of another format.
    """
    if not path.exists():
        logger.warning("%s is missing: the training stars are unknown, so HELD_OUT is false for every star", path)
        return TrainedStars.unknown()
    _, arrays = read_arrays(path, "model")
    found = TrainedStars(*(arrays.get(name, np.zeros(0)) for name in TrainedStars._fields))
    if not found.is_sound():
        raise ProductError(f"{path} is not a list of training stars: copy the model again.")
    return found
