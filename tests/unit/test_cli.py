"""The command line: exit statuses, messages without tracebacks, and help that comes at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from io import BytesIO, TextIOWrapper
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import fitsio
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from specdis import __version__
from specdis.cli import app, shell
from specdis.cli.verbs import StageName
from specdis.errors import InputError
from specdis.log import logger
from specdis.pipeline.config import Config
from specdis.pipeline.stage import Outcome, Stage
from specdis.pipeline.templates import templates
from specdis.storage import Provenance, write_text
from synthetic_spectra import model

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PJRT_NPROC", "ZARR_THREADING__MAX_WORKERS")


@pytest.fixture(autouse=True)
def _log():
    """Take away the handler that writes to the stderr of a test that is over."""
    handlers = logger.handlers[:]
    yield
    logger.handlers[:] = handlers


@pytest.fixture
def specdis(monkeypatch, tmp_path):
    """Return a function that runs the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in THREADS:
        monkeypatch.setenv(name, "2")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    """Write a survey of three stars and a configuration for it."""
    stars = {
        "SOURCE_ID": np.arange(1, 4),
        "PHOT_G_MEAN_MAG": np.full(3, 12.0, "f4"),
        "PARALLAX": np.full(3, 2.0),
        "PARALLAX_ERROR": np.full(3, 0.1, "f4"),
    }
    wavelength = 4000 + 0.9 * np.arange(2000)
    with fitsio.FITS(tmp_path / "spectra.fits", "rw", clobber=True) as file:
        file.write(stars, extname="STARS")
        file.write(wavelength, extname="WAVELENGTH", header={"WAVEMED": "vacuum", "FRAME": "rest"})
        file.write(np.ones((3, 2000), "f4"), extname="FLUX")
    path = tmp_path / "config.toml"
    path.write_text(
        '[run]\nname = "three"\ndirectory = "run"\n[survey]\nkind = "table"\nspectra = "spectra.fits"\n'
        "[components]\nn_components = 2\n"
    )
    return path


def sample(context):
    names = sorted(name for block in context.survey().stars() for name in block.columns)
    write_text(context.paths.sample, ",".join(names))
    return Outcome(3)


def report(context):
    if context.config.run.name == "bad":
        raise InputError("spectra.fits", expected="good spectra", found="bad ones", remedy="Mend them.")
    if context.config.run.name == "interrupt":
        raise KeyboardInterrupt
    if context.config.run.name == "broken":
        1 / 0  # noqa: B018
    write_text(context.paths.report / "index.html", "a report")
    return Outcome(3)


@pytest.fixture(autouse=True)
def _two_stages(monkeypatch):
    stages = [
        Stage("sample", (), ("survey", "sample"), ("sample",), sample),
        Stage("report", ("sample",), ("run.name",), ("report",), report),
    ]
    monkeypatch.setitem(sys.modules, "specdis.pipeline.stages", SimpleNamespace(STAGES=stages))


def expect(result: Result, status: int) -> Result:
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    return result


# Help and bad usage


@pytest.mark.parametrize("statement", ["import specdis", "import specdis.cli", "import specdis.pipeline.strict_toml"])
def test_nothing_heavy_is_imported_before_it_is_used(statement):
    heavy = ["numpy", "jax", "pyarrow", "astropy", "zarr", "matplotlib", "scipy"]
    script = f"{statement}; import sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_terminal_cannot_show_ends_nothing(monkeypatch):
    stdout = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(shell.signal, "signal", lambda *_: None)
    monkeypatch.setattr(shell, "app", lambda **_: stdout.write("Boötes\n"))
    shell.main()
    stdout.flush()
    assert stdout.buffer.getvalue() == b"Bo\\xf6tes\n"


def test_help_lists_the_verbs(specdis):
    out = expect(specdis("--help"), 0).stdout
    assert all(
        verb in out for verb in ("run", "status", "check", "predict", "verify", "demo", "mock", "report", "compare")
    )
    assert expect(specdis("--version"), 0).stdout == f"specdis {__version__}\n"


