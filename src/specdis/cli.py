"""The command line: verbs, exit statuses, and the only module that prints.

Results go to stdout, the log and errors to stderr. Exit status: 0 good, 1 an expected failure, 2 bad usage,
130 interrupted. What a verb needs is imported when it runs, so that help comes at once.
"""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from specdis import __version__, log
from specdis.errors import ConfigError, SpecdisError

if TYPE_CHECKING:
    from specdis.pipeline.config import Config
    from specdis.pipeline.plan import StageStatus

StageName = Literal[
    "sample", "spectra", "components", "training", "distances", "binaries", "catalogue", "validation", "report"
]


class _Verbs(TyperGroup):
    """Turns failures into messages and exit statuses."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        try:
            try:
                return super().main(*arguments, **options)
            finally:
                print(end="", flush=True)  # what is still to be written can fail too
        except BrokenPipeError:  # who reads the output has seen enough
            _write_no_more()
        except Exception as error:
            _write_no_more()
            print(f"specdis: {_unexpected(error)}", file=sys.stderr)
        sys.exit(1)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SpecdisError as error:
            log.logger.debug("the traceback", exc_info=error)
            print(f"specdis: {error}", file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            print("specdis: interrupted. The same command goes on where it stopped.", file=sys.stderr)
            raise typer.Exit(130) from None


def _write_no_more() -> None:
    """Send what is left of the output nowhere, so that it does not fail once more at the end of the process."""
    with suppress(AttributeError, OSError):  # closed, or no file at all
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unexpected(error: Exception) -> str:
    """Say what went wrong: with the system, or with the software, whose traceback is kept in a file."""
    log.logger.debug("the traceback", exc_info=error)
    if isinstance(error, OSError) and error.errno is not None:
        place = error.filename or "the output"
        return (
            f"{place}: expected to read or write it, found: {error.strerror}. Correct the path or its permissions, or "
            "free some space."
        )
    import tempfile
    import traceback

    said = " ".join(f"{type(error).__name__}: {error}".split())
    account = f"specdis {__version__}: {sys.argv}\n\n{''.join(traceback.format_exception(error))}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="specdis-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(account)
    except OSError:
        return f"{said}. This is a fault of specdis: please report it to its developers with these lines.\n{account}"
    return f"{said}. This is a fault of specdis: please report it to its developers with the file {file.name}"


app = typer.Typer(
    cls=_Verbs,
    help="Stellar distances from survey spectra and Gaia parallaxes (SPECDis, Li et al. 2025).",
    epilog="Example: specdis demo --out demo. Options of all verbs come first: specdis --quiet run config.toml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; a request to end is an interrupt, so that a batch system ends a run as a user does."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):  # and not closed
        sys.stdout.reconfigure(errors="backslashreplace")  # a name or a sign that the locale cannot write
    app(prog_name="specdis")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"specdis {__version__}")
        raise typer.Exit


def _checked_overrides(overrides: list[str]) -> list[str]:
    from specdis.pipeline.document import parse_overrides

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
        help="Put a value over the configuration's; may be given many times.",
    ),
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The configuration, a TOML file.")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run: run.directory.")]


def _checked_columns(columns: list[str]) -> list[str]:
    for column in columns:
        if not column.partition("=")[0] or "=" not in column:
            raise typer.BadParameter(f"{column}: expected QUANTITY=NAME, for example DIST=d_kpc")
    return columns


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log nothing but warnings.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log details too.")] = False,
) -> None:
    log.to_stderr(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)


@app.command(epilog="Example: specdis run config.toml --set run.threads=4")
def run(
    config: ConfigFile,
    first: Annotated[StageName | None, typer.Option("--from", help="First stage that may run.")] = None,
    last: Annotated[StageName | None, typer.Option("--to", help="Last stage that may run.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Run the stages even if nothing changed.")] = False,
    overrides: Overrides = [],  # noqa: B006 - typer copies it
) -> None:
    """Turn a survey's files into a catalogue. Only stale stages run, and an interrupted run goes on."""
    _limit_threads(config, overrides)
    from specdis.pipeline import runner
    from specdis.pipeline.config import Config
    from specdis.pipeline.stages import STAGES

    settings = Config.load(config, overrides)
    runner.run(settings, STAGES, first=first, last=last, force=force)
    _print_products(settings)


@app.command(epilog="Example: specdis status demo/run")
def status(directory: RunDirectory, as_json: AsJson = False) -> None:
    """Say which stages of a run are fresh, which are stale, and why."""
    from specdis.pipeline import plan
    from specdis.pipeline.config import config_of
    from specdis.pipeline.stages import STAGES

    found = plan.status(config_of(directory), STAGES)
    if as_json:
        _print_json([_status_content(stage) for stage in found])
        return
    for stage in found:
        print(f"{stage.name:<12}{stage.state:<13}{_status_detail(stage)}")


