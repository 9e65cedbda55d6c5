"""Attacks by lists of members and rival catalogues: links, bombs, closed folders, names that are formulas."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from attacks.process import Attack, refused, specdis
from specdis.references import References, ReferencesSettings, ReferenceTable
from specdis.report.figures import rivals

ROWS_OF_A_LIST = 40


def list_of_stars(path: Path, rows: int = ROWS_OF_A_LIST) -> Path:
    """Write a list that reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number = np.arange(rows)
    columns = {"source_id": 1 + number, "ra": 200 + 0.01 * number, "dec": 0.1 * number, "dist": 5 + 0.1 * number}
    Table(columns).write(path, format="ascii.csv")
    return path


def _all(path: Path) -> object:
    table = ReferenceTable.open(path)
    return table.read(table.names)


# Links and bombs


def _linked(address: str, tag: str = "STREAM") -> Attack:
    def attack(folder: Path) -> str:
        secret = folder / "secret.bin"
        secret.write_bytes(np.array([(5, 7.25)], dtype=">i8, >f8").tobytes())
        (folder / "a.vot").write_text(
            '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
            '<FIELD name="source_id" datatype="long"/><FIELD name="dist" datatype="double"/>'
            f'<DATA><BINARY><{tag} href="{address.format(secret)}"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>'
        )
        return refused(lambda: _all(folder / "a.vot"), "No other file is read")

    return attack


def parquet_bomb(folder: Path) -> str:
    zeros = pa.array(np.zeros(1 << 22))
    with pq.ParquetWriter(folder / "a.parquet", pa.schema({"source_id": pa.int64(), "dist": pa.float64()})) as file:
        for _ in range(100):  # 4e8 rows
            file.write_table(pa.table({"source_id": zeros.cast(pa.int64()), "dist": zeros}))
    assert (folder / "a.parquet").stat().st_size < 1 << 24
    return refused(lambda: _all(folder / "a.parquet"), "1 GiB in memory")


def _packed(start: bytes, row: bytes, expected: str = "1 GiB in memory") -> Attack:
    """Return an attack by a list in gzip that holds 4 GB of one row."""

    def attack(folder: Path) -> str:
        piece = row * ((1 << 24) // len(row))
        with gzip.open(folder / "a.gz", "wb", compresslevel=1) as file:
            file.write(start)
            for _ in range(256):
                file.write(piece)
        return refused(lambda: _all(folder / "a.gz"), expected)

    return attack


_VOTABLE = b'<VOTABLE><RESOURCE><TABLE><FIELD name="source_id" datatype="long"/><DATA><TABLEDATA>'


def long_words(folder: Path) -> str:
    """Give one star a name of a megabyte, and a million others one of a letter."""
    with (folder / "a.csv").open("w") as file:
        file.write("name,dist\n" + "y,1\n" * (1 << 20) + "x" * (1 << 20) + ",1\n")
    return refused(lambda: _all(folder / "a.csv"), "1 GiB in memory")


def long_words_in_blanks(folder: Path) -> str:
    with (folder / "a.txt").open("w") as file:
        file.write("name dist\n" + "y 1\n" * (1 << 20) + "x" * (1 << 20) + " 1\n")
    return refused(lambda: _all(folder / "a.txt"), "1 GiB in memory")


def dictionary_of_long_words(folder: Path) -> str:
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1 << 20, np.int32)), pa.array(["x" * (1 << 20)]))
    for keeps in (True, False):
        table = pa.table({"name": words, "dist": pa.array(np.ones(1 << 20))})
        pq.write_table(table, folder / "a.parquet", store_schema=keeps)
        said = refused(lambda: _all(folder / "a.parquet"), "1 GiB in memory")
    return said