def test_stage_names_are_those_of_the_stages(monkeypatch):
    monkeypatch.undo()
    stages = pytest.importorskip("specdis.pipeline.stages")
    assert get_args(StageName) == tuple(stage.name for stage in stages.STAGES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command"),
        (["run"], "Missing argument 'CONFIG'"),
        (["run", "--from", "nonsense", "config.toml"], "is not one of 'sample'"),
        (["run", "config.toml", "--set", "ebv_max"], "expected section.key=value"),
        (["run", "config.toml", "--no-such-option"], "No such option"),
        (["mock", "out", "--stars", "3"], "--stars"),
        (["compare", "a.csv", "b.csv", "--column", "DIST"], "expected QUANTITY=NAME"),
    ],
)
def test_bad_usage_is_status_2(specdis, arguments, message):
    assert message in expect(specdis(*arguments), 2).stderr


@pytest.mark.parametrize("verb", ["", *(command.callback.__name__ for command in app.registered_commands)])
def test_help_is_not_cut_off_and_ends_with_an_example(specdis, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    out = expect(specdis(*verb.split(), "--help"), 0).stdout
    assert not re.search(r"[^\]}]\.\.\.", out)  # those of arguments that may come several times aside
    assert max(map(len, out.splitlines())) <= 80
    assert out.strip().rpartition("\n\n")[2].strip().startswith(f"Example: specdis {verb}")


# What cannot be foreseen


def test_what_nobody_foresaw_is_one_line_and_its_traceback_is_kept(specdis, config, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = specdis("run", config, "--set", "run.name=broken")
    assert result.exit_code == 1
    line = result.stderr.splitlines()[-1]
    assert line.startswith("specdis: ZeroDivisionError: division by zero. This is a bug in specdis: please report it")
    kept = Path(line.rpartition(" ")[2])
    assert kept.parent == tmp_path
    assert "in report\n" in kept.read_text()
    assert "Traceback" not in result.stderr


def test_a_traceback_that_cannot_be_kept_is_printed(specdis, config, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/absent")
    result = specdis("run", config, "--set", "run.name=broken")
    assert "please report it" in result.stderr
    assert "in report\n" in result.stderr


def test_a_file_in_place_of_a_model_is_named(specdis, tmp_path):
    (tmp_path / "model").write_text("")
    result = expect(specdis("predict", "model", "a.fits", "-o", "out.fits"), 1)
    assert "specdis: model: expected a model: a folder with model.json, found a file." in result.stderr
    assert "Traceback (most" in specdis("--verbose", "predict", "model", "a.fits", "-o", "out.fits").stderr


@pytest.mark.parametrize("verb", [["demo", "--out"], ["mock"]])
@pytest.mark.parametrize("place", ["taken", "taken/below", "/proc/specdis"])
def test_a_mock_survey_needs_a_folder(specdis, tmp_path, verb, place):
    (tmp_path / "taken").write_text("")
    assert place in expect(specdis(*verb, place, "--stars", "300"), 1).stderr


@pytest.mark.parametrize(
    ("output", "status", "said"),
    [("> /dev/full", 1, "No space left on device"), (">&-", 0, ""), ("| true", 0, "")],
)
@pytest.mark.parametrize("arguments", ["--version", "--help", "verify --help"])
def test_output_that_cannot_be_written_is_no_traceback(output, status, said, arguments):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m specdis {arguments} {output}"], capture_output=True, text=True
    )
    assert done.returncode == status
    assert said in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(("options", "said"), [([], True), (["--quiet"], False), (["-q"], False), (["-v"], True)])
@pytest.mark.parametrize("behind", [False, True])
def test_quiet_leaves_warnings_alone(specdis, config, options, said, behind):
    words = ["run", *options, config] if behind else [*options, "run", config]
    assert ("sample: 3 stars" in expect(specdis(*words), 0).stderr) is said


# As JSON


VERBS = [command.callback.__name__ for command in app.registered_commands]


@pytest.mark.parametrize("verb", VERBS)
def test_bad_usage_is_told_as_json_where_json_is_asked_for(specdis, verb):
    result = expect(specdis(verb, "--json", "--no-such-option"), 2)
    assert re.match("No such option:? '?--no-such-option", json.loads(result.stdout)["error"])
    assert result.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        ["init", "nothing"],
        ["run", "absent.toml"],
        ["check", "absent.toml"],
        ["ablate", "absent.toml"],
        ["status", "absent"],
        ["report", "absent"],
        ["verify", "absent.fits"],
        ["predict", "absent", "a.fits", "-o", "b.fits"],
        ["compare", "absent.fits", "b.fits"],
        ["mock", "/proc/specdis"],
        ["demo", "--out", "/proc/specdis", "--stars", "300"],
    ],
    ids=lambda words: words[0],
)
def test_a_failure_is_the_same_with_and_without_json(specdis, words):
    said = specdis(*words)
    found = specdis(*words, "--json")
    assert found.exit_code == said.exit_code == 1
    if words[0] != "verify":  # which answers what is wrong with what it was given
        message = json.loads(found.stdout)["error"]
        assert said.stderr.rstrip().partition("specdis: ")[2].splitlines()[0][:60] == message.splitlines()[0][:60]
        assert "specdis: " not in found.stderr
    assert said.stdout == "" or words[0] == "verify"


