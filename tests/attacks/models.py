"""Attacks by models of strangers: parts that do not fit, settings beyond reason, bombs, pipes; the sums made anew."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from attacks.process import Attack, refused, specdis
from specdis.arrays import Array
from specdis.model.files import load_model, save_model
from specdis.storage import Provenance, digest, file_digest, read_arrays, read_json, write_arrays
from synthetic_spectra import model, spectra

STARS = 6
Content = dict[str, Any]


def whole(folder: Path) -> Path:
    """Write a model that loads."""
    save_model(model(), folder / "model", Provenance("model", "attack", 1))
    return folder / "model"


def summed(directory: Path, change: Callable[[Content], object] = lambda content: None) -> None:
    """Change model.json, and make its sums anew, as a stranger can."""
    content = read_json(directory / "model.json")
    del content["sum"]
    change(content)
    content["parts"] = {path.name: file_digest(path) for path in sorted(directory.glob("*.npz"))}
    text = json.dumps({**content, "sum": digest(content)})
    (directory / "model.json").write_text(text)


def used(directory: Path) -> str:
    """Load a model, and predict a few spectra with it."""
    loaded = load_model(directory)
    arms = {arm.name: arm.native for arm in loaded.grid.arms}
    del arms
    (arm,) = spectra(STARS, arms={"one": np.arange(3900.0, 4700.0, 0.8)}, seed=3).arms.values()
    stars = {"vrad": np.zeros(STARS), "phot_g_mean_mag": np.full(STARS, 15.0), "teff": np.full(STARS, 5000.0)}
    found = loaded.predict(arm.wavelength, arm.flux, ivar=arm.ivar, **stars)
    return f"predicted {len(found)} stars"


def _card(change: Callable[[Content], object], expected: str = "", *, works: bool = False) -> Attack:
    """Return an attack by another content of model.json."""

    def attack(folder: Path) -> str:
        directory = whole(folder)
        summed(directory, change)
        return used(directory) if works else refused(lambda: used(directory), expected)

    return attack


def _part(part: str, name: str, change: Callable[[Array], Array]) -> Attack:
    """Return an attack by another array in one of the parts."""

    def attack(folder: Path) -> str:
        directory = whole(folder)
        provenance, arrays = read_arrays(directory / part, "model")
        write_arrays(directory / part, provenance, {**arrays, name: change(arrays[name])})
        summed(directory)
        return refused(lambda: used(directory))

    return attack


def _setting(section: str, key: str, value: object) -> Attack:
    return _card(lambda content: content["settings"][section].update({key: value}))


def _in_place(name: str, put: Callable[[Path], object]) -> Attack:
    """Return an attack by something else in place of a file of the model."""

    def attack(folder: Path) -> str:
        directory = whole(folder)
        (directory / name).unlink()
        put(directory / name)
        return refused(lambda: load_model(directory))

    return attack


def digits(folder: Path) -> str:
    """Change each digit of model.json by itself: no change passes."""
    directory = whole(folder)
    card = directory / "model.json"
    text = card.read_text()
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    for place in places[:: max(1, len(places) // 60)]:
        other = str((int(text[place]) + 4) % 10)
        card.write_text(text[:place] + other + text[place + 1 :])
        if json.loads(card.read_text()) != json.loads(text):
            refused(lambda: load_model(directory))
    return f"{len(places)} digits"


def zip_bomb(folder: Path) -> str:
    directory = whole(folder)
    with zipfile.ZipFile(directory / "basis.npz", "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("more.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (6 << 30,)}
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(6 << 6):
                member.write(bytes(1 << 24))
    summed(directory)
    return refused(lambda: load_model(directory), "1 GiB in memory")


def false_size(folder: Path) -> str:
    """Let the directory of an archive say that a member is small, and its header that the array is huge."""
    directory = whole(folder)
    with zipfile.ZipFile(directory / "basis.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("more.npy", "w") as member:
            header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
            np.lib.format.write_array_header_1_0(member, header)
    summed(directory)
    return refused(lambda: load_model(directory))


def shifted(folder: Path) -> str:
    """Show what docs/faults.md says: sums tell damage; who makes them anew can change what he likes."""
    directory = whole(folder)
    provenance, arrays = read_arrays(directory / "preprocessing.npz", "model")
    write_arrays(directory / "preprocessing.npz", provenance, {**arrays, "wavelength": arrays["wavelength"] + 10})
    refused(lambda: load_model(directory), "missing or damaged")
    summed(directory)
    return used(directory)


def card_is_closed(folder: Path) -> str:
    directory = whole(folder)
    (directory / "model.json").chmod(0)
    said = refused(lambda: load_model(directory))
    (directory / "model.json").chmod(0o644)
    directory.chmod(0)
    try:
        return said + refused(lambda: load_model(directory))
    finally:
        directory.chmod(0o755)


def model_is_a_file(folder: Path) -> str:
    directory = whole(folder)
    status, said = specdis("predict", directory / "model.json", folder / "s.fits", "-o", folder / "o.fits")
    assert status == 1, said
    return said + refused(lambda: load_model(directory / "model.json" / "more"))


def _arms(arms: object) -> Attack:
    return _card(lambda content: content.update(arms=arms))


def _calibration(shift: object) -> Attack:
    return _card(lambda content: content["calibration"].update(shift=shift))


def _native(name: str, values: object) -> Callable[[Content], object]:
    return lambda content: content["domain"].update({name: values})


def _cut_row(values: Array) -> Array:
    return values[:, :-1]


ROWS: dict[str, Attack] = {
    "model.json digit flips": digits,
    "model/npz_zipbomb_6GB": zip_bomb,
    "model/json_devzero": _in_place("model.json", lambda path: path.symlink_to("/dev/zero")),
    "model/json_fifo": _in_place("model.json", os.mkfifo),
    "model/npz_fifo": _in_place("basis.npz", os.mkfifo),
    "model/json_dir": _in_place("model.json", Path.mkdir),
    "model/arms_empty": _arms([]),
    "model/arms_span": _arms([["B", 0, 0], ["R", 0, 10]]),
    "model/arms_str": _arms([["B", "0", "10"], ["R", "10", "20"]]),
    "model/b_shape": _part("label.npz", "bias0", lambda bias: bias[:1]),
    "model/cal_null": _calibration(None),
    "model/cal_shape": _calibration([0.0]),
    "model/cal_str": _calibration("none"),
    "model/dom_param": _card(_native("parameters", {"FOO": [0, 1]})),
    "model/dom_param_target": _card(_native("parameters", {"SURVEY": [0, 1]})),
    "model/dom_width_missing": _card(_native("pixel_width", {})),
    "model/draws_1e400": _setting("distances", "n_draws", 10**400),
    "model/draws_1e9": _setting("distances", "n_draws", 10**9),
    "model/nfolds_0": _part("label.npz", "n_folds", lambda folds: 0 * folds),
    "model/surveys_weird": _setting("sample", "surveys", ["\ud800"]),
    "model/vec_none": _part("basis.npz", "vectors", lambda vectors: vectors[:, :0]),
    "model/w1_shape": _part("label.npz", "weight1", _cut_row),
    "model/w_0d": _part("label.npz", "weight0", lambda weight: weight[0, 0, 0]),
    "model/w_1d": _part("label.npz", "weight0", lambda weight: weight[0, 0]),
    "model/w_nets_differ": _part("label.npz", "weight0", lambda weight: weight[:-1]),
    "model/wl_2d": _part("preprocessing.npz", "wavelength", lambda wavelength: wavelength[None]),
    "model/wl_shift10A": shifted,
    "user/model_json_unreadable": card_is_closed,
    "predict/model_is_a_file": model_is_a_file,
}
MORE: dict[str, Attack] = {
    "model/false_size": false_size,
    "model/step_1e-9": _card(lambda content: content["settings"]["spectra"]["grid"].update(step=1e-9)),
    "model/step_1e9": _card(lambda content: content["settings"]["spectra"]["grid"].update(step=1e9)),
    "model/width_1e300": _setting("spectra", "continuum_width", 1e300),
    "model/seeds_1e9": _part("label.npz", "n_seeds", lambda seeds: seeds + 10**9),
    "model/wl_nan": _part("preprocessing.npz", "wavelength", lambda wavelength: wavelength * np.nan),
    "model/wl_falling": _part("preprocessing.npz", "wavelength", lambda wavelength: wavelength[::-1]),
    "model/native_empty": _part("preprocessing.npz", "native_B", lambda native: native[:0]),
    "model/native_text": _part("preprocessing.npz", "native_B", lambda native: native.astype("U")),
    "model/kept_empty": _part("preprocessing.npz", "kept", lambda kept: kept[:0]),
    "model/weights_text": _part("label.npz", "weight0", lambda weight: weight.astype("U")),
    "model/domain_1d": _part("domain.npz", "reference", lambda reference: reference[0]),
    "model/prior_nan": _part("prior.npz", "log_volume", lambda volume: volume * np.nan),
    "model/prior_falling": _part("prior.npz", "modulus", lambda modulus: modulus[::-1]),
    "model/prior_0d": _part("prior.npz", "log_density", lambda density: density[0]),
    "model/eigenvalues_2d": _part("basis.npz", "eigenvalues", lambda values: values[None]),
    "model/mixture_width": _part("mixture.npz", "bias1", _cut_row),
}
