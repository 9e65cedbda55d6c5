"""The verbs: arguments and results."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from specdis.cli import tables
from specdis.cli.shell import Reply, app, verb
from specdis.errors import ConfigError
from specdis.pipeline.templates import templates

if TYPE_CHECKING:
    from specdis.pipeline.config import Config
    from specdis.pipeline.staleness import StageStatus

__all__ = ["app"]

StageName = Literal[
    "sample", "spectra", "components", "training", "model", "distances", "binaries", "catalogue", "validation", "report"
]
_STAGES = ", ".join(get_args(StageName))


def _checked_overrides(overrides: list[str]) -> list[str]:
    from specdis.pipeline.toml import parse_overrides

    try:
        parse_overrides(overrides)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    return overrides


Overrides = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        callback=_checked_overrides,
        help="Override a value of the configuration; repeatable.",
    ),
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration, a TOML file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run: run.directory.")]


def _checked_columns(columns: list[str]) -> list[str]:
    for column in columns:
        if not column.partition("=")[0] or "=" not in column:
            raise typer.BadParameter(f"{column}: expected QUANTITY=NAME, for example DIST=d_kpc")
    return columns


@verb("specdis init demo")
def init(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=lambda: list(templates()), help=f"One of {', '.join(templates())}."
        ),
    ] = "demo",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="The file to write, NAME.toml by default.")
    ] = None,
) -> Reply:
    """Write a configuration to start from. An existing file is never overwritten."""
    from specdis.pipeline.templates import write_template

    path = out or Path(f"{name}.toml")
    ready = write_template(name, path)
    steps = [f"specdis {then} {shlex.quote(str(path))}" for then in ("check", "run")]
    first = [] if ready else [f"edit {path}: the paths under [survey] and [run]"]
    return Reply(
        {"configuration": path, "next": [*first, *steps]}, [path, "Next:", *(f"  {it}" for it in (*first, *steps))]
    )


@verb("specdis run config.toml --set run.threads=4")
def run(
    config: ConfigFile,
    first: Annotated[
        StageName | None, typer.Option("--from", metavar="STAGE", help=f"First stage that may run: {_STAGES}.")
    ] = None,
    last: Annotated[StageName | None, typer.Option("--to", metavar="STAGE", help="Last stage that may run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
) -> Reply:
    """Turn a survey's files into a catalogue. Only stale stages run; repeat the command to resume."""
    _limit_threads(config, overrides)
    from specdis.pipeline import runner
    from specdis.pipeline.config import Config
    from specdis.pipeline.stages import STAGES

    settings = Config.load(config, overrides)
    return _products(settings, runner.run_stages(settings, STAGES, first=first, last=last, force=force))


@verb("specdis status demo/run")
def status(directory: RunDirectory) -> Reply:
    """Say which stages of a run are fresh, which are stale, and why."""
    from specdis.pipeline import staleness
    from specdis.pipeline.config import config_of
    from specdis.pipeline.stages import STAGES

    found = staleness.stage_statuses(config_of(directory), STAGES)
    return Reply([_content(stage) for stage in found], tables.status_lines(found))


@verb("specdis check config.toml")
def check(config: ConfigFile, overrides: Overrides = []) -> Reply:  # noqa: B006
    """Check that a run can succeed. Inputs, folder, disk and memory are examined; nothing is started."""
    from dataclasses import asdict

    from specdis.pipeline.config import Config
    from specdis.verbs.check import examine

    found = examine(Config.load(config, overrides))
    return Reply(asdict(found), tables.findings_lines(found), good=not found.problems)


@verb("specdis predict demo/run/model spectra.fits -o distances.fits")
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model: the folder RUN/model.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Spectra tables, DESI coadd or spmod files.")],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The catalogue to write.")],
) -> Reply:
    """Predict distances for new spectra with a trained model."""
    from specdis.verbs.predict import predict_files

    predict_files(model, inputs, output)
    return Reply({"catalogue": output}, [output])


@verb("specdis verify demo/run")
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A run, a model, or a catalogue: its folder or a file.")],
) -> Reply:
    """Verify a run, a model or a catalogue. Checksums, schema, ranges, units and identifiers are checked."""
    from dataclasses import asdict

    from specdis.verbs.verify import verify_path

    found = verify_path(path)
    counts = [", ".join(f"{name} {count}" for name, count in found.counts.items())] if found.counts else []
    return Reply(
        {"good": found.good, "problems": [asdict(problem) for problem in found.problems], "counts": found.counts},
        [*found.problems, *counts, f"{path} is {'good' if found.good else 'not good'}"],
        found.good,
    )


@verb("specdis demo --out demo --stars 1500")
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the survey and the run.")] = Path(
        "demo"
    ),
    stars: Annotated[
        int | None, typer.Option("--stars", min=300, metavar="N", help="Stars of the mock survey.")
    ] = None,
) -> Reply:
    """Make a mock survey, run all stages on it and write a report."""
    from specdis.verbs.demo import make_demo

    return _products(*make_demo(out, stars))


