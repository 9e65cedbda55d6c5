"""Damaged files of every kind through the readers: each must be read or refused with a message, and nothing else.

As a script, `python tests/fuzz.py FIRST COUNT [KIND...]`, it tries so many and prints those that did worse. A file is
known by its kind and a number, from which its damage is made again: those that once did worse are kept as numbers.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table as AstropyTable

import desi_files
import table_files
from altered import altered
from attacks import models, runs, stores
from specdis.errors import SpecdisError
from specdis.model.files import load_model, save_model
from specdis.pipeline.config import Config, config_of
from specdis.pipeline.stages import STAGES
from specdis.pipeline.staleness import stage_statuses
from specdis.references import References, ReferencesSettings, Unread, find_members
from specdis.storage import Provenance, read_json, read_table
from specdis.surveys import SurveySettings, open_file, open_survey
from specdis.verbs.verify import verify_path
from synthetic_spectra import model

SECONDS = 20
MEGABYTES = 1500
"""What a reader may take more than a process that has imported everything; the files are of a megabyte at most."""

TOML = """
[run]
name = "fuzz"
directory = "run"
seed = 3

[survey]
kind = "table"
spectra = "spectra.fits"

[sample]
programs = ["bright", "backup"]
n_folds = 5
ebv_max = 0.5

[spectra]
grid.step = 0.5
sky_windows = [[5575.0, 5582.0], [6299.0, 6304.0]]

[network]
hidden = [100, 100]