@app.command(epilog="Example: specdis check config.toml")
def check(config: ConfigFile, as_json: AsJson = False, overrides: Overrides = []) -> None:  # noqa: B006
    """Check that a run can succeed. Inputs, folder, disk and memory are looked at; nothing is started."""
    from specdis.pipeline.check import check as examine
    from specdis.pipeline.config import Config

    found = examine(Config.load(config, overrides))
    if as_json:
        _print_json({"problems": found.problems, "facts": found.facts})
    else:
        for name, value in found.facts.items():
            print(f"{name}: {value}")
        for problem in found.problems:
            print(f"problem: {problem}")
        print(f"{len(found.problems)} problems" if found.problems else "ready to run")
    raise typer.Exit(1 if found.problems else 0)


@app.command(epilog="Example: specdis predict demo/run/model spectra.fits -o distances.fits")
def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model: the folder RUN/model.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Spectra tables, DESI coadd or spmod files.")
    ],
    output: Annotated[Path, typer.Option("--out", "-o", metavar="OUT", help="The catalogue to write.")],
) -> None:
    """Give distances to new spectra with a released model."""
    from specdis.pipeline.predict import predict_files

    predict_files(model, inputs, output)
    print(output)


@app.command(epilog="Example: specdis verify demo/run")
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A run, a model, or a catalogue: its folder or a file.")],
    as_json: AsJson = False,
) -> None:
    """Check that a run, a model or a catalogue is whole. Sums, schema, ranges, units and identifiers are compared."""
    from dataclasses import asdict

    from specdis.pipeline.verify import verify as examine

    found = examine(path)
    if as_json:
        _print_json(
            {"good": found.good, "problems": [asdict(problem) for problem in found.problems], "counts": found.counts}
        )
    else:
        for problem in found.problems:
            print(problem)
        if found.counts:
            print(", ".join(f"{name} {count}" for name, count in found.counts.items()))
        print(f"{path} is {'good' if found.good else 'not good'}")
    raise typer.Exit(0 if found.good else 1)


@app.command(epilog="Example: specdis demo --out demo --stars 1500")
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the survey and the run.")] = Path("demo"),
    stars: Annotated[int | None, typer.Option("--stars", min=300, help="Stars of the mock survey.")] = None,
) -> None:
    """Make a mock survey, run everything on it and write a report."""
    from specdis.pipeline.demo import demo as show

    _print_products(show(out, stars))


@app.command(epilog="Example: specdis mock survey --stars 5000 --seed 1")
def mock(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the survey.")],
    stars: Annotated[int | None, typer.Option("--stars", min=300, help="Number of stars.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Random seed.")] = None,
    library: Annotated[
        Path | None,
        typer.Option(
            "--library", metavar="TABLE", help="A spectra table of real stars, to be copied to new distances."
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="CONFIG", help="A configuration, whose section [mock] to use.")
    ] = None,
) -> None:
    """Write a mock survey of known truth in DESI's file formats."""
    from specdis.mock.settings import MockSettings
    from specdis.mock.survey import write_mock
    from specdis.pipeline.config import Config

    universe = MockSettings() if config is None else Config.load(config).mock
    options = {"stars": stars, "seed": seed, "library": library}
    given = {name: value for name, value in options.items() if value is not None}
    write_mock(out, MockSettings.model_validate({**universe.model_dump(exclude_unset=True), **given}))
    print(out)


