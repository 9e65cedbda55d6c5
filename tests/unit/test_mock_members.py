"""The mock's lists of members, in the forms in which the real ones are published."""

from __future__ import annotations

import shutil
from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import gamma

from specdis.mock import observation, targets
from specdis.mock.members import RRLYRAE, write_members
from specdis.mock.rivals import GEOMETRIC, MOCK_RIVALS, geometric_distance
from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, MEMBERS_FOLDER, TRUTH, write_mock
from specdis.mock.systems import stream_coordinates, stream_track
from specdis.references import CLUSTERS, TABLE_A1, References, ReferencesSettings, System
from specdis.storage import read_table

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("members")
    write_mock(directory, MockSettings(stars=900, seed=3))
    return directory


def test_every_cluster_has_a_list_in_its_published_form(survey: Path) -> None:
    for cluster in CLUSTERS:
        table = Table.read(
            survey / MEMBERS_FOLDER / "clusters" / f"{cluster.name.replace(' ', '_')}.txt", format="ascii"
        )
        published = "source_id ra dec x y plx pmra pmdec plxe pmrae pmdece pmcorr g_mag bp_rp Sigma qflag memberprob"
        assert table.colnames == published.split()


def test_probable_members_are_mostly_members_and_at_their_place(survey: Path) -> None:
    cluster = CLUSTERS[0]  # the first that a small survey holds
    table = Table.read(survey / MEMBERS_FOLDER / "clusters" / "NGC_6218.txt", format="ascii")
    truth = read_table(survey / TRUTH)
    assert table["source_id"].dtype.kind == "i"
    assert len(np.unique(table["source_id"])) == len(table)
    mine = np.isin(table["source_id"], truth["SOURCE_ID"][truth["COMPONENT"] == cluster.name.encode()])
    assert mine.sum() > 20
    probable = np.asarray(table["memberprob"] > 0.5)
    assert np.mean(probable == mine) > 0.95  # one in a hundred is mistaken, on purpose
    # medians of some 40 members of 0.1 mas/yr each, and proper motions of the field several times as wide
    assert np.median(table["pmra"][probable]) == pytest.approx(cluster.pmra, abs=0.1)
    assert np.median(table["pmdec"][probable]) == pytest.approx(cluster.pmdec, abs=0.1)
    np.testing.assert_allclose(table["y"], table["dec"] - cluster.dec, atol=1e-6)


def test_horizontal_branch_stars_are_rows_of_the_catalogue(survey: Path) -> None:
    with (
        fitsio.FITS(str(survey / MEMBERS_FOLDER / "MWS_BHB.fits")) as listed,
        fitsio.FITS(str(survey / CATALOGUE)) as catalogue,
    ):
        assert [hdu.get_extname() for hdu in listed][1:] == ["RVTAB", "FIBERMAP", "GAIA", "DISTANCES"]
        assert len(listed["RVTAB"].read()) > 5
        for name in ("RVTAB", "FIBERMAP", "GAIA"):
            assert listed[name].get_rec_dtype()[0] == catalogue[name].get_rec_dtype()[0]
        blue, rows = listed["RVTAB"].read(), catalogue["RVTAB"].read()
        distances = listed["DISTANCES"].read()
    truth = read_table(survey / TRUTH)
    mine = np.isin(truth["TARGETID"], blue["TARGETID"])
    assert mine.sum() == len(blue)
    assert np.isin(blue["TARGETID"], rows["TARGETID"]).all()
    assert truth["TEFF_TRUE"][mine].min() > 7400
    assert truth["M_G_TRUE"][mine].min() > 0.0
    assert truth["M_G_TRUE"][mine].max() < 1.5
    order = np.argsort(truth["TARGETID"])
    true = truth["DIST_TRUE"][order][np.searchsorted(truth["TARGETID"][order], blue["TARGETID"])]
    error = np.log(distances["DIST"] / true)
    assert 0.0 < np.abs(error).max() < 4 * 0.05
    np.testing.assert_allclose(distances["DISTERR"] / distances["DIST"], 0.05)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Columns]:
    """Return the lists of a survey that reaches every system and many stars of the stream, and its stars."""
    settings = MockSettings(stars=10_000, stream_fraction=0.6)
    files = list(targets.identifiers(settings))
    rows, gaia = targets.observed(settings, {name: np.concatenate([f[name] for f in files]) for name in files[0]})
    snr = {
        arm: np.full(len(rows["TARGETID"]), 20.0) for arm in observation.ALL_ARMS
    }  # spectra play no part in the lists
    directory = tmp_path_factory.mktemp("lists")
    write_members(directory, rows, gaia, observation.rvs(rows, snr, settings), snr, settings.seed)
    return directory, rows