[distances]
method = "linear"
"""


PREDICTED = 40
"""Of so many models that load, one predicts."""

MATCHED = {
    "source_id": 4_418_642_906_513_912_320 + np.arange(6),
    "ra": 200.0 + 0.1 * np.arange(6),
    "dec": np.full(6, 20.0),
}
"""Stars of a list that are in the catalogue."""


class Kind(NamedTuple):
    """A kind of file: the whole ones, and how they are read."""

    make: Callable[[Path], list[Path]]
    """Writes whole files into a folder, and returns those that are to be damaged."""
    read: Callable[[Path], object]
    """Reads what is in the folder."""
    damage: Callable[[bytes, int], bytes] | None = None
    """What is done to the content of a file, by a number; `damaged` if nothing else."""


def _coadd(folder: Path) -> list[Path]:
    return [desi_files.write(folder / "coadd.fits", desi_files.coadd(desi_files.targets(3)))]


def _survey(folder: Path) -> list[Path]:
    catalogue = desi_files.write(folder / "mwsall.fits", desi_files.catalogue(4))
    coadd = desi_files.coadd_path(folder / "healpix")
    coadd.parent.mkdir(parents=True)
    desi_files.write(coadd, desi_files.coadd(desi_files.targets(4)))
    return [catalogue]


def _spmod(folder: Path) -> list[Path]:
    return [desi_files.write(folder / "spmod_coadd.fits", desi_files.spmod(desi_files.targets(3)))]


def _velocities(folder: Path) -> list[Path]:
    _coadd(folder)
    rows = desi_files.rvtab(desi_files.targets(3), np.array([10.0, np.nan, -50.0]))
    return [desi_files.write(folder / "rvtab_coadd.fits", rows)]


def _references(folder: Path) -> list[Path]:
    """Write lists of members and rival catalogues in every format that is read."""
    names = [
        "members/clusters/NGC_6205.csv",
        "members/draco.ecsv",
        "members/sgr_stream.fits",
        "members/bhb.parquet",
        "members/clusters/NGC_5272.vot",
    ]
    names += ["rivals/plain.txt", "rivals/tabs.tsv"]
    forms = ["ascii.csv", "ascii.ecsv", "fits", "parquet", "votable", "ascii.commented_header", "ascii.tab"]
    made = []
    for name, form in zip(names, forms, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        AstropyTable({**MATCHED, "distance": np.linspace(7, 9, 6), "distance_error": np.full(6, 0.5)}).write(
            path, format=form
        )
        made.append(path)
    return made


def _list(name: str, form: str) -> Kind:
    """Return the kind of one list in a format, which is read as a list of members and as a rival catalogue."""

    def make(folder: Path) -> list[Path]:
        columns = {**MATCHED, "distance": np.linspace(7, 9, 6), "distance_error": np.full(6, 0.5)}
        path = folder / "members" / name
        path.parent.mkdir()
        AstropyTable(columns).write(path, format=form)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
        (folder / "rivals").symlink_to("members")
        return [path]

    return Kind(make, _read_references)


def _store(folder: Path) -> list[Path]:
    path = stores.whole(folder)
    return sorted(file for file in path.rglob("*") if file.is_file())


def _run(folder: Path) -> list[Path]:
    """Copy a finished run, without what is large and no product."""
    run = runs.finished(folder)
    shutil.rmtree(run / "report" / "figures")
    return sorted(file for file in run.rglob("*") if file.is_file() and file.parent.name != "report")


def _json_of_run(folder: Path) -> list[Path]:
    run = runs.finished(folder)
    return [run / name for name in ("manifest.json", "sample/cutflow.json", "validation/metrics.json")]


def _model_with_copy(folder: Path) -> list[Path]:
    files = _model(folder)
    shutil.copytree(folder / "model", folder / "whole")
    return files


def _table(folder: Path) -> list[Path]:
    return [table_files.write(folder / "spectra.fits", table_files.table(3))]


def _model(folder: Path) -> list[Path]:
    save_model(model(), folder / "model", Provenance("model", "fuzz", 1))
    return sorted((folder / "model").iterdir())


def _toml(folder: Path) -> list[Path]:
    path = folder / "config.toml"
    path.write_text(TOML)
    return [path]


def _read_file(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        survey = open_file(folder / name)
        for stars in survey.stars():
            for _ in survey.spectra(stars):
                pass

    return read


def _read_survey(folder: Path) -> None:
    settings = SurveySettings(kind="desi", catalogue=folder / "mwsall.fits", spectra=folder / "healpix")
    survey = open_survey(settings)
    for stars in survey.stars():
        for _ in survey.spectra(stars):
            pass


def _read_references(folder: Path) -> list[Unread]:
    read = References(ReferencesSettings(directory=folder), "dr3")
    every = {name: np.zeros(6) for name in ("PMRA", "PMDEC", "VRAD", "PHOT_G_MEAN_MAG", "A_G")}
    stars = every | {"TARGETID": np.arange(6)} | {name.upper(): values for name, values in MATCHED.items()}
    find_members(read.members(), stars, read.settings, "dr3")
    read.rivals(stars)
    return read.unread


def _read_toml(folder: Path) -> None:
    config = Config.load(folder / "config.toml")
    config.differences()
    Config.load(folder / "config.toml", ["sample.n_folds=3"]).to_toml()


def _read_summed_model(folder: Path) -> None:
    """Load a model whose sums are made anew, and every so often predict with it, for which it must be compiled."""
    try:
        models.summed(folder / "model")
        load_model(folder / "model").trained()
        _read_summed_model.loaded += 1
        if _read_summed_model.loaded % PREDICTED == 0:
            models.used(folder / "model")
    finally:
        shutil.copy(folder / "whole" / "model.json", folder / "model" / "model.json")


_read_summed_model.loaded = 0


def _read_store(folder: Path) -> None:
    stores.read(folder / "pixels.zarr")


def _read_run(folder: Path) -> None:
    """Verify a run, say what is stale in it, and read it as those do who look at a finished one."""
    run, said = folder / "run", []
    for read in (
        lambda: said.extend(map(str, verify_path(run).problems)),
        lambda: stage_statuses(config_of(run), STAGES),
        lambda: [read_json(run / name) for name in ("sample/cutflow.json", "validation/metrics.json")],
        lambda: [read_table(path) for path in (run / "sample").glob("*.parquet")],
    ):
        with suppress(SpecdisError):
            read()


KINDS = {
    "coadd": Kind(_coadd, _read_file("coadd.fits")),
    "catalogue": Kind(_survey, _read_survey),
    "spmod": Kind(_spmod, _read_file("spmod_coadd.fits")),
    "velocities": Kind(_velocities, _read_file("coadd.fits")),
    "references": Kind(_references, _read_references),
    "table": Kind(_table, _read_file("spectra.fits")),
    "model": Kind(_model, lambda folder: load_model(folder / "model")),
    "toml": Kind(_toml, _read_toml),
    "list csv": _list("draco.csv", "ascii.csv"),
    "list csv.gz": _list("draco.csv.gz", "ascii.csv"),
    "list ecsv": _list("draco.ecsv", "ascii.ecsv"),
    "list fits": _list("draco.fits", "fits"),
    "list parquet": _list("draco.parquet", "parquet"),
    "list votable": _list("draco.vot", "votable"),
    "list blanks": _list("draco.txt", "ascii.commented_header"),
    "list tabs": _list("draco.tsv", "ascii.tab"),
    "list mrt": _list("draco.mrt", "ascii.mrt"),
    "list ipac": _list("draco.tbl", "ascii.ipac"),
    "summed model": Kind(_model_with_copy, _read_summed_model, altered),
    "store": Kind(_store, _read_store),
    "run": Kind(_run, _read_run),
    "json of a run": Kind(_json_of_run, _read_run, altered),
}


def damaged(content: bytes, number: int) -> bytes:
    """Return a file with the damage that goes with a number: bits, bytes, words, digits, pieces, or its end."""
    random = np.random.default_rng(number)
    spoilt = bytearray(content)
    # Headers and beginnings are short and matter most.
    near = min(len(spoilt), 11520) if random.random() < 0.6 else len(spoilt)
    for _ in range(random.integers(1, 6)):
        if not spoilt:
            break
        place = int(random.integers(min(near, len(spoilt))))
        match random.integers(7):
            case 0:
                spoilt[place] ^= 1 << int(random.integers(8))
            case 1:
                spoilt[place] = int(random.integers(256))
            case 2:
                spoilt[place : place + 4] = random.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
            case 3:
                digits = [k for k in range(place, min(place + 400, len(spoilt))) if chr(spoilt[k]).isdigit()]
                if digits:
                    spoilt[digits[int(random.integers(len(digits)))]] = ord(str(random.integers(10)))
            case 4:
                length = int(random.integers(1, 200))
                other = int(random.integers(len(spoilt)))
                spoilt[place : place + length] = spoilt[other : other + length]
            case 5:
                del spoilt[place : place + int(random.integers(1, 100))]
            case 6:
                if random.random() < 0.3:
                    del spoilt[int(random.integers(len(spoilt))) :]
                else:
                    spoilt[place:place] = bytes(random.integers(0, 256, int(random.integers(1, 80)), dtype=np.uint8))
    return bytes(spoilt)


def attempt(kind: str, number: int, folder: Path) -> str:
    """Damage one of the files in a folder that holds whole ones, read, and mend; return "" or what went wrong."""
    files = [Path(name) for name in json.loads((folder / "files.json").read_text())]
    path = files[number % len(files)]
    whole = path.read_bytes()
    path.write_bytes((KINDS[kind].damage or damaged)(whole, number))
    signal.alarm(SECONDS)
    try:
        KINDS[kind].read(folder)
    except SpecdisError:
        pass
    except BaseException:
        return traceback.format_exc(limit=-3)
    finally:
        signal.alarm(0)
        path.write_bytes(whole)
    return ""


def prepared(kind: str, folder: Path) -> Path:
    """As `prepare`, in a process of its own: what forks may not have started JAX."""
    subprocess.run([sys.executable, "-W", "ignore", __file__, "prepare", kind, str(folder)], check=True)
    return folder


def prepare(kind: str, folder: Path) -> Path:
    """Write whole files of a kind into a folder."""
    folder.mkdir()
    files = KINDS[kind].make(folder)
    (folder / "files.json").write_text(json.dumps([str(path) for path in files]))
    return folder


def _late(*_: object) -> None:
    raise TimeoutError(f"not done after {SECONDS} s")


def tried(kind: str, numbers: range, folder: Path) -> Iterator[tuple[int, str]]:
    """Try numbers in processes that may die; yield those that did worse than a message, and how."""
    first = numbers.start
    while first < numbers.stop:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            signal.signal(signal.SIGALRM, _late)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(first, numbers.stop):
                said = attempt(kind, number, folder)
                grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
                said = said or (f"{grown:.0f} MB more memory" if grown > MEGABYTES else "")
                os.write(writing, (json.dumps([number, said[-1500:]]) + "\n").encode())
                if grown > MEGABYTES:
                    break
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answers:
            for line in answers:
                number, said = json.loads(line)
                first = number + 1
                if said:
                    yield number, said
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            yield first, f"killed by signal {-status}"
            first += 1
            for file in folder.iterdir():  # what was damaged may have stayed so
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            folder.rmdir()
            prepared(kind, folder)


def main(first: int, count: int, *kinds: str) -> None:
    """Try kinds, or all of them, with so many numbers, and print what did worse than a message."""
    with tempfile.TemporaryDirectory() as place:
        for kind in kinds or KINDS:
            worse = 0
            for number, said in tried(kind, range(first, first + count), prepared(kind, Path(place) / kind)):
                worse += 1
                print(f"{kind} {number}: {said}", flush=True)
            print(f"{kind}: {count} tried, {worse} did worse than a message", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
