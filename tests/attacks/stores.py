"""Attacks by array stores: bits that flip, codecs that run code, sizes beyond reason, pipes and devices."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import zarr
from numcodecs.checksum32 import CRC32C

from attacks.process import Attack, refused
from specdis.spectra.pixels import Pixels
from specdis.spectra.sky import ErrorStack
from specdis.storage import Provenance, atomic, read_json, write_json
from specdis.stores.pixels import PixelStore
from specdis.stores.zarr import open_group, store_damage, values
from synthetic_spectra import model, spectra

STARS = 40


def whole(folder: Path) -> Path:
    """Write a store of pixels that reads."""
    made, stack = model(), ErrorStack()
    stack.add(spectra(STARS))
    path = folder / "pixels.zarr"
    store = PixelStore.create(
        path, np.arange(STARS, dtype=np.uint64), made.grid, [(4100.0, 4110.0)], stack, Provenance("pixels", "key", 1)
    )
    shape = (STARS, len(made.grid.wavelength))
    flux = np.random.default_rng(1).normal(1, 0.1, shape).astype(np.float32)
    store.write(slice(0, STARS), Pixels(flux, np.abs(flux), np.zeros(shape, bool), np.zeros(STARS)))
    store.keep(np.ones(STARS, bool), 0.1)
    return path


def read(path: Path) -> str:
    """Read all that a store holds, as the stages do, and as `verify` does."""
    store = PixelStore.open(path)
    assert len(store.grid.arms) > 0
    assert store.sky
    for rows in store.blocks():
        store.read(rows)
    assert np.isfinite(store.velocity).all()
    for name in ("kept", "stack_error", "stack_wavelength"):
        values(open_group(path, "pixels"), name)
    if found := list(store_damage(path, "pixels")):
        raise found[0]
    return "read"


def _flipped(name: str) -> Attack:
    """Return an attack by one bit of a stored array after the other."""

    def attack(folder: Path) -> str:
        path = whole(folder)
        read(path)
        chunk = next(file for file in sorted((path / name / "c").rglob("*")) if file.is_file())
        content = chunk.read_bytes()
        for place in np.linspace(0, 8 * len(content) - 1, 40).astype(int):
            spoilt = bytearray(content)
            spoilt[place // 8] ^= 1 << place % 8
            chunk.write_bytes(spoilt)
            refused(lambda: values(open_group(path, "pixels"), name), "damaged")
        return "40 bits"

    return attack


def _metadata(name: str, change: Callable[[dict[str, Any]], object]) -> Attack:
    """Return an attack by other metadata of an array, or of the store."""

    def attack(folder: Path) -> str:
        path = whole(folder)
        file = path / name / "zarr.json"
        content = read_json(file)
        change(content)
        write_json(file, content)
        return refused(lambda: read(path))

    return attack


def _in_place(name: str, put: Callable[[Path], object]) -> Attack:
    """Return an attack by something else in place of a file of the store."""

    def attack(folder: Path) -> str:
        path = whole(folder)
        (path / name).unlink()
        put(path / name)
        return refused(lambda: read(path))

    return attack


def pickle_of_v2(folder: Path) -> str:
    """Give a store of zarr's second format, whose metadata choose a filter that runs code."""
    path, flag = folder / "pixels.zarr", folder / "PWNED"
    group = zarr.create_group(path, zarr_format=2)
    group.attrs["provenance"] = Provenance("pixels", "key", 1).to_dict()
    group.create_array("flux", shape=(4,), chunks=(4,), dtype="f4")
    metadata = path / "flux" / ".zarray"
    metadata.write_text(re.sub(r'"filters": null', '"filters": [{"id": "pickle"}]', metadata.read_text()))
    (path / "flux" / "0").write_bytes(b"cposix\nsystem\n(S'touch " + str(flag).encode() + b"'\ntR.")
    said = refused(lambda: read(path))
    assert not flag.exists(), "code was run"
    return said


def bomb_in_a_chunk(folder: Path) -> str:
    """Let a chunk hold far more than its array says: 6 GB, of which the header says nothing."""
    path = whole(folder)
    (chunk,) = (file for file in (path / "velocity" / "c").rglob("*") if file.is_file())
    with pa.CompressedOutputStream(str(chunk), "zstd") as packed:
        for _ in range(6 << 6):
            packed.write(bytes(1 << 24))
    chunk.write_bytes(CRC32C(location="end").encode(chunk.read_bytes()))
    return refused(lambda: read(path), "damaged")


def numcodecs_is_bound(folder: Path) -> str:
    """Look whether versions are allowed in which a filter of numcodecs runs code (GHSA-jqc8-qjfv-5m6r)."""
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    (bound,) = (line for line in tomllib.loads(text)["project"]["dependencies"] if line.startswith("numcodecs"))
    least = re.search(r">=([\d.]+)", bound)
    assert least, bound
    assert tuple(map(int, least[1].split("."))) >= (0, 15, 2), bound
    del folder
    return bound


def old_folder(folder: Path) -> str:
    """Let the rename fail that puts a new folder in the place of an old one."""
    path = folder / "cat"
    with atomic(path) as new:
        new.mkdir()
        (new / "old").write_text("old")
    replace = os.replace

    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    os.replace = fails  # type: ignore[assignment]
    try:
        with atomic(path) as new:
            new.mkdir()
            (new / "new").write_text("new")
    except OSError as error:
        said = str(error)
    finally:
        os.replace = replace
    assert (path / "old").read_text() == "old", "the old folder is gone"
    return said


def _codec(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["codecs"].append({"name": name, "configuration": {}})


def _attributes(**instead: object) -> Callable[[dict[str, Any]], object]:
    return lambda content: content["attributes"].update(instead)


def _shape(name: str, value: int) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        if name == "chunk":
            content["chunk_grid"]["configuration"]["chunk_shape"][0] = value
        else:
            content["shape"][0] = value

    return change


ROWS: dict[str, Attack] = {
    "rce_zarr": pickle_of_v2,
    **{f"kept_flip/{name}": _flipped(name) for name in ("kept", "native_B", "native_R", "wavelength")},
    **{f"kept_flip/{name}": _flipped(name) for name in ("stack_error", "stack_wavelength")},
    "zarr/z_vel_shape1e9": _metadata("velocity", _shape("array", 10**9)),
    "zarr/z_arms_bad": _metadata("", _attributes(arms=[["../../x", 0, 10]])),
    "zarr/z_attrs_gone": _metadata("", lambda content: content["attributes"].pop("arms")),
    "zarr/z_chunk_neg": _metadata("velocity", _shape("chunk", -5)),
    "zarr/z_codec_numcodecs_pickle": _metadata("velocity", _codec("numcodecs.pickle")),
    "zarr/z_codec_unknown": _metadata("velocity", _codec("evil")),
    "zarr/z_dtype_obj": _metadata("velocity", lambda content: content.update(data_type="object")),
    "numcodecs_bound": numcodecs_is_bound,
    "atomic/old_folder_kept": old_folder,
}
MORE: dict[str, Attack] = {
    "zarr/bomb_in_a_chunk": bomb_in_a_chunk,
    "zarr/z_arms_text": _metadata("", _attributes(arms="none")),
    "zarr/z_step_text": _metadata("", _attributes(step="none")),
    "zarr/z_sky_text": _metadata("", _attributes(sky_windows=[["a"]])),
    "zarr/z_provenance_text": _metadata("", _attributes(provenance="none")),
    "zarr/z_chunk_0": _metadata("velocity", _shape("chunk", 0)),
    "zarr/z_chunk_dir": _in_place("velocity/c/0", Path.mkdir),
}
