"""The verb `compare` on catalogues of ours and on tables of anyone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from specdis.cli import app
from specdis.errors import InputError
from specdis.verbs.compare import compare_files

N = 400


def tables(folder: Path, bias: float = -0.2) -> tuple[Path, Path]:
    """Write two tables of the same stars, the second with a bias in the modulus and in another order."""
    random = np.random.default_rng(1)
    source, modulus = np.arange(1, N + 1), random.uniform(8.0, 18.0, N)
    ra, dec = random.uniform(0.0, 360.0, N), random.uniform(-20.0, 80.0, N)
    one, two = folder / "one.ecsv", folder / "two.csv"
    Table({"source_id": source, "ra": ra, "dec": dec, "dist": 10 ** (0.2 * modulus - 2)}).write(one)
    order = random.permutation(N)[: N - 100]
    away = modulus + bias + 0.05 * random.normal(size=N)
    Table({"source_id": source[order], "distmod": away[order]}).write(two, format="ascii.csv")
    return one, two


def test_two_tables_differ_by_what_was_put_in(tmp_path: Path) -> None:
    found = compare_files(*tables(tmp_path), tmp_path / "out", {})
    assert (found["n_catalogue"], found["n_matched"]) == (N, N - 100)
    difference = found["comparison"]["difference"]
    assert difference["median_mag"] == pytest.approx(-0.2, abs=4 * 1.25 * 0.05 / np.sqrt(N - 100))
    assert difference["scatter_mag"] == pytest.approx(0.05, rel=0.25)
    assert "members" not in found["comparison"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"comparison.json", *(f"fig10.{kind}" for kind in ("png", "pdf", "ecsv"))}
    assert json.loads((tmp_path / "out" / "comparison.json").read_text())["n_matched"] == N - 100


def test_members_show_which_of_the_two_is_off(tmp_path: Path) -> None:
    one, two = tables(tmp_path)
    stars = Table.read(one)
    (tmp_path / "members").mkdir()
    listed = Table({"source_id": stars["source_id"], "dist": stars["dist"]})
    listed.write(tmp_path / "members" / "sgr.csv", format="ascii.csv")
    with pytest.raises(InputError, match="column nowhere"):
        compare_files(one, two, tmp_path / "out", {"DISTMOD": "nowhere"}, tmp_path)
    found = compare_files(one, two, tmp_path / "out", {}, tmp_path)["comparison"]
    assert found["members"]["rival"]["n"] == N - 100  # tables without velocities: nothing to cut by
    assert found["members"]["ours"]["median_mag"] == pytest.approx(0.0, abs=1e-9)
    assert found["members"]["rival"]["median_mag"] == pytest.approx(-0.2, abs=0.02)
    stars["vrad"] = np.where(np.arange(N) < 10, 500.0, np.random.default_rng(2).uniform(-1.0, 1.0, N))
    stars.write(one, overwrite=True)
    found = compare_files(one, two, tmp_path / "out", {}, tmp_path)["comparison"]["members"]
    assert N - 110 <= found["rival"]["n"] < N - 100  # ten that move apart are gone


def test_the_verb_prints_a_table(tmp_path: Path) -> None:
    one, two = tables(tmp_path)
    done = CliRunner().invoke(app, ["compare", str(one), str(two), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == f"{N - 100} of {N} stars are in both"
    assert lines[2].split()[:3] == ["all", str(N - 100), "-0.200"] or abs(float(lines[2].split()[2]) + 0.2) < 0.02
    assert lines[-1] == str(tmp_path / "out")
    assert done.stdout.isascii()  # some terminals take nothing else
    done = CliRunner().invoke(app, ["compare", str(one), str(two), "-o", str(tmp_path / "out"), "--json"])
    assert json.loads(done.stdout)["n_matched"] == N - 100


def test_a_table_without_distances_is_refused(tmp_path: Path) -> None:
    one, _ = tables(tmp_path)
    Table({"source_id": [1], "x": [2.0]}).write(tmp_path / "three.csv", format="ascii.csv")
    with pytest.raises(InputError, match=r"three.csv: expected a distance"):
        compare_files(one, tmp_path / "three.csv", tmp_path / "out", {})
