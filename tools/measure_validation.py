"""Measure how long validating and drawing a large catalogue takes: the products of a finished run, repeated.

    python tools/measure_validation.py RUN OUT --stars 1000000

OUT gets a run whose stars are those of RUN many times over, each copy with identifiers of its own and with magnitudes
and distances shifted a little, as are the truth and the rival catalogues beside the survey. The stages `validation` and
`report` then run on it, each in its own process; their seconds, peak memory and the size of the page are printed.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fitsio
import numpy as np
import zarr

from specdis import catalogue
from specdis.arrays import Array
from specdis.pipeline.config import Config, config_of
from specdis.pipeline.inputs import references_of, survey_of
from specdis.pipeline.manifest import Manifest
from specdis.pipeline.stage import Context, SurveyFiles
from specdis.pipeline.stages import STAGES
from specdis.storage import Provenance, read_table, write_table
from specdis.stores.paths import RunPaths
from specdis.stores.zarr import create_array

_SPACING = 1 << 42  # between the identifiers of copies
_SHIFTED = ("M_G_NN", "M_G_GEO")


def repeated(columns: Mapping[str, Array], copies: int) -> dict[str, Array]:
    """Repeat a table, with new identifiers and slightly other magnitudes and distances."""
    rows = len(next(iter(columns.values())))
    copy = np.repeat(np.arange(copies), rows)
    jitter = 0.05 * np.random.default_rng(0).normal(size=copies * rows)
    made = {name: np.tile(values, copies) for name, values in columns.items()}
    for name in ("TARGETID", "SOURCE_ID"):
        if name in made:
            made[name] = np.where(made[name] > 0, made[name] + copy * _SPACING, made[name])
    for name in set(made) & {*_SHIFTED}:
        made[name] += jitter
    for name in [name for name in made if name.startswith("DIST") and "MOD" not in name and "ERR" not in name]:
        made[name] *= 10.0 ** (0.2 * jitter)
    return made


def repeat_run(run: Path, out: Path, stars: int) -> None:
    """Write the products that validation and report read, repeated."""
    old, new = RunPaths(run), RunPaths(out)
    config = config_of(run)
    sample = read_table(old.sample)
    copies = -(-stars // len(sample["TARGETID"]))
    origin = Provenance("sample", "repeated", config.run.seed)
    write_table(new.sample, origin, repeated(sample, copies))
    catalogue.write_catalogue(
        new.catalogue, repeated(catalogue.read_columns(run), copies), origin, {"EBVSCALE": (1.0, "")}
    )
    if config.survey.truth_file is not None:
        write_table(out / "truth.parquet", origin, repeated(read_table(config.survey.truth_file), copies))
    for path in references_of(config).files:
        there = out / "rivals" / path.name if path.parent.name == "rivals" else out / path.relative_to(path.parents[2])
        there.parent.mkdir(parents=True, exist_ok=True)
        if path.parent.name == "rivals" and path.suffix == ".fits":
            table = fitsio.read(str(path), ext=1)
            fitsio.write(str(there), repeated({name: table[name] for name in table.dtype.names}, copies))
        else:
            shutil.copy(path, there)
    for part in ("components/basis.npz", "training", "model", "sample/cutflow.json", "manifest.json"):
        (out / part).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (run / part).is_dir() else shutil.copy)(run / part, out / part)
    shutil.copytree(old.pixels, new.pixels)
    store = zarr.open_group(new.pixels, mode="r+")
    rows = len(sample["TARGETID"])
    for name in ("flux", "sigma", "bad", "velocity"):
        store[name].resize((copies * rows, *store[name].shape[1:]))
    shutil.copytree(old.coefficients, new.coefficients)
    group = zarr.open_group(new.coefficients, mode="r+")
    for name in list(group.array_keys()):
        values = np.asarray(group[name][:])
        array = create_array(group, f"{name}_", (copies * rows, *values.shape[1:]), values.dtype)
        for number in range(copies):
            array[number * rows : (number + 1) * rows] = values
    for name in [name for name in group.array_keys() if not name.endswith("_")]:
        shutil.rmtree(new.coefficients / name)
        (new.coefficients / f"{name}_").rename(new.coefficients / name)


def run_stage(name: str, out: Path, config: Config) -> tuple[float, float]:
    """Run a stage; return its seconds and the peak resident memory of its process in GiB."""
    manifest = Manifest.read(RunPaths(out).manifest)
    files = SurveyFiles(config, manifest, survey_of)
    stage = next(stage for stage in STAGES if stage.name == name)
    context = Context(config, RunPaths(out), "repeated", out / ".partial", manifest, files)
    start = time.monotonic()
    stage.run(context)
    return time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--stars", type=int, default=1_000_000)
    arguments = parser.parse_args()
    run, out = arguments.run.resolve(), arguments.out.resolve()
    repeat_run(run, out, arguments.stars)
    config = config_of(run)
    truth = out / "truth.parquet"
    survey = config.survey.model_copy(update={"truth": truth if truth.exists() else None})
    lists = config.references.model_copy(update={"directory": out})
    config = config.model_copy(update={"survey": survey, "references": lists})
    total = 0.0
    for name in ("validation", "report"):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            seconds, memory = pool.submit(run_stage, name, out, config).result()
        total += seconds
        print(f"{name:<12}{seconds:>8.1f} s{memory:>8.2f} GiB")
    page = RunPaths(out).report / "index.html"
    print(f"{total:.1f} s in all; {page} has {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