def entities(folder: Path) -> str:
    """Define a word of ten words of ten words, and so on."""
    laughs = "".join(f'<!ENTITY a{k + 1} "{f"&a{k};" * 10}">' for k in range(9))
    (folder / "a.vot").write_text(
        f'<?xml version="1.0"?><!DOCTYPE VOTABLE [<!ENTITY a0 "ha">{laughs}]>'
        '<VOTABLE><RESOURCE><DESCRIPTION>&a9;</DESCRIPTION><TABLE><FIELD name="dist" datatype="double"/>'
        "<DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    return refused(lambda: _all(folder / "a.vot"))


# Folders that are closed, and names


def rivals_folder_not_searchable(folder: Path) -> str:
    rival = list_of_stars(folder / "rivals" / "a.csv")
    rival.parent.chmod(0o644)  # names can be seen, files not
    try:
        read = References(ReferencesSettings(directory=folder), "dr3")
        none = np.zeros(0)
        found = read.rivals(dict.fromkeys(("SOURCE_ID", "TARGETID", "RA", "DEC", "PMRA", "PMDEC"), none))
        assert not found
        assert read.unread, "nothing was said"
        return read.unread[0].message
    finally:
        rival.parent.chmod(0o755)


def _compared(name: str) -> Attack:
    """Return an attack by the name of a catalogue that is compared: it is drawn as it is."""

    def attack(folder: Path) -> str:
        one = list_of_stars(folder / "one.csv", 300)
        status, said = specdis("compare", one, list_of_stars(folder / name, 300), "-o", folder / "out")
        assert status == 0, said
        return "compared"

    return attack


def _drawn(name: str) -> Callable[[Path], str]:
    """Return an attack by the name of a rival catalogue in the figures of the report."""

    def attack(folder: Path) -> str:
        distance = np.geomspace(1, 50, 400)
        plot = rivals.draw_comparison({name: {"DIST": distance, "DIST_RIVAL": 1.1 * distance}})
        plot.figure.savefig(folder / "a.png")
        return "drawn"

    return attack


def newline_in_a_name(folder: Path) -> str:
    """Give a list that cannot be read a name of two lines."""
    path = folder / "members" / "clusters" / "NGC\n6205.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\0")
    read = References(ReferencesSettings(directory=folder), "dr3")
    read.members()
    (unread,) = read.unread
    assert "\n" not in unread.place + unread.message, repr(unread)
    return str(unread)


ROWS: dict[str, Attack] = {
    "ref/vot_href_file": _linked("file://{}"),
    "ref/vot_href_http_closedport": _linked("http://127.0.0.1:9/a"),
    "ref/vot_href_devzero": _linked("file:///dev/zero"),
    "ref/parquet_bomb_4e8rows": parquet_bomb,
    "perm/rivals_folder_not_searchable": rivals_folder_not_searchable,
    "compare/mathtext_name": _compared("a$\\foo$.csv"),
    "fig/rival_math_bad": _drawn("a$\\foo$"),
    "fig/rival_frac": _drawn("$\\frac{$"),
}
MORE: dict[str, Attack] = {
    "ref/csv_gz_bomb": _packed(b"source_id,dist\n", b"1,1\n"),
    "ref/blanks_gz_bomb": _packed(b"source_id dist\n", b"1 1\n"),
    "ref/lines_gz_bomb": _packed(b"source_id dist\n1 1\n", b"\n"),
    "ref/one_line_gz_bomb": _packed(b"", b"x", "an unreadable file"),
    "ref/ecsv_gz_bomb": _packed(b"# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n", b"1\n"),
    "ref/votable_gz_bomb": _packed(_VOTABLE, b"<TR><TD>1</TD></TR>"),
    "ref/fits_gz_bomb": _packed(b"SIMPLE  =                    T", b"\0"),
    "ref/long_words": long_words,
    "ref/long_words_in_blanks": long_words_in_blanks,
    "ref/dictionary_of_long_words": dictionary_of_long_words,
    "ref/entities": entities,
    "ref/newline_in_a_name": newline_in_a_name,
}
