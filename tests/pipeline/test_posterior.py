"""Posterior distances of a run: in its catalogue, and from it under other priors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

import specdis
import tiny_run
from specdis.catalogue import read_catalogue, read_columns, verify_catalogue
from specdis.cli import app
from specdis.colours import Bands
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.errors import InputError
from specdis.model.files import load_model
from specdis.network.nuisances import NUISANCE_COLUMNS
from specdis.prior import POSTERIOR_COLUMNS, DensityTable, PriorSettings
from specdis.prior.stars import observed_in
from specdis.storage import read_arrays, read_json, read_table
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER
from specdis.validation import join


@pytest.fixture(scope="module")
def stars(finished):
    return read_catalogue(finished)


def modulus(distance):
    return 5 * np.log10(np.ma.filled(distance, np.nan)) + 10


def invoke(*arguments):
    return CliRunner().invoke(app, ["posterior", *map(str, arguments)])


def test_every_star_with_a_distribution_has_a_posterior(stars):
    assert np.isfinite(stars["DIST_POST"]).sum() > 500
    np.testing.assert_array_equal(np.isfinite(stars["DIST_POST"]), np.isfinite(stars["DIST_MIX"]))
    assert not np.allclose(stars["DIST_POST"], stars["DIST_MIX"], rtol=1e-3)


def test_the_model_keeps_the_prior(finished):
    model = load_model(finished / "model")
    assert isinstance(model.prior.density, DensityTable)
    _, arrays = read_arrays(finished / "model/prior.npz", "model")
    np.testing.assert_array_equal(model.prior.density.log_density, arrays["log_density"])


def test_the_catalogue_says_what_the_posterior_of_the_run_was_made_of(finished):
    """With the star's own parallax, too, which this run leaves out."""
    columns = read_columns(finished)
    posterior, observed = load_model(finished / "model").posterior_in(columns)
    known = np.isfinite(columns["DIST_POST"])
    for name, level in (("DIST_POST_16", 0.16), ("DIST_POST", 0.5), ("DIST_POST_95", 0.95)):
        np.testing.assert_allclose(posterior.below(observed, columns[name])[known], level, atol=0.01)
    names = dict.fromkeys((*IDENTIFIER, *TARGET_COLUMNS, *NUISANCE_COLUMNS))
    networks = load_model(finished / "model").networks
    sample = networks.corrected(read_table(RunPaths(finished).sample, [*names]))
    row = join(columns, sample)
    targets = Targets.of({name: values[row] for name, values in sample.items()}, 0, Bands.none(len(row)))
    data, there = observed_in(columns, own_parallax=True).own
    np.testing.assert_array_equal(there, targets.has_parallax)
    assert there.sum() > 500
    for one, other in zip(data, targets.parallaxes(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_run_gives_posterior_draws_on_request(copied, config):
    assert tiny_run.start(config, copied, "catalogue.released_draws=20", last="validation") == [
        "catalogue",
        "validation",
    ]
    assert verify_catalogue(copied).problems == ()
    columns = read_columns(copied)
    drawn = columns["DISTMOD_POST_DRAWS"]
    assert drawn.shape == (len(columns["DIST"]), 20)
    known = np.isfinite(columns["DIST_POST"])
    for name, level in (("DIST_POST_16", 0.16), ("DIST_POST", 0.5), ("DIST_POST_84", 0.84)):
        share = (drawn < modulus(columns[name])[:, None])[known].mean()
        assert share == pytest.approx(level, abs=5 * np.sqrt(level * (1 - level) / drawn[known].size) + 2e-3)
    ranks = read_json(RunPaths(copied).metrics)["halo"]["ranks"]
    assert [found["distance_min_kpc"] for found in ranks] == [5.0, 20.0]
    assert ranks[0]["n"] == sum(ranks[0]["counts"]) > 20


def test_python_fits_nearly_the_prior_of_the_run_again(stars):
    """Its stars differ by some that have no parallax, or missing pixels."""
    found = specdis.posterior(stars)
    assert tuple(found) == POSTERIOR_COLUMNS
    difference = np.abs(modulus(found["DIST_POST"]) - modulus(stars["DIST_POST"]))
    # The median of a distribution of two peaks may fall into the other one.
    assert np.quantile(difference, 0.995) < 0.1


def test_a_power_law_gives_back_the_networks_distances(stars):
    found = specdis.posterior(stars, (np.array([1e-4, 1e6]), np.array([1.0, 1e-30])))
    width = np.ma.filled(stars["M_G_NN_ERR_MIX"], np.nan)
    change = np.abs(modulus(found["DIST_POST"]) - modulus(stars["DIST_MIX"])) / width
    # Not 0: five Gaussians stand for all networks'.
    assert np.nanmax(change) < 0.35
    assert np.nanmedian(change) < 0.05


@pytest.mark.parametrize("kind", ["halo", "disc-halo"])
def test_a_law_differs_by_direction(kind, stars):
    found = specdis.posterior(stars, PriorSettings(kind=kind))
    turned = specdis.posterior(
        {**{name: stars[name] for name in stars.colnames}, "DEC": -stars["DEC"]}, PriorSettings(kind=kind)
    )
    assert np.isfinite(found["DIST_POST"]).sum() == np.isfinite(stars["DIST_MIX"]).sum()
    assert np.nanmax(np.abs(modulus(found["DIST_POST"]) - modulus(turned["DIST_POST"]))) > 0.01


def test_few_stars_and_lacking_columns_are_refused(stars):
    with pytest.raises(InputError, match=r"300 or more SELECTED stars .* found 50\. Give the whole catalogue"):
        specdis.posterior(stars[np.flatnonzero(stars["SELECTED"])[:50]])
    with pytest.raises(InputError, match="expected columns A_G_ERR, MIX_WEIGHT_1"):
        specdis.posterior(stars[["PHOT_G_MEAN_MAG", "A_G", "RA", "DEC", "SELECTED"]])


@pytest.mark.parametrize("ending", ["fits", "parquet"])
def test_the_verb_writes_a_good_catalogue(ending, finished, stars, tmp_path):
    out = tmp_path / f"halo.{ending}"
    result = invoke(finished, "--prior", "disc-halo", "--set", "halo_break=20", "-o", out, "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"catalogue": str(out)})
    assert verify_catalogue(out).problems == ()
    written = read_columns(out)
    expected = specdis.posterior(stars, PriorSettings(kind="disc-halo", halo_break=20))
    for name, values in expected.items():
        np.testing.assert_array_equal(written[name], values)
    np.testing.assert_array_equal(written["DIST"], np.ma.filled(stars["DIST"], np.nan))
    assert read_catalogue(out).meta["PRIOR"] == "disc-halo"
    again = tmp_path / f"again.{ending}"
    assert invoke(finished, "--prior", "disc-halo", "--set", "halo_break=20", "-o", again).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_the_verb_writes_draws(finished, stars, tmp_path):
    out = tmp_path / "draws.parquet"
    assert invoke(finished, "--prior", "halo", "--draws", "5", "-o", out).exit_code == 0
    assert verify_catalogue(out).problems == ()
    written = read_columns(out)
    expected = specdis.posterior(stars, PriorSettings(kind="halo"), draws=5, seed=stars.meta["SEED"])
    np.testing.assert_array_equal(written["DISTMOD_POST_DRAWS"], expected["DISTMOD_POST_DRAWS"])
    off = np.median(written["DISTMOD_POST_DRAWS"].astype(float), axis=1) - modulus(written["DIST_POST"])
    assert abs(np.nanmedian(off)) < 0.05
    # Another posterior without draws does not keep those of this one.
    assert invoke(out, "--prior", "fitted", "-o", tmp_path / "none.parquet").exit_code == 0
    assert "DISTMOD_POST_DRAWS" not in read_catalogue(tmp_path / "none.parquet").colnames


def test_the_verb_takes_a_table(finished, tmp_path):
    near = tmp_path / "near.csv"
    Table({"distance_kpc": [0.001, 3.0], "density": [1.0, 1.0]}).write(near)
    assert invoke(finished, "--prior", near, "-o", tmp_path / "near.fits").exit_code == 0
    found = read_columns(tmp_path / "near.fits")
    assert np.nanmax(found["DIST_POST"]) < 3.0
    assert verify_catalogue(tmp_path / "near.fits").good
    assert read_catalogue(tmp_path / "near.fits").meta["PRIOR"] == "near.csv"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--prior", "gaussian"], "gaussian: expected fitted, halo, disc-halo, or a table"),
        (["--prior", "halo", "--set", "halo_brake=20"], "prior.halo_brake: Extra inputs"),
        (["--prior", "halo", "--set", "halo_break=-1"], "prior.halo_break: Input should be greater than 0"),
        (["--prior", "wrong.csv"], "expected a column density"),
        (["--prior", "order.csv"], "above 0 and increasing"),
        (["--prior", "words.csv"], "expected numbers in both columns"),
    ],
)
def test_a_wrong_prior_is_one_line(arguments, message, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Table({"distance_kpc": [1.0, 2.0]}).write("wrong.csv")
    Table({"distance_kpc": [2.0, 1.0], "density": [1.0, 1.0]}).write("order.csv")
    Table({"distance_kpc": ["near", "far"], "density": [1.0, 1.0]}).write("words.csv")
    result = invoke(finished, *arguments, "-o", "out.fits")
    assert result.exit_code == 1
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out.fits").exists()


def test_another_ending_is_refused_before_anything_is_read(finished, tmp_path):
    result = invoke(tmp_path / "absent", "-o", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "expected a name in .fits or .parquet" in result.stderr
