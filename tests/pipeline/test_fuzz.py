"""Damaged files that readers once got wrong, by number; and some that they never have."""

from __future__ import annotations

from pathlib import Path

import pytest

import fuzz

ONCE_WRONG = {
    "coadd": (917,),  # two columns of one name
    "catalogue": (557, 3433),  # the same; and an extension that begins with another keyword
    "spmod": (),
    "velocities": (),
    "references": (454, 20006),  # an identifier of more digits than fit; bytes that are no text
    "table": (46, 150),  # a column without a name
    "model": (16, 22, 46, 58, 1354, 4606),  # bytes that are no text; a key that is missing
    "toml": (),
}
FEW, OTHERS = range(20_000, 20_015), range(20_015, 20_040)
KINDS = [kind for kind in fuzz.KINDS if not kind.endswith("run")]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind: str, tmp_path: Path):
    folder = fuzz.prepare(kind, tmp_path / kind)
    for number in (*ONCE_WRONG.get(kind, ()), *FEW):
        assert fuzz.attempt(kind, number, folder) == "", number


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_more_damaged_files_are_read_or_refused(kind: str, tmp_path: Path):
    folder = fuzz.prepare(kind, tmp_path / kind)
    for number in OTHERS:
        assert fuzz.attempt(kind, number, folder) == "", number


def test_whole_lists_are_all_read(tmp_path: Path):
    assert fuzz.KINDS["references"].read(fuzz.prepare("references", tmp_path / "references")) == []


def test_a_reader_that_dies_or_does_not_end_is_noticed(monkeypatch, tmp_path):
    def read(folder: Path) -> None:
        content = (folder / "config.toml").read_bytes()
        if content[:1] == b"\n":
            raise ValueError("not expected")

    monkeypatch.setitem(fuzz.KINDS, "toml", fuzz.KINDS["toml"]._replace(read=read))
    folder = fuzz.prepare("toml", tmp_path / "toml")
    assert "ValueError: not expected" in fuzz.attempt("toml", 1, folder)