@pytest.mark.parametrize("system", TABLE_A1[-2:], ids=["Draco", "Sextans"])
def test_dwarf_galaxies_have_lists_in_their_published_form(large: tuple[Path, Columns], system: System) -> None:
    directory, rows = large
    path = directory / "dwarfs" / f"{system.name.lower()}_1.dat"
    assert path.read_text().startswith("# source_id ra dec ")
    table = Table.read(path, format="ascii.commented_header")
    assert {"pmra", "pmdec", "phot_g_mean_mag", "bp_rp", "mem_fixed", "mem_fixed_complete"} <= set(table.colnames)
    members = rows["SOURCE_ID"][rows["COMPONENT"] == system.name.encode()]
    mine = np.isin(table["source_id"], members)
    assert mine.sum() > 30
    # of some 100 stars one is on the wrong side of 0.5, on purpose
    assert np.sum(np.asarray(table["mem_fixed"] > 0.5) != mine) <= 5


def test_candidates_of_the_stream_lie_near_its_track_and_move_along_it(large: tuple[Path, Columns]) -> None:
    directory, rows = large
    listed = fitsio.read(str(directory / "sgr.fits"), ext="CANDIDATES")
    lam, beta = stream_coordinates(listed["ra"], listed["dec"])
    np.testing.assert_allclose(listed["beta"], beta, atol=1e-9)
    _, pmra, pmdec = stream_track(lam)
    assert np.abs(beta).max() < 10.0
    assert np.hypot(listed["pmra"] - pmra, listed["pmdec"] - pmdec).max() < 0.6
    _, place, mine = np.intersect1d(listed["source_id"], rows["SOURCE_ID"], return_indices=True)
    assert len(mine) == len(listed) > 100
    # a cut in place, motion and distance leaves few others
    assert np.mean(rows["COMPONENT"][mine] == b"sgr") > 0.7
    assert (rows["LOGG"][mine] < 3.5).all()
    error = np.log(listed["dist"][place] / rows["DIST"][mine])
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.1, abs=4 * 0.1 / np.sqrt(2 * len(error)))


def test_rivals_have_the_errors_that_are_said_of_them(survey: Path) -> None:
    truth = read_table(survey / TRUTH)
    # as docs/mock.md says: name, share, scatter and bias at 100 kpc, negative for too near
    assert MOCK_RIVALS == (("unbiased", 0.6, 0.45, 0.0), ("biased", 0.6, 0.25, -0.5))
    for rival in MOCK_RIVALS:
        table = fitsio.read(str(survey / "rivals" / f"{rival.name}.fits"), ext="DISTANCES")
        assert table.dtype.names == ("SOURCE_ID", "RA", "DEC", "DIST", "DISTERR")
        assert len(np.unique(table["SOURCE_ID"])) == len(table)
        source, first = np.unique(truth["SOURCE_ID"], return_index=True)
        true = truth["DIST_TRUE"][first][np.searchsorted(source, table["SOURCE_ID"])]
        share = np.sum(source > 0)
        assert len(table) / share == pytest.approx(rival.share, abs=4 * 0.5 / np.sqrt(share))
        # a literal reading: half a magnitude too near at 100 kpc, a quarter at 32 kpc, nothing within 10 kpc
        expected = np.interp(np.log10(true), [1.0, 1.5, 2.0], [0.0, rival.bias / 2, rival.bias])
        error = 5 * np.log10(table["DIST"] / true) - expected
        sigma = rival.scatter / np.sqrt(len(table))
        assert error.mean() == pytest.approx(0.0, abs=4 * sigma)
        assert error.std() == pytest.approx(rival.scatter, abs=3 * sigma)
        np.testing.assert_allclose(table["DISTERR"] / table["DIST"], 0.4605170 * rival.scatter, rtol=1e-6)