@app.command(epilog="Example: specdis compare demo/run theirs.csv --column DIST=d_kpc -o comparison")
def compare(
    catalogue: Annotated[Path, typer.Argument(metavar="CATALOGUE", help="A run, its catalogue, or a table.")],
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="What to compare it with: the same, of anyone.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the numbers and figures.")] = Path(
        "comparison"
    ),
    references: Annotated[
        Path | None, typer.Option("--references", metavar="DIR", help="Folder with members/ of known distance.")
    ] = None,
    columns: Annotated[
        list[str],
        typer.Option(
            "--column",
            metavar="QUANTITY=NAME",
            callback=_checked_columns,
            help="OTHER's name for a quantity, as DIST=d_kpc; may be given many times.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    as_json: AsJson = False,
) -> None:
    """Match two catalogues and say how their distances differ."""
    from specdis.pipeline.compare import compare as measure

    named = dict(column.split("=", 1) for column in columns)
    found = measure(catalogue, other, out, named, references)
    if as_json:
        _print_json(found)
        return
    print(f"{found['n_matched']:,} of {found['n_catalogue']:,} stars are in both")
    _print_comparison(found["comparison"])
    print(out)


@app.command(epilog="Example: specdis ablate config.toml")
def ablate(config: ConfigFile, overrides: Overrides = []) -> None:  # noqa: B006
    """Undo the paper's choices one by one. A table says what that does to bias and scatter."""
    _limit_threads(config, overrides)
    from specdis.pipeline.ablation import ablate as compare

    table = compare(config, overrides)
    print(table.read_text(encoding="utf-8"), end="")
    print(table)


@app.command(epilog="Example: specdis bench --stars 4096")
def bench(
    stars: Annotated[int, typer.Option("--stars", min=2500, help="Stars of the mock survey it is measured on.")] = 4096,
    as_json: AsJson = False,
) -> None:
    """Say how fast each stage is. Beside it: how fast this machine could do it, and the plain version."""
    from tempfile import TemporaryDirectory

    from specdis.benchmark import bench as measure

    with TemporaryDirectory(dir=".") as folder:
        rows = list(measure(stars, Path(folder).resolve()))
    if as_json:
        _print_json([row._asdict() for row in rows])
        return
    print(f"{'stars per second':<28}{'here':>10}{'limit':>10}  {'set by':<10}{'of limit':>8}{'plain':>10}{'GB':>7}")
    for row in rows:
        share, plain = f"1/{row.limit / row.rate:.1f}", f"{row.plain:,.0f}" if row.plain == row.plain else "-"
        print(
            f"{row.stage:<28}{row.rate:>10,.0f}{row.limit:>10,.0f}  {row.limited_by:<10}{share:>8}{plain:>10}"
            f"{row.memory_gb:>7.2f}"
        )


@app.command(epilog="Example: specdis report demo/run")
def report(directory: RunDirectory) -> None:
    """Write the report of a finished run again."""
    from specdis.pipeline import runner
    from specdis.pipeline.config import config_of
    from specdis.pipeline.stages import STAGES

    config = config_of(directory)
    runner.run(config, STAGES, first="report", last="report", force=True)
    _print_products(config)


def _limit_threads(path: Path, overrides: Sequence[str]) -> None:
    """Set the number of CPU threads before NumPy and JAX are imported, when they fix it."""
    from specdis.cluster import THREADS
    from specdis.pipeline.document import parse_overrides, read_toml

    for content in (read_toml(path), parse_overrides(overrides)):
        section = content.get("run")
        if isinstance(section, dict) and isinstance(section.get("threads"), int):
            for name in THREADS:
                os.environ[name] = str(section["threads"])


def _print_products(config: Config) -> None:
    """Print where the catalogue and the report are, if they are there."""
    from specdis.storage import RunPaths

    paths = RunPaths(config.run.directory)
    for path in (paths.catalogue / "specdis.fits", paths.report / "index.html"):
        if path.exists():
            print(path)


def _status_content(stage: StageStatus) -> dict[str, Any]:
    record = None if stage.record is None else stage.record.model_dump(mode="json", exclude={"read"})
    return {"name": stage.name, "state": stage.state, "reasons": stage.reasons, "record": record}


def _status_detail(stage: StageStatus) -> str:
    record = stage.record
    if stage.reasons or record is None:
        return "; ".join(stage.reasons)
    lost = sum(count["stars"] for count in record.fault_counts.values())
    return (
        f"{record.stars:,} stars in {record.seconds:,.1f} s, {record.stars_per_second:,.0f} per s, "
        f"{record.peak_memory_gb:.2f} GB" + (f", {lost:,} stars lost to faults" if lost else "")
    )


def _print_comparison(found: dict[str, Any]) -> None:
    """Print differences of distance moduli by our modulus, and what both do on known distances."""
    print(f"{'theirs - ours':<24}{'stars':>8}{'median [mag]':>18}{'scatter [mag]':>18}")
    rows = [("all", found["difference"])]
    rows += [(f"{cell['modulus_min']:g} <= m - M < {cell['modulus_max']:g}", cell) for cell in found["by_modulus"]]
    for kind in ("members", "bhb"):
        if kind in found:
            rows += [(f"{kind}: {who} - known", found[kind][who]) for who in ("rival", "ours")]
    for name, cell in rows:
        if cell["n_finite"]:
            median, scatter = (f"{cell[key]:+.3f} +- {cell[f'{key}_err']:.3f}" for key in ("median_mag", "scatter_mag"))
            print(f"{name:<24}{cell['n_finite']:>8,}{median:>18}{scatter.lstrip('+'):>18}")


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))
