"""Whole runs of the real stages: every star accounted for, nothing done twice, one key reruns what depends on it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import fitsio
import numpy as np
import pytest
import zarr
from astropy.table import Table
from matplotlib.figure import Figure

from specdis import validation
from specdis.anchors import is_anchor
from specdis.catalogue import read_catalogue, verify_catalogue
from specdis.colours import Colours
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.flags import Flag
from specdis.model.files import load_model
from specdis.pipeline.config import Config, config_of
from specdis.pipeline.manifest import Manifest
from specdis.pipeline.stages import STAGES
from specdis.pipeline.stages.binaries import Trial
from specdis.pipeline.stages.model import traits_of
from specdis.pipeline.staleness import stage_statuses
from specdis.storage import column_names, read_arrays, read_json, read_table
from specdis.stores.coefficients import CoefficientStore
from specdis.stores.paths import RunPaths
from specdis.stores.pixels import PixelStore
from specdis.stores.zarr import open_group, values
from specdis.surveys import IDENTIFIER, Stars
from tiny_run import ALL, products, start


@pytest.fixture(scope="module")
def paths(finished) -> RunPaths:
    return RunPaths(finished)


@pytest.fixture(scope="module")
def reported(finished, config, tmp_path_factory) -> RunPaths:
    """Return a copy of the run with its report.

    Figures are made, with their data, but pictures of them are not drawn, which takes as long as all the rest:
    `test_report` draws those of a synthetic catalogue, and the slow test of `test_identity` those of this run.
    """
    directory = Path(shutil.copytree(finished, tmp_path_factory.mktemp("reported") / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).write_bytes(b"a picture"))
        assert start(config, directory) == ["report"]
    return RunPaths(directory)


@pytest.fixture(scope="module")
def manifest(paths) -> Manifest:
    return Manifest.read(paths.manifest)


def test_the_catalogue_is_good(finished):
    found = verify_catalogue(finished)
    assert found.good, found.problems
    assert found.counts["SELECTED"] > 0.8 * found.counts["stars"]


def test_every_row_of_the_survey_is_selected_or_cut_by_name(config, paths):
    with fitsio.FITS(config.parent / "survey" / "mwsall-pix-mock.fits") as file:
        rows = file["RVTAB"].get_nrows()
    flow = read_json(paths.cutflow)
    cut = {line["name"]: line["cut"] for line in flow["cuts"]}
    sample = read_table(paths.sample, ["TARGETID", "SELECTED", "CUT"])
    assert sample["SELECTED"].all()
    assert len(sample["SELECTED"]) == flow["summary"]["selected"]
    assert rows == flow["summary"]["selected"] + sum(cut.values())
    assert {name for name, count in cut.items() if count} >= {"no-gaia-match", "rvs-warn", "ruwe", "duplicate"}
    for before, after in zip(flow["cuts"], flow["cuts"][1:]):
        assert after["stars_in"] == before["stars_out"]


def test_every_selected_star_is_predicted_or_flagged(paths, manifest):
    catalogue = read_catalogue(paths.directory)
    sample = read_table(paths.sample, ["TARGETID", "PROGRAM"])
    assert np.array_equal(catalogue["TARGETID"], sample["TARGETID"])
    assert np.array_equal(np.asarray(catalogue["PROGRAM"]).astype("S"), sample["PROGRAM"])
    predicted = ~np.ma.getmaskarray(catalogue["M_G_NN"])
    excused = (catalogue["FLAGS"] & (Flag.NO_SPECTRUM | Flag.LABEL_NOT_POSITIVE)) != 0
    assert np.array_equal(predicted, ~excused)
    lost = sum(fault["stars"] for fault in manifest.stages["spectra"].fault_counts.values())
    assert lost == ((catalogue["FLAGS"] & Flag.NO_SPECTRUM) != 0).sum()
    assert catalogue["HELD_OUT"].all()
    for folder in ("sample", "spectra", "components", "distances", "catalogue", "validation"):
        assert manifest.stages[folder].stars in (len(catalogue), read_json(paths.cutflow)["summary"]["rows"])


def test_the_mock_s_stars_are_found_where_they_are(paths):
    """Small networks reach 0.3; with rows joined wrongly, distances would scatter by more than a factor of two."""
    metrics = read_json(paths.metrics)
    assert metrics["truth"]["all"]["n"] > 1000
    assert abs(metrics["truth"]["all"]["median_bias"]) < 0.15
    assert metrics["truth"]["all"]["scatter"] < 0.5
    # Fewer than with the survey's own errors: so few stars do not fix the inflation that this run fits.
    assert metrics["internal"]["all"]["n"] > 200
    # Some training spectra are outside the domain, and the recalibration was told which.
    assert load_model(paths.model).calibration.log_stretch[-1] != 0
    assert metrics["internal"]["all"]["scatter_mag"] < 0.8


def test_the_manifest_has_the_rate_of_every_stage(reported):
    manifest = Manifest.read(reported.manifest)
    assert list(manifest.stages) == ALL
    for record in manifest.stages.values():
        assert record.stars > 0
        assert record.stars_per_second == pytest.approx(record.stars / record.seconds, rel=0.2)
        assert 0.05 < record.peak_memory_gb < 8
        assert record.products


def test_products_say_where_they_come_from(paths, manifest):
    keys = {name: record.key for name, record in manifest.stages.items()}
    found = {
        "components": read_arrays(paths.basis, "basis")[0].key,
        "training": read_arrays(paths.networks / "mixture.npz", "networks")[0].key,
        "spectra": zarr.open_group(paths.pixels, mode="r").attrs["provenance"]["key"],
        "model": read_json(paths.model / "model.json")["provenance"]["key"],
        "catalogue": fitsio.read_header(paths.catalogue / "specdis.fits", ext="SPECDIS"),
    }
    assert keys["catalogue"] in map(str, dict(found.pop("catalogue")).values())
    assert found == {name: keys[name] for name in found}


def test_the_report_has_its_figures(reported):
    figures = {file.name for file in (reported.report / "figures").iterdir()}
    ours = ("training", "truth", "halo", "calibration", "recalibration", "estimators")
    names = (*(f"fig{number:02}" for number in range(1, 17)), *(f"figA{number}" for number in range(1, 5)), *ours)
    assert figures == {f"{name}.{kind}" for name in names for kind in ("png", "pdf", "ecsv")}
    page = (reported.report / "index.html").read_text()
    assert Manifest.read(reported.manifest).stages["report"].key in page
    assert page.count("data:image/png;base64,") == len(names)
    assert "Not drawn: the survey has no column CLUSTER." in page
    assert json.dumps(read_json(reported.metrics))  # strict JSON: no NaN


def test_members_and_rivals_beside_the_survey_are_found(paths, config):
    members, rivals = read_table(paths.members), read_table(paths.rivals)
    survey = read_table(config.parent / "survey" / "truth.parquet")
    place = {target: row for row, target in enumerate(survey["TARGETID"])}
    true = survey["DIST_TRUE"][[place[target] for target in members["TARGETID"]]]
    near = members["SYSTEM"] == b"NGC 6218"  # the first that a small survey holds
    assert near.sum() > 20
    # one in a hundred is a star of the field by mistake, and the velocities take most of those away
    assert np.mean(np.abs(true[near] / 5.109 - 1) < 0.03) > 0.9
    assert {b"unbiased", b"biased", b"bailer-jones"} == set(np.unique(rivals["RIVAL"]))
    there = [place[target] for target in rivals["TARGETID"]]
    error = 5 * np.log10(rivals["DIST_RIVAL"] / survey["DIST_TRUE"][there])[rivals["RIVAL"] == b"unbiased"]
    assert np.std(error) == pytest.approx(0.45, abs=4 * 0.45 / np.sqrt(2 * len(error)))


def test_table_a1_lists_the_fifteen_systems(paths):
    table = Table.read(paths.table_a1)
    assert tuple(table.colnames) == validation.TABLE_A1_COLUMNS
    assert len(table) == 15
    assert (table["D_REF"].unit, table["BIAS_MAG"].unit) == ("kpc", "mag")
    measured = {row["system"]: row for row in read_json(paths.metrics)["external"]["systems"]}
    for row in table:
        found = measured.get(row["NAME"], {"n_finite": 0})
        assert row["N"] == found["n_finite"]
        assert row["N"] == 0 or row["D_NN"] == pytest.approx(found["median_distance_kpc"])


def test_a_new_list_makes_the_validation_stale_and_nothing_before_it(copied, config, tmp_path):
    folder = tmp_path / "references"
    shutil.copytree(config.parent / "survey" / "members", folder / "members")
    override = f"references.directory={folder}"
    assert start(config, copied, override, last="validation") == ["validation"]
    (folder / "rivals").mkdir()
    (folder / "rivals" / "new.csv").write_text("source_id,dist\n1,1.0\n")
    found = stage_statuses(Config.load(config, [f"run.directory={copied}", override]), STAGES)
    assert [stage.name for stage in found if stage.state != "fresh"] == ["validation", "report"]
    (reason,) = found[-2].reasons
    assert reason.endswith("rivals/new.csv changed")


def test_a_reference_that_cannot_be_read_is_named_and_ends_nothing(copied, config, tmp_path):
    folder = tmp_path / "references"
    (folder / "rivals").mkdir(parents=True)
    (folder / "rivals" / "empty.csv").write_text("a,b\n1,2\n")
    start(config, copied, f"references.directory={folder}", last="validation")
    record = Manifest.read(RunPaths(copied).manifest).stages["validation"]
    assert record.fault_counts["unread-reference"] == {"faults": 1, "stars": 0}
    assert record.faults[0].place == "empty.csv"
    assert "external" not in read_json(RunPaths(copied).metrics)


@pytest.mark.parametrize("last", ["components", pytest.param("training", marks=pytest.mark.slow)])
def test_noisy_copies_are_of_stars_that_may_be_trained_on_and_are_trained_on(copied, config, last):
    paths = RunPaths(copied)
    before = values(open_group(paths.coefficients, "coefficients"), "coefficients")
    ran = start(config, copied, "training.noisy_copies=2", "training.epochs=2", last=last)
    assert ran == ["components", "training"][: 1 + (last == "training")]
    store = open_group(paths.coefficients, "coefficients")
    plain, copies = values(store, "coefficients"), values(store, "copies")
    np.testing.assert_array_equal(plain, before)
    stars = read_table(paths.sample, ["TRAINABLE", "SN"])
    assert copies.shape == (len(plain), 2, plain.shape[1])
    made = np.isfinite(copies).all((1, 2))
    np.testing.assert_array_equal(made, np.isfinite(copies).any((1, 2)))
    np.testing.assert_array_equal(made, stars["TRAINABLE"] & (stars["SN"] >= 8) & (values(store, "fraction_bad") < 1))
    assert 2 * made.sum() > 1000
    if last == "training":
        assert Manifest.read(paths.manifest).stages["training"].notes["copies"] == 2 * made.sum()
    # Noise 1.3 to 4 times that of the star moves a coefficient by some of it, and leaves the star what it is.
    one, other = np.moveaxis(copies[made] - plain[made, None], 1, 0)
    assert 0.02 < one.std() / plain[made].std() < 0.5
    # The copies of a star have noise of their own each; what they share is that noise takes its part of the norm.
    assert (one - other).std() > 0.5 * one.std()


def test_copies_for_other_instruments_differ_by_more_than_noise(copied, config):
    paths = RunPaths(copied)

    def copies(*overrides):
        assert start(config, copied, "training.noisy_copies=1", *overrides, last="components") == ["components"]
        store = open_group(paths.coefficients, "coefficients")
        return values(store, "copies")[:, 0], values(store, "copies_broadening")[:, 0], values(store, "coefficients")

    other, broader, plain = copies("training.instruments.fwhm=6")
    same, usual, _ = copies("training.instruments.fwhm=0")
    made = np.isfinite(same).all(1)
    np.testing.assert_array_equal(made, np.isfinite(other).all(1))
    assert np.abs(other - plain)[made].mean() > 1.2 * np.abs(same - plain)[made].mean()
    assert np.median(broader[made]) > np.median(usual[made]) + 0.5  # of up to 6.5 A^2, each star its own


def test_the_recalibration_knows_the_snr_of_copies(finished, config):
    paths = RunPaths(finished)
    stars = Stars(read_table(paths.sample, [*IDENTIFIER, "SN", "FEH"]))
    store = CoefficientStore.open(paths.coefficients)
    rows = store.with_copies(np.arange(len(stars)))
    context = SimpleNamespace(coefficients=store, config=Config.load(config))
    domain = load_model(paths.model).domain
    own, copy = traits_of(context, stars, domain, rows), traits_of(context, stars, domain, rows, 0)
    # The noise measured from residuals knows nothing of the random numbers. Eq. 1 and the norm compress it, most in the
    # noisiest spectra, so that the two go together, but not one to one.
    noisier = np.sqrt(np.asarray(store.fit(rows, 0).noise) / np.asarray(store.fit(rows).noise))
    factor, usual = own.snr / copy.snr, (own.snr > 20) & (own.snr < 80)
    assert (factor >= 1).all()
    assert np.corrcoef(np.log(factor[usual]), np.log(noisier[usual]))[0, 1] > 0.6
    np.testing.assert_array_equal(own.feh, copy.feh)
    assert not own.outside.all()


def test_a_second_run_does_nothing(reported, config):
    made = {
        path: path.stat().st_mtime_ns
        for path in reported.directory.rglob("*")
        if path.is_file() and path.name != "log.txt"
    }
    assert start(config, reported.directory) == []
    kept = {path: path.stat().st_mtime_ns for path in made}
    changed = {path.name for path in made if made[path] != kept[path]}
    assert changed <= {".lock", "config.input.toml", "config.resolved.toml"}


def test_the_command_line_finds_nothing_left_to_do(reported, config):
    command = "from specdis.cli import main; main()"
    arguments = ["run", config, "--set", f"run.directory={reported.directory}"]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "everything asked for is up to date" in done.stderr
    assert done.stdout.split() == [str(reported.catalogue / "specdis.fits"), str(reported.report / "index.html")]


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("run.name=other", "report"),
        ("survey.truth=truth.parquet", "validation"),
        ("photometry.ebv_scale=1", "sample"),
        ("sample.ruwe_max=1.15", "sample"),
        ("run.seed=2", "sample"),
        ("survey.spectra_kind=spmod", "sample"),
        ("spectra.bad_fraction_max=0.2", "spectra"),
        ("components.n_components=6", "components"),
        ("training.noisy_copies=2", "components"),
        ("training.instruments.fwhm=3", "components"),
        ("network.label.output=linear", "training"),
        ("training.epochs=4", "training"),
        ("photometry.nuisances=none", "training"),
        ("distances.n_draws=2", "model"),
        ("distances.training_error=star", "model"),
        ("run.threads=3", None),
        ("run.memory_limit_gb=9", None),
    ],
)
def test_one_key_makes_stale_what_depends_on_it_and_nothing_else(reported, config, monkeypatch, override, first):
    monkeypatch.chdir(config.parent / "survey")
    found = stage_statuses(Config.load(config, [f"run.directory={reported.directory}", override]), STAGES)
    stale = [stage.name for stage in found if stage.state != "fresh"]
    assert stale == (ALL[ALL.index(first) :] if first else [])
    if first:
        assert override.split("=")[0] in found[ALL.index(first)].reasons[0]


def test_anchors_make_the_sample_depend_on_lists_of_members(reported, config, finished):
    def stale(*overrides):
        given = Config.load(config, [f"run.directory={reported.directory}", *overrides])
        return [stage.name for stage in stage_statuses(given, STAGES) if stage.state != "fresh"]

    assert stale("references.velocity_clip=3") == ["validation", "report"]
    assert stale("anchors.use=both") == ALL
    assert stale("anchors.least_error=0.1") == []


@pytest.mark.slow
def test_anchors_are_found_and_their_systems_are_in_one_fold(copied, config):
    start(config, copied, "anchors.use=training", last="distances")
    stars = read_table(RunPaths(copied).sample)
    members = read_table(RunPaths(copied).members)
    known = is_anchor(stars)
    # The lists are those that validation matches, and the velocities are clipped alike.
    assert {*stars["TARGETID"][known]} == {*members["TARGETID"]}
    group = stars["ANCHOR_GROUP"]
    for name in np.unique(group[group > 0]):
        assert len(np.unique(stars["FOLD"][(group == name) & stars["TRAINABLE"]])) <= 1
    assert (
        start(config, copied, "anchors.use=both", last="distances")
        == ALL[ALL.index("training") : ALL.index("distances") + 1]
    )


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("survey.truth=truth.parquet", "validation"),
        ("distances.training_error=star", "model"),
        pytest.param("training.epochs=4", "training", marks=pytest.mark.slow),
        pytest.param("sample.ruwe_max=1.15", "sample", marks=pytest.mark.slow),
    ],
)
def test_one_key_reruns_what_depends_on_it_and_nothing_else(copied, config, monkeypatch, override, first):
    monkeypatch.chdir(config.parent / "survey")
    before = products(copied)
    assert start(config, copied, override, last="validation") == ALL[ALL.index(first) : -1]
    assert start(config, copied, override, last="validation") == []
    after = products(copied)
    assert after.keys() == before.keys()
    remade = {name.split("/")[0] for name in after if after[name] != before[name]}
    assert remade == set(ALL[ALL.index(first) : -1])
    if "truth" in override:  # the same truth under another name: its metrics are equal
        name = "validation/metrics.json"
        assert after[name] == before[name]


def test_an_injected_companion_has_its_light_in_the_spectrum_that_is_judged(finished, config):
    paths = RunPaths(finished)
    names = (*IDENTIFIER, *TARGET_COLUMNS, "LOGG", *Colours(("BP-RP", "G-RP")).columns)
    stars = read_table(paths.sample, [name for name in dict.fromkeys(names) if name in column_names(paths.sample)])
    rows = np.flatnonzero(stars["LOGG"] > 4.2)[:8]
    mine = {name: values[rows] for name, values in stars.items()}
    stores = {
        "pixels": PixelStore.open(paths.pixels),
        "coefficients": CoefficientStore.open(paths.coefficients),
    }
    config, wanted = config_of(finished), Colours(("BP-RP", "G-RP"))
    bands = wanted.of(mine, config.photometry)
    trial = Trial.of(SimpleNamespace(config=config, paths=paths, **stores), rows, Targets.of(mine, 1, bands))
    model, watched = trial.model, Mock(wraps=trial.model)
    trial = replace(trial, model=watched)
    single, companion, partner = np.full(8, 5.0), np.full(8, 5.5), np.roll(np.arange(8), 1)
    trial.called(np.full(8, 5.0), np.full(8, 5.0), single, companion, partner)
    flux, _, bad, _ = PixelStore.open(paths.pixels).read_stars(rows)
    judged, summed_bands = watched.inputs.call_args.args
    given = judged.flux.astype(float)
    both = ~bad & ~bad[partner] & (np.abs(flux[partner].astype(float) - flux) > 0.01)
    share = ((given - flux) / np.where(both, flux[partner].astype(float) - flux, 1))[both]
    # Half a magnitude fainter: 0.387 of the light in G, less in the blue and more in the red.
    assert 0.3 < share.min() < 0.387 < share.max() < 0.45
    # Both networks are asked about the sum, the mixture about the single star too.
    summed = model.inputs(judged._replace(flux=given.astype(np.float32)), summed_bands)
    # The companion, like its partner half a magnitude fainter than the star, adds to the light in each band.
    brighter = bands.magnitude - summed_bands.magnitude
    # A_G of colours is by Teff of the colour, that of the sample by the survey's.
    np.testing.assert_allclose(brighter[:, wanted.bands.index("G")], 2.5 * np.log10(1 + 10**-0.2), atol=1e-3)
    assert ((brighter > 0.1) & (brighter < 1.2)).all()
    np.testing.assert_allclose(watched.label_magnitude.call_args.args[0], summed, atol=1e-5)
    asked = [call.args[0] for call in watched.binary_probability.call_args_list]
    np.testing.assert_allclose(asked[0], summed, atol=1e-5)
    assert np.abs(asked[1] - summed).max() > 1e-3