@pytest.mark.parametrize(("name", "status", "said"), [("interrupt", 130, "interrupted"), ("broken", 1, "ZeroDivision")])
def test_interrupts_and_what_nobody_foresaw_are_json_too(specdis, config, tmp_path, monkeypatch, name, status, said):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = specdis("run", config, "--json", "--set", f"run.name={name}")
    assert result.exit_code == status
    assert json.loads(result.stdout)["error"].startswith(said)


def test_products_of_a_run_as_json(specdis, config, tmp_path):
    found = json.loads(expect(specdis("run", config, "--json"), 0).stdout)
    run = tmp_path / "run"
    assert found == {"directory": str(run), "ran": ["sample", "report"], "report": str(run / "report" / "index.html")}
    assert json.loads(expect(specdis("run", config, "--json"), 0).stdout)["ran"] == []
    assert json.loads(expect(specdis("report", run, "--json"), 0).stdout)["ran"] == ["report"]


def test_numbers_that_json_has_no_word_for_are_null(capsys):
    shell.print_reply(shell.Reply({"plain": float("nan"), "path": Path("a"), "values": np.arange(2)}, []), True)
    assert json.loads(capsys.readouterr().out) == {"plain": None, "path": "a", "values": [0, 1]}


# init, completion, what differs from the paper


@pytest.mark.parametrize("name", templates())
def test_init_writes_a_configuration_with_comments_that_loads(specdis, tmp_path, monkeypatch, name):
    monkeypatch.setenv("SPECDIS_DESI", "/desi")
    monkeypatch.setenv("SPECDIS_REAL_DATA", "/real")
    out = expect(specdis("init", name), 0).stdout
    path = tmp_path / f"{name}.toml"
    assert out.splitlines()[0] == path.name
    assert f"specdis run {path.name}" in out
    assert path.read_text().startswith("# ")
    assert Config.load(path).run.directory.is_relative_to(tmp_path)


def test_init_writes_nothing_over(specdis, tmp_path):
    (tmp_path / "demo.toml").write_text("mine")
    result = expect(specdis("init"), 1)
    assert "demo.toml: expected no file of this name, found a file" in result.stderr
    assert (tmp_path / "demo.toml").read_text() == "mine"
    found = json.loads(expect(specdis("init", "desi-dr1", "-o", "my stars.toml", "--json"), 0).stdout)
    assert found["configuration"] == "my stars.toml"
    assert found["next"][0].startswith("edit my stars.toml")
    assert found["next"][-1] == "specdis run 'my stars.toml'"
    assert "did you mean desi-dr1?" in expect(specdis("init", "desi"), 1).stderr


