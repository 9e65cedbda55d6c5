"""Rows know which spectrum they are of: no product is joined by position."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from specdis.catalogue import read_catalogue
from specdis.errors import ProductError
from specdis.pipeline.manifest import Manifest, ProductSize
from specdis.storage import Provenance, content_digest, read_json, read_table, write_table
from specdis.stores.paths import RunPaths
from specdis.stores.zarr import values
from tiny_run import start

TABLES = ["distances", "binaries", "injected"]
STORES = ["pixels", "coefficients"]


def order(rows: int) -> np.ndarray:
    return np.random.default_rng(8).permutation(rows)


def shuffle_table(path: Path) -> None:
    columns = read_table(path)
    rows = order(len(columns["TARGETID"]))
    write_table(path, Provenance("shuffled", "key", 1), {name: column[rows] for name, column in columns.items()})


def shuffle_store(path: Path) -> None:
    group = zarr.open_group(path, mode="r+")
    stars = len(values(group, "identity"))
    for name in group.array_keys():
        if group[name].shape[0] == stars:
            group[name][:] = values(group, name)[order(stars)]


def accept(paths: RunPaths, name: str) -> None:
    """Let the manifest say that a product is as it is now."""
    manifest = Manifest.read(paths.manifest)
    for stage, record in manifest.stages.items():
        if name in record.products:
            path = getattr(paths, name)
            record = record.model_copy(
                update={
                    "products": record.products | {name: ProductSize.of(path)},
                    "sums": record.sums | {name: content_digest(path)},
                }
            )
            manifest = manifest.replace(stage, record)
    manifest.write(paths.manifest)


@pytest.mark.parametrize("name", ["sample", *TABLES])
def test_a_table_with_its_rows_in_another_order_gives_the_same_catalogue_or_an_error(finished, copied, config, name):
    paths = RunPaths(copied)
    shuffle_table(getattr(paths, name))
    accept(paths, name)
    first = {"distances": "binaries", "binaries": "catalogue"}.get(name, "validation")
    if name == "sample":
        with pytest.raises(ProductError, match=r"pixels\.zarr does not belong to this sample"):
            start(config, copied, first="components", last="validation", force=True)
        return
    start(config, copied, first=first, last="validation", force=True)
    one, other = (read_catalogue(RunPaths(folder).catalogue / "specdis.fits") for folder in (finished, copied))
    for column in one.colnames:
        np.testing.assert_array_equal(np.asarray(one[column]), np.asarray(other[column]))
    assert read_json(RunPaths(finished).metrics) == read_json(paths.metrics)


@pytest.mark.parametrize("name", STORES)
def test_a_store_with_its_rows_in_another_order_is_refused_by_name(copied, config, name):
    paths = RunPaths(copied)
    shuffle_store(getattr(paths, name))
    accept(paths, name)
    with pytest.raises(ProductError, match=rf"{name}\.zarr does not belong to this sample \(row 0 is of another"):
        start(config, copied, first="training" if name == "coefficients" else "distances", last="distances", force=True)


@pytest.mark.slow
def test_a_report_of_lists_with_their_rows_in_another_order_has_the_same_figures(copied, config):
    paths = RunPaths(copied)
    start(config, copied, last="report")
    before = figures(paths)
    for name in ("members", "rivals"):
        shuffle_table(getattr(paths, name))
        accept(paths, name)
    start(config, copied, first="report", force=True)
    assert before == figures(paths)


def figures(paths: RunPaths) -> dict[str, list[str]]:
    """Return the data of every figure, line by line, sorted, because the order of stars may differ.

    The last column may hold an error by bootstrap, which draws the stars in their order: it is left out.
    """
    files = (paths.report / "figures").glob("*.ecsv")
    return {path.name: sorted(line.rpartition(" ")[0] for line in path.read_text().splitlines()) for path in files}