@verb("specdis mock survey --stars 5000 --seed 1")
def mock(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the survey.")],
    stars: Annotated[int | None, typer.Option("--stars", min=300, metavar="N", help="Number of stars.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Random seed.")] = None,
    library: Annotated[
        Path | None,
        typer.Option("--library", metavar="TABLE", help="A spectra table of real stars, cloned to new distances."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="CONFIG", help="A configuration whose section [mock] is used.")
    ] = None,
) -> Reply:
    """Write a mock survey in DESI's file formats. Its true distances are known."""
    from specdis.mock.settings import MockSettings
    from specdis.mock.survey import write_mock
    from specdis.pipeline.config import Config

    universe = MockSettings() if config is None else Config.load(config).mock
    options = {"stars": stars, "seed": seed, "library": library}
    given = {name: value for name, value in options.items() if value is not None}
    made = write_mock(out, MockSettings.model_validate({**universe.model_dump(exclude_unset=True), **given}))
    return Reply({"survey": out, **made}, [out])


@verb("specdis compare demo/run theirs.csv --column DIST=d_kpc")
def compare(
    catalogue: Annotated[Path, typer.Argument(metavar="CATALOGUE", help="A run, its catalogue, or a table.")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="A run, its catalogue, or any table to compare with.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the numbers and figures.")] = Path(
        "comparison"
    ),
    references: Annotated[
        Path | None, typer.Option("--references", metavar="DIR", help="Folder with lists of members in members/.")
    ] = None,
    columns: Annotated[
        list[str],
        typer.Option(
            "--column",
            metavar="QUANTITY=NAME",
            callback=_checked_columns,
            help="OTHER's name for a quantity, as DIST=d_kpc; repeatable.",
        ),
    ] = [],  # noqa: B006 - typer copies it
) -> Reply:
    """Match two catalogues and compare their distances."""
    from specdis.verbs.compare import compare_files

    named = dict(column.split("=", 1) for column in columns)
    found = compare_files(catalogue, other, out, named, references)
    return Reply(found, [*tables.comparison_lines(found), out])


@verb("specdis posterior demo/run --prior disc-halo -o posterior.fits")
def posterior(
    catalogue: Annotated[
        Path, typer.Argument(metavar="CATALOGUE", help="A run, or its catalogue: the folder or a file.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The catalogue to write.")],
    prior: Annotated[
        str,
        typer.Option(
            metavar="PRIOR",
            help="fitted, halo, disc-halo, or a table with the columns distance_kpc and density (stars per volume).",
        ),
    ] = "fitted",
    draws: Annotated[
        int,
        typer.Option("--draws", min=0, metavar="N", help="Posterior draws to write of each star."),
    ] = 0,
    overrides: Annotated[
        list[str],
        typer.Option("--set", metavar="KEY=VALUE", help="A key of section [prior], as halo_break=30; repeatable."),
    ] = [],  # noqa: B006 - typer copies it
) -> Reply:
    """Apply another prior to a catalogue. It is written again, with the posterior distances of that density."""
    from specdis.pipeline.toml import parse_overrides
    from specdis.verbs.posterior import write_posterior

    write_posterior(catalogue, prior, output, parse_overrides(_checked_overrides(overrides)), draws)
    return Reply({"catalogue": output}, [output])


@verb("specdis ablate config.toml")
def ablate(config: ConfigFile, overrides: Overrides = []) -> Reply:  # noqa: B006
    """Undo the paper's choices one by one. A table shows the effect on bias and scatter."""
    _limit_threads(config, overrides)
    from specdis.storage import read_json
    from specdis.verbs.ablate import run_ablations

    table = run_ablations(config, overrides)
    rows = read_json(table.with_suffix(".json"))
    return Reply({"table": table, "rows": rows}, [table.read_text(encoding="utf-8").rstrip("\n"), table])


@verb("specdis bench --stars 4096")
def bench(
    stars: Annotated[
        int, typer.Option("--stars", min=2500, metavar="N", help="Number of stars of the mock survey.")
    ] = 4096,
) -> Reply:
    """Benchmark the stages. Rates stand beside the limit of this machine and a plain version."""
    from tempfile import TemporaryDirectory

    from specdis.verbs.bench import measure_rates

    with TemporaryDirectory(dir=".") as folder:
        rows = list(measure_rates(stars, Path(folder).resolve()))
    return Reply([row._asdict() for row in rows], tables.rates_lines(rows))


@verb("specdis report demo/run")
def report(directory: RunDirectory) -> Reply:
    """Write the report of a finished run again."""
    from specdis.pipeline import runner
    from specdis.pipeline.config import config_of
    from specdis.pipeline.stages import STAGES

    config = config_of(directory)
    return _products(config, runner.run_stages(config, STAGES, first="report", last="report", force=True))


def _limit_threads(path: Path, overrides: Sequence[str]) -> None:
    """Set the number of CPU threads before NumPy and JAX are imported, when they fix it."""
    from specdis.pipeline.toml import parse_overrides, read_toml
    from specdis.workers.answers import THREADS

    for content in (read_toml(path), parse_overrides(overrides)):
        section = content.get("run")
        if isinstance(section, dict) and isinstance(section.get("threads"), int):
            for name in THREADS:
                os.environ[name] = str(section["threads"])


def _products(config: Config, ran: Sequence[str]) -> Reply:
    """Return the stages that ran, and the paths of the catalogue and the report, if they exist."""
    from specdis.stores.paths import RunPaths

    paths = RunPaths(config.run.directory)
    named = {"catalogue": paths.catalogue / "specdis.fits", "report": paths.report / "index.html"}
    products = {name: path for name, path in named.items() if path.exists()}
    return Reply({"directory": paths.directory, "ran": ran, **products}, products.values())


def _content(stage: StageStatus) -> dict[str, Any]:
    record = None if stage.record is None else stage.record.model_dump(mode="json", exclude={"read"})
    return {"name": stage.name, "state": stage.state, "reasons": stage.reasons, "record": record}
