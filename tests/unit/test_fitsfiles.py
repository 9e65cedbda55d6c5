"""Names of FITS files are names: no character in them is a command."""

from __future__ import annotations

import os
import re
from pathlib import Path

import fitsio
import numpy as np
import pytest

import specdis
import table_files
from specdis.catalogue import fits as catalogue
from specdis.errors import InputError
from specdis.fitsfiles import appended, created, opened
from specdis.surveys import open_file
from specdis.surveys.fits import FileError, reading_fits

ODD = [
    "a [v2]",
    "a.fits[STARS][X>1]",
    "a+1",
    "a(b)",
    " a ",
    "a\nb",
    "a#b&c",
    "ä%20",
    "!a",
    "~",
    "$HOME",
    "mem:",
    "a.imh",
]


def write(path: Path, values: np.ndarray) -> Path:
    """Write an image under any name."""
    with fitsio.FITS("mem://", "rw") as file:
        file.write(values)
        path.write_bytes(file.read_raw())
    return path


@pytest.mark.parametrize("name", ODD)
def test_a_file_of_any_name_in_a_folder_of_any_name_is_read(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()
    path = write(tmp_path / name / name, np.arange(3))
    monkeypatch.chdir(path.parent)
    for way in (path, Path(name)):
        with opened(way) as file:
            assert file[0].read().tolist() == [0, 1, 2]


def test_a_name_in_parentheses_is_not_written(tmp_path):
    write(tmp_path / "a.fits", np.arange(3))
    path = tmp_path / f"a.fits({tmp_path}/planted)"
    path.parent.mkdir(parents=True)
    write(path, np.arange(4))
    with reading_fits(path) as file:
        assert len(file[0].read()) == 4
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_any_name_is_written_to(tmp_path, name):
    path = tmp_path / name / "new.fits"
    path.parent.mkdir()
    for _ in range(2):  # the second replaces the first
        with created(path) as file:
            file.write(np.arange(3))
    with appended(path) as file:
        file.write(np.arange(2))
    assert [found.name for found in path.parent.iterdir()] == ["new.fits"]
    with opened(path) as file:
        assert [hdu.read().tolist() for hdu in file] == [[0, 1, 2], [0, 1]]


def test_spectra_and_catalogues_have_any_name(tmp_path):
    folder = tmp_path / "out [v2] (x)+1"
    folder.mkdir()
    table_files.write(tmp_path / "plain.fits", table_files.table(5))
    survey = open_file((tmp_path / "plain.fits").rename(folder / "s #1 [a].fits"))
    assert len(next(survey.stars())) == 5
    path = write(folder / "c[1].fits", np.arange(3))
    with pytest.raises(KeyError, match="SPECDIS"):  # it was opened, and is no catalogue
        catalogue.read_fits_header(path)
    assert len(catalogue.fits_damage(path)) == 2


def test_nothing_else_gives_names_to_the_library():
    source = Path(specdis.__file__).parent
    named = re.compile(r"fitsio\.(FITS\(|read|write)")
    found = {str(path.relative_to(source)) for path in source.rglob("*.py") if named.search(path.read_text("utf-8"))}
    assert found == {"fitsfiles.py"}


@pytest.mark.parametrize(
    ("make", "fault", "said"),
    [
        (lambda path: path.mkdir(), "missing-file", "found a folder"),
        (lambda path: os.mkfifo(path), "missing-file", "found a device or a pipe"),
        (lambda path: None, "missing-file", "found none"),
        (lambda path: path.write_text("source_id,ra,dec\n"), "unreadable-file", "starts with b'source_id'"),
        (lambda path: path.write_text(""), "unreadable-file", "found an empty one"),
        (lambda path: path.write_text("SIMPLE  ="), "unreadable-file", "cannot be read"),
        (lambda path: path.write_bytes(b"\x1f\x8b\x08"), "unreadable-file", "cannot be unpacked"),
    ],
)
def test_what_is_no_fits_file_is_named_without_the_words_of_the_library(tmp_path, make, fault, said):
    path = tmp_path / "odd [1].fits"
    make(path)
    with pytest.raises(FileError, match=re.escape(f"{path}: expected")) as caught, reading_fits(path):
        pass
    assert caught.value.fault == fault
    assert said in str(caught.value)
    assert "ffopen" not in str(caught.value)
    assert "/dev/fd" not in str(caught.value)


@pytest.mark.parametrize("method", ["is_file", "open"])
def test_a_file_that_may_not_be_read_is_a_fault(tmp_path, monkeypatch, method):
    def refuse(self, *arguments):
        raise PermissionError(13, "Permission denied", str(self))

    path = write(tmp_path / "a.fits", np.arange(3))
    monkeypatch.setattr(Path, method, refuse)
    message = r"a\.fits: expected a readable file, found permission denied"
    with pytest.raises(FileError, match=message) as caught, reading_fits(path):
        pass
    assert caught.value.fault == "closed-file"


def test_a_file_of_neither_kind_is_told_what_a_spectra_table_is(tmp_path):
    with fitsio.FITS(str(tmp_path / "spec-1.fits"), "rw") as file:
        file.write({"flux": np.ones(9), "loglam": np.ones(9)}, extname="COADD")
    with pytest.raises(InputError, match=r"spectra table, with the HDUs STARS, .*, found the HDUs COADD"):
        open_file(tmp_path / "spec-1.fits")
