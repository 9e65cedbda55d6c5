"""What disks do to a run: each fault is found, said, and once it is mended the run ends with the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from specdis.cli import app
from specdis.storage import read_json
from tiny_run import products, start, until


def stopped(config: Path, directory: Path, *options: str) -> str:
    """Run the command line, which fails; return its message."""
    result = CliRunner().invoke(app, ["run", str(config), "--set", f"run.directory={directory}", *options])
    assert result.exit_code == 1, result.exception
    (message,) = (line for line in result.stderr.splitlines() if line.startswith("specdis: "))
    return message


# A file system of the test's own

IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-e", "-c")

needs_namespace = pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run([*IN_NAMESPACE, "mount -t tmpfs none /mnt"], capture_output=True).returncode != 0,
    reason="this system lets no user mount a file system of their own",
)

RUN = "from specdis.cli import main; main()"


def fails_then_goes_on(
    config: Path, finished: Path, disk: Path, prepare: str, mend: str, last: str = "catalogue"
) -> str:
    """Run in a file system that is prepared so that the run fails, and again when it is mended; return the message.

    The second run has to end with the products that an undisturbed one has.
    """
    disk.mkdir()
    specdis = f'{sys.executable} -c "{RUN}" run {config} --set run.directory={disk}/run --to {last}'
    script = (
        f"{prepare}; if {{specdis}}; then exit 9; fi; echo --- mended >&2; {mend}; {{specdis}}; "
        "cp -a {disk}/run {kept}"
    )
    kept = disk.with_suffix(".kept")
    done = subprocess.run(
        [*IN_NAMESPACE, script.format(specdis=specdis, disk=disk, kept=kept)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert products(kept) == until(finished, last)
    return done.stderr.partition("--- mended")[0]


@needs_namespace
@pytest.mark.parametrize(
    ("size", "stage", "last"),
    [("600k", "spectra", "spectra"), pytest.param("7m", "[a-z]+", "catalogue", marks=pytest.mark.slow)],
)
def test_a_full_disk(config, finished, tmp_path, size, stage, last):
    prepare, mend = f"mount -t tmpfs -o size={size} none {{disk}}", "mount -o remount,size=1g {disk}"
    message = fails_then_goes_on(config, finished, tmp_path / "disk", prepare, mend, last)
    assert re.search(
        rf"specdis: .*: no space left while running {stage}\. Free some space\. Then run the same command again",
        message,
    )


@needs_namespace
@pytest.mark.slow
def test_a_disk_that_can_no_longer_be_written(config, finished, tmp_path):
    prepare = "mount -t tmpfs none {disk}; {specdis} --to sample; mount -o remount,ro {disk}"
    message = fails_then_goes_on(config, finished, tmp_path / "disk", prepare, "mount -o remount,rw {disk}")
    assert re.search(r"specdis: .*expected a writable folder, found Read-only file system", message)


# Products and inputs that change under a run


def test_a_flipped_bit_in_a_stored_block_is_found(config, finished, copied):
    chunk = copied / "spectra" / "pixels.zarr" / "flux" / "c" / "1" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    message = stopped(config, copied, "--from", "components", "--force")
    assert f"{copied}/spectra/pixels.zarr/flux is damaged" in message
    assert f"delete {copied}/spectra/pixels.zarr and run again" in message
    shutil.rmtree(copied / "spectra" / "pixels.zarr")
    start(config, copied, last="spectra")
    assert products(copied) == products(finished)


def test_a_stored_block_that_vanished_is_found(config, finished, copied):
    (copied / "components" / "coefficients.zarr" / "coefficients" / "c" / "2" / "0").unlink()
    message = stopped(config, copied, "--from", "training", "--to", "training", "--force")
    assert re.search(r"training needs components, which is stale: .*coefficients\.zarr has another size", message)
    start(config, copied, last="components")
    assert products(copied) == products(finished)


def test_a_flipped_bit_in_a_table_is_found(config, finished, copied):
    table = copied / "sample" / "sample.parquet"
    content = bytearray(table.read_bytes())
    content[len(content) // 3] ^= 1
    table.write_bytes(bytes(content))
    message = stopped(config, copied, "--from", "spectra", "--force")
    assert f"{table} is damaged" in message
    table.unlink()
    start(config, copied, last="sample")
    assert products(copied) == products(finished)


def test_a_flipped_bit_in_a_network_is_found(config, finished, copied):
    networks = copied / "training" / "networks" / "label.npz"
    content = bytearray(networks.read_bytes())
    content[len(content) // 2] ^= 1
    networks.write_bytes(bytes(content))
    assert f"{networks.parent} is damaged" in stopped(config, copied, "--from", "model", "--force")
    networks.unlink()
    start(config, copied, last="training")
    assert products(copied) == products(finished)


def test_a_spectra_file_that_is_cut_short_under_a_run(config, finished, tmp_path):
    """Its stars are lost and named; with the file whole again they are back."""
    folder, directory = tmp_path / "survey", tmp_path / "run"
    shutil.copytree(config.parent / "survey", folder)
    moved = tmp_path / "tiny.toml"
    moved.write_text(config.read_text())
    start(moved, directory, last="sample")
    coadd = sorted(folder.glob("healpix/main/bright/*/*/coadd-*.fits"))[0]
    content = coadd.read_bytes()
    coadd.write_bytes(content[: len(content) // 2])
    start(moved, directory, last="spectra")
    lost = read_json(directory / "manifest.json")["stages"]["spectra"]["faults"]
    assert any(coadd.name in fault["place"] and fault["stars"] > 0 for fault in lost)
    coadd.write_bytes(content)
    assert start(moved, directory, last="spectra") == ["spectra"]
    assert products(directory) == until(finished, "spectra")
