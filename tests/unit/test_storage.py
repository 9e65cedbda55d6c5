import json
import os
from pathlib import Path

import numpy as np
import pytest

from specdis import storage
from specdis.errors import InputError, ProductError
from specdis.storage import FORMAT_VERSION, Provenance, atomic

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


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i8"])
def test_arrays_of_another_machine_become_those_of_this_one(tmp_path, dtype):
    path = tmp_path / "arrays.npz"
    storage.write_arrays(path, PROVENANCE, {"a": np.arange(6, dtype=dtype)})
    found = storage.read_arrays(path, "basis")[1]["a"]
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, np.arange(6))


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
    with pytest.raises(InputError, match="writable folder"):
        storage.write_text(tmp_path / "product", "text")


def test_an_unwritable_folder_is_a_clear_error(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    message = "expected a name in a writable folder, found Permission denied"
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
    with pytest.raises(ProductError, match=rf"is a basis of format {FORMAT_VERSION} \(specdis .*\), expected a model"):
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


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_the_old_product_stays_where_the_rename_fails(tmp_path, kind, monkeypatch):
    path = tmp_path / "product"

    def write(text):
        with atomic(path) as temporary:
            if kind == "folder":
                temporary.mkdir()
            (temporary / "part" if kind == "folder" else temporary).write_text(text)

    write("old")

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="Input/output error"):
            write("new")
    assert (path / "part" if kind == "folder" else path).read_text() == "old"
    write("newer")
    assert (path / "part" if kind == "folder" else path).read_text() == "newer"
    assert [file.name for file in tmp_path.iterdir()] == ["product"]


def test_nothing_is_written_or_removed_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis").write_text("thesis")
    (tmp_path / ".file.partial").symlink_to(victim / "thesis")
    (tmp_path / ".folder.partial").symlink_to(victim)
    storage.write_text(tmp_path / "file", "text")
    with atomic(tmp_path / "folder") as temporary:
        temporary.mkdir()
    storage.remove(tmp_path / "folder")
    (tmp_path / "folder").symlink_to(victim)
    storage.remove(tmp_path / "folder")
    assert (victim / "thesis").read_text() == "thesis"


READERS = {
    "t.parquet": storage.read_table,
    "a.npz": lambda path: storage.read_arrays(path, "basis"),
    "j.json": storage.read_json,
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(("make", "found"), [(os.mkfifo, "a named pipe"), (os.mkdir, "a folder")])
def test_what_is_no_file_is_refused_at_once(tmp_path, name, make, found):
    make(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: expected a file, found {found}\. Correct the path"):
        READERS[name](tmp_path / name)


def test_a_device_is_no_file():
    with pytest.raises(InputError, match="expected a file, found a device"):
        storage.read_json(Path("/dev/zero"))


def test_small_files_that_fill_the_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "UNPACKED_FREE", 1 << 20)
    zeros = np.zeros(1 << 18)
    np.savez_compressed(tmp_path / "a.npz", zeros)
    storage.write_table(tmp_path / "t.parquet", PROVENANCE, {"X": zeros})
    for name in ("a.npz", "t.parquet"):
        with pytest.raises(InputError, match=rf"{name}: expected at most .* or 50 times the size of the file"):
            READERS[name](tmp_path / name)
    storage.write_arrays(tmp_path / "a.npz", PROVENANCE, {"X": zeros})
    assert (READERS["a.npz"](tmp_path / "a.npz")[1]["X"] == 0).all()


def test_the_digest_of_a_product_knows_names_and_content(tmp_path):
    folder = tmp_path / "store.zarr"
    for name in ("zarr.json", "flux/zarr.json", "flux/c/0/0"):
        storage.write_text(folder / name, name)
    before = storage.content_digest(folder)
    (folder / "flux" / "c" / "0" / "0").write_text("a chunk, which has a checksum of its own")
    assert storage.content_digest(folder) == before
    (folder / "flux" / "zarr.json").write_text("flux/zarr.jsom")
    assert storage.content_digest(folder) != before
    assert storage.content_digest(folder / "zarr.json") == storage.file_digest(folder / "zarr.json")


def test_provenance_says_who_wrote_it(tmp_path):
    content = PROVENANCE.to_dict()
    assert content["software"].startswith("specdis ")
    assert json.loads(json.dumps(content)) == content
    assert Provenance(**content) == PROVENANCE