def test_geometric_distances_follow_precise_parallaxes_and_the_prior_without_any() -> None:
    precise = geometric_distance(np.array([1.0, 0.5]), np.array([0.01, 0.01]))
    np.testing.assert_allclose(precise[:, 1], [1.0, 2.0], rtol=0.02)  # cells of the grid are 1.6 % wide
    np.testing.assert_allclose((precise[:, 2] - precise[:, 0]) / 2, [0.01, 0.04], rtol=0.25)
    # without information the posterior is the prior, a gamma distribution of shape 3 and scale 1.35 kpc
    nothing = geometric_distance(np.array([0.0]), np.array([1e6]))
    np.testing.assert_allclose(nothing[0], gamma(3, scale=1.35).ppf([0.16, 0.50, 0.84]), rtol=0.02)


def test_a_geometric_rival_has_a_row_for_every_parallax(survey: Path) -> None:
    table = Table.read(survey / "rivals" / GEOMETRIC)
    assert table.colnames == ["source_id", "r_med_geo", "r_lo_geo", "r_hi_geo"]
    assert (table["r_lo_geo"] <= table["r_med_geo"]).all()
    assert (table["r_med_geo"] < table["r_hi_geo"]).all()
    truth = read_table(survey / TRUTH)
    source, first = np.unique(truth["SOURCE_ID"], return_index=True)
    true = truth["DIST_TRUE"][first][np.searchsorted(source, table["source_id"])]
    near = true < 1.0  # parallaxes of 1 mas and more, with errors of a few hundredths
    assert np.median(table["r_med_geo"][near] / true[near] / 1000) == pytest.approx(1.0, abs=0.02)


def test_rr_lyrae_stars_are_a_list_with_types_and_distances(large: tuple[Path, Columns]) -> None:
    directory, rows = large
    listed = fitsio.read(str(directory / RRLYRAE), ext="RRLYRAE")
    _, place, mine = np.intersect1d(listed["source_id"], rows["SOURCE_ID"], return_indices=True)
    assert len(mine) == len(listed) > 50
    assert rows["PULSATING"][mine].all()
    assert set(listed["best_classification"].astype(str)) == {"RRab", "RRc"}
    error = np.log(listed["dist"][place] / rows["DIST"][mine])
    assert error.std() == pytest.approx(0.05, rel=0.3)  # 80 stars
    np.testing.assert_allclose(listed["dist_err"] / listed["dist"], 0.05)


def test_the_pipeline_reads_the_list_of_rr_lyrae_stars(large: tuple[Path, Columns], tmp_path: Path) -> None:
    (tmp_path / MEMBERS_FOLDER).mkdir()
    shutil.copy(large[0] / RRLYRAE, tmp_path / MEMBERS_FOLDER)
    references = References(ReferencesSettings(directory=tmp_path), "dr3")
    (found,) = references.members()
    assert (found.file.kind, set(found.columns["SYSTEM"]), references.unread) == ("rrlyrae", {"RR Lyrae"}, [])
    listed = fitsio.read(str(large[0] / RRLYRAE), ext="RRLYRAE")
    np.testing.assert_allclose(found.columns["DIST_REF"], listed["dist"])
    np.testing.assert_allclose(found.columns["DIST_REF_ERR"], listed["dist_err"])
