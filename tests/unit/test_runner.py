"""The runner: what is stale and why, resuming, killing, locking, and what the manifest keeps."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from dummy_stages import STAGES, Config, Survey, products, start, write_config
from specdis.errors import ConfigError, InputError, ProductError, SpecdisError
from specdis.pipeline.manifest import Manifest, StageFault, look
from specdis.pipeline.runner import run_stages
from specdis.pipeline.settings import RunSettings
from specdis.pipeline.staleness import stage_statuses
from specdis.storage import FORMAT_VERSION
from specdis.stores.paths import RunPaths

ALL = [stage.name for stage in STAGES]


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path)


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "run"


def states(path: Path, *overrides: str) -> dict[str, str]:
    return {found.name: found.state for found in stage_statuses(Config.load(path, overrides), STAGES, opener=Survey)}


def reasons(path: Path, name: str, *overrides: str) -> str:
    found = stage_statuses(Config.load(path, overrides), STAGES, opener=Survey)
    return "; ".join(next(stage.reasons for stage in found if stage.name == name))


def failing(name: str, error: BaseException):
    """Return the stages, one of which fails after it has begun."""

    def fail(context):
        context.scratch.mkdir(parents=True)
        raise error

    return [stage._replace(run=fail) if stage.name == name else stage for stage in STAGES]


# What runs


def test_a_second_run_does_nothing(config, directory):
    assert start(config) == ALL
    made = {path: path.stat().st_mtime_ns for path in directory.rglob("*.parquet")}
    assert start(config) == []
    assert made == {path: path.stat().st_mtime_ns for path in directory.rglob("*.parquet")}
    assert "up to date" in (directory / "log.txt").read_text()


@pytest.mark.parametrize(
    ("override", "ran"),
    [
        ("report.title=another", ["report"]),
        ("science.scale=2", ["distances", "report"]),
        ("run.seed=2", ALL),
        ("sample.ebv_max=0.4", ALL),
        ("run.name=other", []),
        ("run.threads=1", []),
        ("science.pause=0.001", []),
    ],
)
def test_one_key_reruns_just_the_stages_that_depend_on_it(config, override, ran):
    start(config)
    assert start(config, override) == ran
    assert start(config, override) == []


def test_from_to_and_force(config):
    assert start(config, last="spectra") == ["sample", "spectra"]
    assert start(config, first="distances", last="distances") == ["distances"]
    assert start(config) == ["report"]
    assert start(config, first="distances", force=True) == ["distances", "report"]
    assert start(config, last="sample", force=True) == ["sample"]
    assert start(config) == ["spectra", "distances", "report"]


def test_from_a_stage_whose_input_is_stale_says_what_to_do(config):
    start(config)
    with pytest.raises(ProductError, match=r"(?s)distances needs spectra, which is stale: .*Run without --from"):
        start(config, "sample.ebv_max=0.4", first="distances")
    with pytest.raises(ProductError, match=r"which is stale: sample.ebv_max was 0.5 and is 0.4"):
        start(config, "sample.ebv_max=0.4", first="spectra")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"first": "sampel"}, "--from sampel: expected a stage, one of sample, .*did you mean sample"),
        ({"last": "x"}, "--to x: expected a stage"),
        ({"first": "report", "last": "sample"}, "report comes after sample"),
    ],
)
def test_wrong_stage_names(config, options, message):
    with pytest.raises(ConfigError, match=message):
        start(config, **options)


# What is stale, and why


def test_status_of_a_new_a_finished_and_a_changed_run(config):
    assert set(states(config).values()) == {"never run"}
    start(config)
    assert set(states(config).values()) == {"fresh"}
    assert states(config, "science.scale=2") == {
        "sample": "fresh",
        "spectra": "fresh",
        "distances": "stale",
        "report": "stale",
    }
    assert reasons(config, "distances", "science.scale=2") == "science.scale was 1.0 and is 2.0"
    assert reasons(config, "report", "science.scale=2") == "distances is stale"


def test_a_changed_input_makes_all_stale(config, tmp_path):
    start(config)
    os.utime(tmp_path / "stars.txt", (1, 1))
    assert reasons(config, "sample") == f"{tmp_path / 'stars.txt'} changed"
    assert start(config) == ALL


def test_a_changed_date_leaves_the_products_as_they_are(config, directory, tmp_path):
    start(config)
    before = products(directory)
    os.utime(tmp_path / "stars.txt", (1, 1))
    start(config)
    assert products(directory) == before


def test_a_survey_that_moved_gives_the_same_products(config, directory, tmp_path):
    start(config)
    before = products(directory)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "stars.txt").rename(tmp_path / "elsewhere" / "stars.txt")
    override = f"survey.catalogue={tmp_path / 'elsewhere' / 'stars.txt'}"
    assert "survey.catalogue was" in reasons(config, "sample", override)
    assert start(config, override) == ALL
    assert products(directory) == before


def test_a_finished_run_remains_usable_without_the_survey(config, tmp_path, caplog):
    start(config)
    (tmp_path / "stars.txt").unlink()
    assert start(config, "report.title=another") == ["report"]
    assert "Taken as unchanged" in caplog.text
    with pytest.raises(InputError, match="expected a catalogue, found no file"):
        start(config, force=True)


@pytest.mark.parametrize("name", ["sample", "cutflow", "pixels", "report"])
def test_a_missing_product_is_made_again_and_so_is_what_depends_on_it(config, directory, name):
    start(config)
    path = getattr(RunPaths(directory), name)
    path.rename(directory / "away")
    owner = next(stage.name for stage in STAGES if name in stage.products)
    assert f"{path} is missing" in reasons(config, owner)
    assert start(config) == ALL[ALL.index(owner) :]
    assert path.exists()


def test_a_product_of_another_size_is_made_again(config, directory):
    start(config)
    (directory / "spectra" / "pixels.zarr" / "block-3").write_text("[")
    assert "another size" in reasons(config, "spectra")
    assert start(config) == ["spectra", "distances", "report"]


def test_content_that_changed_under_a_run_is_noticed_before_it_is_used(config, directory):
    start(config)
    path = directory / "distances" / "distances.parquet"
    path.write_text(path.read_text().replace("scale", "scalf"))
    with pytest.raises(ProductError, match=rf"{path} is damaged.*delete {path} and run again"):
        start(config, "report.title=another")
    path.unlink()
    assert start(config) == ["distances", "report"]


def reading(*files: Path):
    """Return the stages, of which `spectra` reads files; the first of them has a fault."""

    def spectra(context):
        fault = StageFault(name="unreadable-file", place=f"{files[0]}[HDU]", message="cut short", stars=1)
        seen = look(files)
        return dataclasses.replace(STAGES[1].run(context), read=seen, faults=[fault])

    return [stage._replace(run=spectra) if stage.name == "spectra" else stage for stage in STAGES]


@pytest.mark.parametrize("change", ["mended", "mended to size and date", "other", "missing", "new"])
def test_a_file_that_changes_after_it_was_read_is_read_again(config, tmp_path, change):
    faulty, other, absent = (tmp_path / name for name in ("faulty", "other", "absent"))
    faulty.write_text("faulty")
    other.write_text("other")
    os.utime(faulty, (1, 1))
    stages = reading(faulty, other, absent)
    assert run_stages(Config.load(config), stages, opener=Survey) == ALL
    assert run_stages(Config.load(config), stages, opener=Survey) == []
    changed = {"other": other, "missing": other, "new": absent}.get(change, faulty)
    if change == "missing":
        other.unlink()
    else:
        changed.write_text("mended" if change == "mended to size and date" else "something else")
    if change == "mended to size and date":
        os.utime(faulty, (1, 1))
    (found,) = (
        found for found in stage_statuses(Config.load(config), stages, opener=Survey) if found.name == "spectra"
    )
    assert found.reasons == [f"{changed} changed"]
    assert run_stages(Config.load(config), stages, opener=Survey) == ALL[1:]


def test_a_file_without_faults_may_be_copied_with_its_date(config, tmp_path):
    files = [tmp_path / "faulty", tmp_path / "other"]
    for path in files:
        path.write_text("content")
    assert run_stages(Config.load(config), reading(*files), opener=Survey) == ALL
    found = files[1].stat()
    shutil.copy2(files[1], tmp_path / "copy")
    (tmp_path / "copy").rename(files[1])
    os.utime(files[1], ns=(found.st_atime_ns, found.st_mtime_ns))
    assert run_stages(Config.load(config), reading(*files), opener=Survey) == []


# Folders from somebody else


@pytest.mark.parametrize("name", [".lock", ".partial", "log.txt", "manifest.json", "sample", "sample/sample.parquet"])
def test_a_link_in_a_run_is_refused_and_not_followed(config, directory, tmp_path, name):
    victim = tmp_path / "victim"
    (victim / "sample-2024").mkdir(parents=True)
    (victim / "thesis").write_text("thesis")
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).symlink_to(victim if name in (".partial", "sample") else victim / "thesis")
    with pytest.raises(InputError, match=rf"{directory / name}: expected .*, found a symbolic link\. It is neither"):
        start(config)
    assert (victim / "thesis").read_text() == "thesis"
    assert sorted(path.name for path in victim.iterdir()) == ["sample-2024", "thesis"]


def test_a_pipe_in_a_run_is_refused_at_once(config, directory):
    directory.mkdir()
    os.mkfifo(directory / "log.txt")
    with pytest.raises(InputError, match=r"log\.txt: expected .*, found a named pipe"):
        start(config)


def test_a_folder_in_place_of_the_log_is_refused(config, directory):
    (directory / "log.txt").mkdir(parents=True)
    with pytest.raises(InputError, match=r"log\.txt: expected a file, found a folder"):
        start(config)


def test_another_version_of_the_software_makes_all_again(config, monkeypatch):
    start(config)
    monkeypatch.setattr("specdis.pipeline.staleness.__version__", "99")
    assert "made by specdis" in reasons(config, "sample")
    assert start(config) == ALL


def test_a_reverted_key_does_not_take_products_of_the_other_value_for_its_own(config, directory):
    """A kill after the products are written and before the manifest is must not leave the record of the old ones."""
    start(config)
    before = products(directory)

    def interrupted(context):
        STAGES[0].run(context)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stages(Config.load(config, ["run.seed=2"]), [STAGES[0]._replace(run=interrupted)], opener=Survey)
    assert states(config)["sample"] == "never run"
    assert start(config) == ALL
    assert products(directory) == before


# Kills, failures, locks


@pytest.mark.slow
def test_killed_at_every_file_operation_a_run_ends_with_the_same_bytes(tmp_path):
    assert _killed("operations", tmp_path) > 50


def test_killed_at_random_moments_a_run_ends_with_the_same_bytes(tmp_path):
    assert _killed("times", tmp_path) > 0


def _killed(mode: str, folder: Path) -> int:
    script = Path(__file__).parents[1] / "dummy_stages.py"
    done = subprocess.run([sys.executable, script, mode, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_an_interrupted_stage_goes_on_where_it_stopped(config, directory, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("dummy_stages.time.sleep", Mock(side_effect=[None, None, KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            start(config)
    assert states(config) == {
        "sample": "fresh",
        "spectra": "interrupted",
        "distances": "never run",
        "report": "never run",
    }
    assert start(config) == ALL[1:]
    record = Manifest.read(directory / "manifest.json").stages["spectra"]
    assert record.notes["first"] == 2
    assert not (directory / ".partial").exists()


def test_unfinished_work_of_another_configuration_is_not_used(config, directory):
    with pytest.raises(ValueError, match="broken"):
        run_stages(Config.load(config), failing("spectra", ValueError("broken")), opener=Survey)
    (scratch,) = (directory / ".partial").iterdir()
    (scratch / "block-0").write_text('"of the first configuration"')
    start(config, "sample.ebv_max=0.4")
    assert "first configuration" not in (directory / "spectra" / "pixels.zarr" / "block-0").read_text()
    assert not (directory / ".partial").exists()


def test_unfinished_work_is_kept_apart_by_the_settings_of_its_stage(config):
    scratches = []

    def interrupted(context):
        scratches.append(context.scratch)
        raise KeyboardInterrupt

    stages = [stage._replace(run=interrupted) if stage.name == "distances" else stage for stage in STAGES]
    for scale in (1, 2, 1):
        with pytest.raises(KeyboardInterrupt):
            run_stages(Config.load(config, [f"science.scale={scale}"]), stages, opener=Survey)
    assert scratches[0] == scratches[2] != scratches[1]


def test_force_starts_a_stage_from_its_beginning(config, directory):
    with pytest.raises(ValueError, match="broken"):
        run_stages(Config.load(config), failing("spectra", ValueError("broken")), opener=Survey)
    (scratch,) = (directory / ".partial").iterdir()
    (scratch / "block-0").write_text('"unfinished"')
    start(config, first="spectra", force=True)
    assert "unfinished" not in (directory / "spectra" / "pixels.zarr" / "block-0").read_text()


def test_a_failure_keeps_finished_stages_and_its_traceback_in_the_log(config, directory):
    with pytest.raises(ValueError, match="broken"):
        run_stages(Config.load(config), failing("distances", ValueError("broken")), opener=Survey)
    assert "raise error\nValueError: broken" in (directory / "log.txt").read_text()
    assert start(config) == ["distances", "report"]


def test_a_full_disk_says_so(config):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(
        SpecdisError, match=r"no space left while running distances. Free some space. Then run the same command again"
    ):
        run_stages(Config.load(config), failing("distances", full), opener=Survey)


def test_a_stage_that_writes_nothing_is_found_out(config):
    idle = [stage._replace(products=("distances",)) if stage.name == "spectra" else stage for stage in STAGES]
    with pytest.raises(ProductError, match="stage spectra ended without writing"):
        run_stages(Config.load(config), idle, opener=Survey)


def test_two_runs_in_one_directory_are_refused(config, directory):
    directory.mkdir()
    with (directory / ".lock").open("w") as lock:
        lock.write("process 123 on node\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SpecdisError, match=r"in use by another run \(process 123 on node\)"):
            start(config)
    assert start(config) == ALL


def test_a_directory_that_cannot_be_written_says_what_to_do(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"expected a writable folder.*Choose another run.directory"):
        start(config, f"run.directory={tmp_path / 'file' / 'run'}")


# The manifest and the configuration kept


def test_manifest_keeps_rates_faults_products_and_versions(config, directory):
    start(config)
    manifest = Manifest.read(directory / "manifest.json")
    record = manifest.stages["sample"]
    assert record.stars == 60
    assert record.stars_per_second > 0
    assert 0.01 < record.peak_memory_gb < 10
    assert record.fault_counts == {"missing-file": {"faults": 1, "stars": 3}}
    assert record.faults[0].place == "a.fits"
    assert record.products["sample"].size == (directory / "sample" / "sample.parquet").stat().st_size
    assert manifest.stages["spectra"].products["pixels"].files == 6
    assert {"python", "numpy", "jax", "pyarrow"} <= manifest.versions.keys()


def test_damaged_manifest_says_what_to_do(config, directory):
    start(config)
    content = json.loads((directory / "manifest.json").read_text())
    content["stages"]["sample"]["from_the_future"] = 1
    (directory / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ProductError, match=r"does not fit its sum.*delete it: then every stage runs again"):
        start(config)
    (directory / "manifest.json").write_text(json.dumps({**content, "format_version": 1}))
    said = f"is of format 1, expected {FORMAT_VERSION}.*delete it: then every stage runs again"
    with pytest.raises(ProductError, match=said):
        start(config)


def test_configuration_is_kept_as_given_and_as_resolved(config, directory):
    start(config, "report.title=changed")
    assert (directory / "config.input.toml").read_text().startswith(config.read_text())
    resolved = Config.load(directory / "config.resolved.toml")
    assert resolved.report.title == "changed"
    assert resolved.sample.ebv_max == 0.5
    assert set(states(directory / "config.resolved.toml").values()) == {"fresh"}


def test_log_says_what_differs_from_the_paper(config, directory):
    start(config, "sample.ebv_max=0.4")
    assert "differs from the paper: sample.ebv_max = 0.4 (paper: 0.5)" in (directory / "log.txt").read_text()
    assert "ruwe_max" not in (directory / "log.txt").read_text()


def test_context_gives_provenance_and_one_survey(config):
    seen = []

    def look(context):
        seen.append((context.provenance("sample"), context.survey() is context.survey(), context.key))
        return STAGES[0].run(context)

    run_stages(Config.load(config, ["run.seed=7"]), [STAGES[0]._replace(run=look)], opener=Survey)
    ((provenance, same, key),) = seen
    assert dataclasses.asdict(provenance).items() >= {"kind": "sample", "key": key, "seed": 7}.items()
    assert same


@pytest.mark.parametrize(("memory", "processes"), [(None, 8), (100.0, 8), (3.9, 4), (0.5, 1)])
def test_no_more_processes_are_started_than_memory_has_room_for(memory, processes):
    assert RunSettings(name="a run", directory=Path("run"), threads=8, memory_limit_gb=memory).processes == processes
