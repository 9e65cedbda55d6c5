"""Attacks on a finished run: bits that flip in its products, links and pipes in it, files that are closed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fitsio
import numpy as np
from astropy.table import Table

import table_files
from attacks.process import Attack, specdis, stops
from specdis.errors import SpecdisError
from specdis.verbs.verify import verify_path

STARS = 320
FLIPS = 24


def finished(folder: Path) -> Path:
    """Make a survey with a list of members and a rival catalogue, and run everything on it; return the run."""
    hdus = table_files.table(STARS)
    config = table_files.write_config(table_files.write(folder / "s.fits", hdus))
    identifiers, distance = hdus["STARS"]["SOURCE_ID"], 1 / np.maximum(hdus["STARS"]["PARALLAX"], 0.1)
    for name in ("members/clusters/NGC_6205.csv", "rivals/theirs.csv"):
        path = folder / name
        path.parent.mkdir(parents=True)
        columns = {"source_id": identifiers[:60], "dist": distance[:60]}
        Table(columns).write(path, format="ascii.csv")
    command = [sys.executable, "-W", "ignore", "-m", "specdis", "--quiet", "run", str(config)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def rows(run: Path) -> dict[str, Attack]:
    """Return the attacks on copies of a finished run, by name."""

    def copied(attack: Callable[[Path], object]) -> Attack:
        def on_a_copy(folder: Path) -> object:
            return attack(Path(shutil.copytree(run, folder / "run")))

        return on_a_copy

    return {name: copied(attack) for name, attack in _ON_A_RUN.items()}


def _good(run: Path) -> bool:
    return verify_path(run).good


# Bits


def _flips(name: str) -> Callable[[Path], str]:
    """Return an attack by bits that flip in a file, or in the files of a folder: `verify` notices each."""

    def attack(run: Path) -> str:
        product = run / name
        files = [product] if product.is_file() else sorted(file for file in product.rglob("*") if file.is_file())
        random = np.random.default_rng(1)
        for _ in range(FLIPS):
            file = files[int(random.integers(len(files)))]
            content = file.read_bytes()
            spoilt = bytearray(content)
            spoilt[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
            file.write_bytes(spoilt)
            try:
                good = _good(run)
            except SpecdisError:
                good = False
            assert not good, f"a bit that flipped in {file} was not noticed"
            file.write_bytes(content)
        return f"{FLIPS} bits"

    return attack


# Links, pipes, devices, folders


def symlinks(run: Path) -> str:
    victim = run.parent / "victim"
    (victim / "report-2024").mkdir(parents=True)
    (victim / "thesis.txt").write_text("thesis")
    said = ""
    for name, target in ((".lock", "thesis.txt"), (".partial", "."), ("log.txt", "thesis.txt")):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(victim / target)
        for verb in ("report", "verify"):
            said = stops(verb, run, expected="found a symbolic link")
        assert (victim / "thesis.txt").read_text() == "thesis"
        assert (victim / "report-2024").is_dir()
        (run / name).unlink()
    return said


def _in_place(name: str, put: Callable[[Path], object], *verbs: str) -> Callable[[Path], str]:
    """Return an attack by something else in place of a file of the run."""

    def attack(run: Path) -> str:
        (run / name).unlink()
        put(run / name)
        said = [specdis(verb, run) for verb in verbs]
        assert all(status == 1 for status, _ in said), said
        return said[0][1]

    return attack


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _reading(path: Path) -> None:
    """Put a pipe in the place of a file that the stages after `spectra` read."""
    os.mkfifo(path)


def format_of_the_manifest(run: Path) -> str:
    manifest = run / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "format_version": 99}))
    return stops("status", run, expected="format 99")


def _closed(name: str) -> Callable[[Path], str]:
    def attack(run: Path) -> str:
        (run / name).chmod(0)
        try:
            status, said = specdis("verify", run)
        finally:
            (run / name).chmod(0o755 if (run / name).is_dir() else 0o644)
        assert status == 1, said
        return said

    return attack


# Catalogues


def _catalogue(put: Callable[[Path], object]) -> Callable[[Path], str]:
    """Return an attack by another file in the folder of the catalogue."""

    def attack(run: Path) -> str:
        put(run / "catalogue")
        status, said = specdis("verify", run / "catalogue")
        assert status == 1, said
        return said

    return attack


def _of_1e12_rows(folder: Path) -> None:
    path = folder / "specdis.fits"
    content = path.read_bytes()
    place = content.index(b"NAXIS2  =", 2880) + 10
    path.write_bytes(content[:place] + b"       1000000000000" + content[place + 20 :])


def swapped(run: Path) -> str:
    """Show what docs/faults.md says: who changes a catalogue and makes its sums anew is not noticed."""
    folder = run / "catalogue"
    with fitsio.FITS(str(folder / "specdis.fits"), "rw") as file:
        rows = file[1].read(columns=["TEFF", "LOGG"])
        file[1].write_column("TEFF", rows["LOGG"])
        file[1].write_column("LOGG", rows["TEFF"])
        for number in range(2):
            file[number].write_checksum()
    (folder / "specdis.parquet").unlink()
    sums = f"{hashlib.sha256((folder / 'specdis.fits').read_bytes()).hexdigest()}  specdis.fits\n"
    (folder / "SHA256SUMS").write_text(sums)
    assert not verify_path(run).good, "the manifest does not hold the sum of the catalogue"
    found = verify_path(folder / "specdis.fits")
    return "in a run, noticed by the manifest; alone: " + ("not noticed" if found.good else str(found.problems[0]))


# Output


def _output(redirection: str) -> Callable[[Path], str]:
    def attack(run: Path) -> str:
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -W ignore -m specdis verify {run}/catalogue --json {redirection}"],
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) <= 1, done.stderr
        return done.stderr

    return attack


_ON_A_RUN: dict[str, Callable[[Path], str]] = {
    **{
        f"flip/{name}": _flips(name)
        for name in (
            "spectra/pixels.zarr",
            "components/coefficients.zarr",
            "config.resolved.toml",
            "manifest.json",
            "sample/cutflow.json",
            "training/history.csv",
            "validation/members.parquet",
            "validation/metrics.json",
            "validation/table_a1.ecsv",
            "model",
            "catalogue",
            "training/networks",
            "distances/distances.parquet",
        )
    },
    "run_symlinks": symlinks,
    "proc/log_is_dir": _in_place("log.txt", Path.mkdir, "report"),
    "proc/manifest_is_dir": _in_place("manifest.json", Path.mkdir, "status", "report", "verify"),
    "proc/status_format2": format_of_the_manifest,
    "proc/stdout_closed": _output(">&-"),
    "proc/stdout_full": _output("> /dev/full"),
    "user/verify_unreadable": _closed("catalogue/specdis.fits"),
    "user/verify_sums_unreadable": _closed("catalogue/SHA256SUMS"),
    "verify/v_fits_simple": _catalogue(lambda folder: (folder / "specdis.fits").write_bytes(b"SIMPLE")),
    "verify/v_fits_naxis2_1e12": _catalogue(_of_1e12_rows),
    "verify/v_sums_binary": _catalogue(lambda folder: (folder / "SHA256SUMS").write_bytes(b"\xff\xfe" * 40)),
    "verify/v_swap_teff_logg": swapped,
    "zarr/z_chunk_devzero": _in_place("spectra/pixels.zarr/velocity/c/0", _device, "report", "verify"),
    "zarr/z_chunk_fifo": _in_place("spectra/pixels.zarr/velocity/c/0", os.mkfifo, "report", "verify"),
    "zarr/z_json_devzero": _in_place("spectra/pixels.zarr/velocity/zarr.json", _device, "report", "verify"),
    "user/verify_model_closed": _closed("model"),
    "user/verify_model_card_closed": _closed("model/model.json"),
    "user/verify_manifest_closed": _closed("manifest.json"),
    "user/verify_sample_closed": _closed("sample"),
    "user/verify_product_closed": _closed("sample/sample.parquet"),
    "user/verify_store_closed": _closed("spectra/pixels.zarr/flux"),
    "user/verify_catalogue_closed": _closed("catalogue"),
    "user/verify_run_closed": _closed("."),
}


# The configuration


def _configured(content: Callable[[Path], object], expected: str) -> Attack:
    def attack(folder: Path) -> str:
        path = folder / "c.toml"
        content(path)
        return stops("run", path, expected=expected)

    return attack


ROWS: dict[str, Attack] = {
    "config/devzero": _configured(_device, "found a folder, a pipe or a device"),
    "config/deep": _configured(lambda path: path.write_text("a = " + "[" * 5000 + "]" * 5000), "nested"),
}
MORE: dict[str, Attack] = {
    "config/fifo": _configured(os.mkfifo, "found a folder, a pipe or a device"),
    "config/dir": _configured(Path.mkdir, "found a folder, a pipe or a device"),
}