@pytest.mark.parametrize(("words", "completed"), [("specdis ver", ["verify"]), ("specdis init des", ["desi-dr1"])])
def test_the_shell_completes_verbs_and_names(words, completed):
    environment = os.environ | {"_SPECDIS_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(len(words.split()) - 1)
    command = [sys.executable, "-m", "specdis"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == completed


def test_what_differs_from_the_paper_is_one_line_and_the_log_file_names_it(specdis, config, tmp_path):
    stderr = expect(specdis("run", config), 0).stderr
    (line,) = [line for line in stderr.splitlines() if "paper" in line]
    assert line.startswith("I 7 choices differ from the paper's; ")
    said = (tmp_path / "run" / "log.txt").read_text()
    assert "differs from the paper: components.n_components = 2 (paper: 100)" in said
    assert said.count("differs from the paper: ") == 7
    found = json.loads(expect(specdis("check", config, "--json"), 0).stdout)["differences"]
    assert found["components.n_components"] == {"value": 2, "paper": 100}
    assert len(found) == 7


# run, status, report


def test_run_then_status_then_report(specdis, config, tmp_path):
    out = expect(specdis("run", config), 0)
    assert out.stdout == f"{tmp_path / 'run' / 'report' / 'index.html'}\n"
    assert "sample: 3 stars" in out.stderr
    assert expect(specdis("status", "run"), 0).stdout.count("fresh") == 2
    (tmp_path / "run" / "report" / "index.html").unlink()
    assert "report      stale" in expect(specdis("status", "run"), 0).stdout
    expect(specdis("report", "run"), 0)
    assert "up to date" in expect(specdis("run", config), 0).stderr


def test_status_as_json(specdis, config):
    expect(specdis("run", config, "--to", "sample"), 0)
    found = json.loads(expect(specdis("status", "run", "--json"), 0).stdout)
    assert [(stage["name"], stage["state"]) for stage in found] == [("sample", "fresh"), ("report", "never run")]
    assert found[0]["record"]["stars"] == 3


def test_a_run_that_was_moved_keeps_working(specdis, config, tmp_path):
    expect(specdis("run", config), 0)
    (tmp_path / "run").rename(tmp_path / "moved")
    assert expect(specdis("status", "moved"), 0).stdout.count("fresh") == 2
    expect(specdis("report", "moved"), 0)
    assert not (tmp_path / "run").exists()


def test_status_of_a_folder_that_is_no_run_says_so(specdis):
    assert ". is not a run: it has no config.resolved.toml" in expect(specdis("status", "."), 1).stderr


def test_an_expected_failure_is_a_message_and_status_1(specdis, config):
    result = expect(specdis("run", config, "--set", "run.name=bad"), 1)
    assert "specdis: spectra.fits: expected good spectra, found bad ones. Mend them." in result.stderr
    assert result.stdout == ""


def test_errors_of_the_configuration_are_status_1(specdis, config):
    result = expect(specdis("run", config, "--set", "sample.ebv_mx=0.3", "--set", "network.label.loss=x"), 1)
    assert "2 errors in the configuration" in result.stderr
    assert "--set: [sample] ebv_mx: unknown key" in result.stderr
    assert "did you mean ebv_max?" in result.stderr
    assert "absent.toml: expected a TOML file" in expect(specdis("run", "absent.toml"), 1).stderr


def test_interrupted_is_status_130_and_says_how_to_go_on(specdis, config):
    result = expect(specdis("run", config, "--set", "run.name=interrupt"), 130)
    assert "Repeat the command to resume" in result.stderr
    assert "sample: running" not in expect(specdis("run", config), 0).stderr


INTERRUPTED = """
import atexit, os, sys
from specdis.cli import shell

def app(**_):
    atexit.register(print, "tidied up")
    raise SystemExit(int(sys.argv[1]))

class Library:
    def __del__(self, kill=os.kill, own=os.getpid()):  # as one that computes still when Python ends
        kill(own, 11)

shell.app, kept = app, Library()
shell.main()
"""


@pytest.mark.parametrize("status", [0, 1, 130])
def test_an_interrupted_process_ends_before_what_computes_still_can_crash(status):
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(status)], capture_output=True, text=True)
    assert done.returncode == (130 if status == 130 else -11)  # which shows that the crash would be seen
    assert status != 130 or done.stdout == "tidied up\n"


def test_threads_are_set_before_anything_is_imported(specdis, config):
    expect(specdis("run", config, "--set", "run.threads=1"), 0)
    assert [os.environ[name] for name in THREADS] == ["1"] * len(THREADS)


# check


