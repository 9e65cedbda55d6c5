import json
import os

import numpy as np
import pytest

from specdis import storage
from specdis.errors import InputError, ProductError
from specdis.storage import Provenance, atomic

PROVENANCE = Provenance("basis", "key", 3)
COLUMNS = {
    "TARGETID": np.array([2**62 + 1, -5], np.int64),
    "SURVEY": np.array([b"main", b""]),
    "DIST": np.array([1.5, np.nan]),
    "ERR": np.array([np.inf, 0.25], np.float32),
    "FLAGS": np.array([7, 0], np.int32),
    "GOOD": np.array([True, False]),
}


def test_a_table_comes_back_as_it_went(tmp_path):
    path = tmp_path / "deep" / "table.parquet"
    storage.write_table(path, PROVENANCE, COLUMNS)
    found = storage.read_table(path)
    assert list(found) == list(COLUMNS)
    for name, values in COLUMNS.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype.kind == values.dtype.kind
    assert list(storage.read_table(path, ["DIST", "SURVEY"])) == ["DIST", "SURVEY"]


def test_arrays_come_back_as_they_went(tmp_path):
    path = tmp_path / "arrays.npz"
    arrays = {"a": np.arange(6.0).reshape(2, 3), "n": np.asarray(4), "s": np.array([b"x"])}
    storage.write_arrays(path, PROVENANCE, arrays)
    provenance, found = storage.read_arrays(path, "basis")
    assert provenance == PROVENANCE
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype


def test_json_has_null_for_what_is_not_finite(tmp_path):
    path = tmp_path / "metrics.json"
    content = {"a": np.float32(np.nan), "b": [np.inf, np.int64(3)], "c": (np.arange(2),), 4: True}
    storage.write_json(path, content)
    assert storage.read_json(path) == {"a": None, "b": [None, 3], "c": [[0, 1]], "4": True}


def test_equal_content_is_equal_bytes(tmp_path):
    for name in ("one", "two"):
        storage.write_table(tmp_path / name / "t.parquet", PROVENANCE, COLUMNS)
        storage.write_arrays(tmp_path / name / "a.npz", PROVENANCE, {"x": np.arange(9)})
        storage.write_json(tmp_path / name / "j.json", {"x": 1.0})
        os.utime(tmp_path / name, (0, 0))
    for file in ("t.parquet", "a.npz", "j.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
        assert storage.file_digest(tmp_path / "one" / file) == storage.file_digest(tmp_path / "two" / file)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_fails_half_way_leaves_the_old_product(tmp_path, kind):
    path = tmp_path / "product"
    with atomic(path) as temporary:
        temporary.mkdir() if kind == "folder" else temporary.write_text("old")
        if kind == "folder":
            (temporary / "part").write_text("old")

    def fail():
        with atomic(path) as temporary:
            temporary.mkdir() if kind == "folder" else temporary.write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (path / "part" if kind == "folder" else path).read_text() == "old"
    # What the killed attempt left does not disturb the next.
    with atomic(path) as temporary:
        assert not temporary.exists()
        temporary.write_text("newer")
    assert path.read_text() == "newer"
    assert [file.name for file in tmp_path.iterdir()] == ["product"]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable for root")
def test_an_unwritable_folder_is_a_clear_error_on_disk(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="folder that can be written"):
        storage.write_text(tmp_path / "product", "text")


def test_an_unwritable_folder_is_a_clear_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    message = "expected a name in a folder that can be written, found Permission denied"
    with pytest.raises(InputError, match=message) as error:
        storage.write_text(tmp_path / "product", "text")
    assert error.value.place == str(tmp_path / "product")


def test_missing_and_damaged_products_name_the_file_and_the_remedy(tmp_path):
    readers = {
        "t.parquet": storage.read_table,
        "a.npz": lambda path: storage.read_arrays(path, "basis"),
        "j.json": storage.read_json,
    }
    for name, read in readers.items():
        with pytest.raises(ProductError, match=rf"{name} is missing: run the stage"):
            read(tmp_path / name)
        (tmp_path / name).write_bytes(b"{ no product")
        with pytest.raises(ProductError, match=rf"{name} .*remove it and run again"):
            read(tmp_path / name)


def test_a_column_that_is_not_there_is_named(tmp_path):
    storage.write_table(tmp_path / "t.parquet", PROVENANCE, COLUMNS)
    with pytest.raises(ProductError, match="lacks column LABEL"):
        storage.read_table(tmp_path / "t.parquet", ["LABEL", "DIST"])


def test_another_kind_or_format_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    storage.write_arrays(path, PROVENANCE, {})
    with pytest.raises(ProductError, match="is a basis of format 1, expected a model"):
        storage.read_arrays(path, "model")
    storage.write_arrays(path, Provenance("basis", "key", 3, format_version=99), {})
    with pytest.raises(ProductError, match="format 99"):
        storage.read_arrays(path, "basis")


def test_products_hold_no_pickle(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        storage.write_arrays(tmp_path / "a.npz", PROVENANCE, {"x": np.array([{}], dtype=object)})
    assert not (tmp_path / "a.npz").exists()


def test_digests_know_content_not_order(tmp_path):
    assert storage.digest({"a": 1, "b": [2.0]}) == storage.digest({"b": (2.0,), "a": np.int64(1)})
    assert storage.digest({"a": 1}) != storage.digest({"a": 2})
    path = tmp_path / "survey.fits"
    path.write_bytes(b"1234")
    os.utime(path, (1, 1))
    before = storage.fingerprint([path, tmp_path / "absent"])
    os.utime(path, (2, 2))
    assert storage.fingerprint([path]) != before
    os.utime(path, (1, 1))
    assert storage.fingerprint([path]) == before
    path.write_bytes(b"12345")
    os.utime(path, (1, 1))
    assert storage.fingerprint([path]) != before


def test_provenance_says_who_wrote_it(tmp_path):
    content = PROVENANCE.to_dict()
    assert content["software"].startswith("specdis ")
    assert json.loads(json.dumps(content)) == content
    assert Provenance(**content) == PROVENANCE