def test_check_of_a_good_configuration(specdis, config, tmp_path):
    out = expect(specdis("check", config), 0).stdout
    assert "stars: 3\n" in out
    assert "ready to run" in out
    assert not (tmp_path / "run").exists()
    facts = json.loads(expect(specdis("check", config, "--json"), 0).stdout)["facts"]
    assert 3000 < facts["pixels"] < 3700
    assert facts["disk_gb"] < facts["disk_free_gb"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("survey.spectra=absent.fits", "absent.fits: expected"),
        ("run.directory=spectra.fits/run", "spectra.fits is not a folder"),
        ("components.n_components=100", "there are only 3 stars"),
        ("sample.fold_column=FOLDS", "the survey has no column FOLDS"),
        ("run.memory_limit_gb=0.1", "GB are allowed"),
        ("spectra.grid.start=9000", "expected pixels inside the data"),
    ],
)
def test_check_names_what_is_wrong(specdis, config, override, message):
    result = expect(specdis("check", config, "--set", override), 1)
    assert message in result.stdout


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("PARALLAX", np.full(3, np.nan), "3 cut as no-parallax"),
        ("PARALLAX_ERROR", np.zeros(3, "f4"), "3 cut as invalid-parallax-error"),
        ("PHOT_G_MEAN_MAG", np.array([0, 99, -999], "f4"), "3 cut as no-g-magnitude"),
        ("EBV", np.full(3, -1.0), "3 cut as ebv-missing"),
        ("PARALLAX", None, "no column PARALLAX"),
    ],
)
def test_check_says_when_no_star_can_train(specdis, config, tmp_path, column, values, said):
    with fitsio.FITS(tmp_path / "spectra.fits") as file:
        stars = {name: file["STARS"][name].read() for name in file["STARS"].get_colnames()}
        rest = [(name, file[name].read(), file[name].read_header()) for name in ("WAVELENGTH", "FLUX")]
    stars = {name: array for name, array in (stars | {column: values}).items() if array is not None}
    with fitsio.FITS(tmp_path / "spectra.fits", "rw", clobber=True) as file:
        file.write(stars, extname="STARS")
        for name, array, header in rest:
            file.write(array, extname=name, header=header)
    found = expect(specdis("check", config), 1).stdout
    assert "expected stars to train on" in found
    assert said in found


def test_check_lists_all_problems(specdis, config):
    overrides = ("--set", "run.directory=spectra.fits/run", "--set", "components.n_components=9")
    result = expect(specdis("check", config, "--json", *overrides), 1)
    assert len(json.loads(result.stdout)["problems"]) == 2


# The other verbs


def test_verify_of_no_catalogue_is_an_expected_failure(specdis, tmp_path):
    expect(specdis("verify", tmp_path / "absent.fits"), 1)


def test_verify_of_a_run_names_what_changed_in_it(specdis, config, tmp_path):
    expect(specdis("run", config), 0)
    assert expect(specdis("verify", "run"), 0).stdout == "run is good\n"
    page = tmp_path / "run" / "report" / "index.html"
    content = page.read_bytes()
    page.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    found = expect(specdis("verify", "run"), 1).stdout
    assert "error: report: expected the content whose sum manifest.json holds" in found
    (tmp_path / "run" / "manifest.json").write_text("{}")
    assert "error: manifest.json: expected a readable product" in expect(specdis("verify", "run"), 1).stdout


def test_verify_of_a_model_names_what_changed_in_it(specdis, tmp_path):
    from specdis.model.files import save_model

    save_model(model(), tmp_path / "model", Provenance("model", "key", 1))
    assert expect(specdis("verify", "model"), 0).stdout == "model is good\n"
    (tmp_path / "model" / "domain.npz").write_bytes(b"")
    assert "domain.npz missing or damaged" in expect(specdis("verify", "model"), 1).stdout


def test_predict_hands_over_its_arguments(specdis, monkeypatch):
    calls = []
    stub = SimpleNamespace(predict_files=lambda *arguments: calls.append(arguments))
    monkeypatch.setitem(sys.modules, "specdis.verbs.predict", stub)
    assert expect(specdis("predict", "model", "a.fits", "b.fits", "-o", "out.fits"), 0).stdout == "out.fits\n"
    assert calls == [(Path("model"), [Path("a.fits"), Path("b.fits")], Path("out.fits"))]


def test_mock_passes_only_what_is_given(specdis, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "specdis.mock.survey.write_mock", lambda *arguments: calls.append(arguments) or {"spectra": 505}
    )
    found = expect(specdis("mock", "survey", "--stars", "500", "--json"), 0).stdout
    assert json.loads(found) == {"survey": "survey", "spectra": 505}
    ((directory, settings),) = calls
    assert directory == Path("survey")
    assert settings.model_dump(exclude_unset=True) == {"stars": 500}
