"""The mock's lists of members, in the forms in which the real ones are published."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest
from astropy.table import Table

from specdis.mock.settings import MockSettings
from specdis.mock.survey import CATALOGUE, MEMBERS, TRUTH, write_mock
from specdis.mock.systems import CLUSTERS
from specdis.storage import read_table


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("members")
    write_mock(directory, MockSettings(stars=900, seed=3))
    return directory


def test_every_cluster_has_a_list_in_its_published_form(survey: Path) -> None:
    for cluster in CLUSTERS:
        table = Table.read(
            survey / MEMBERS / "clusters" / f"{cluster.name.decode().replace(' ', '_')}.txt", format="ascii"
        )
        published = "source_id ra dec x y plx pmra pmdec plxe pmrae pmdece pmcorr g_mag bp_rp Sigma qflag memberprob"
        assert table.colnames == published.split()


def test_probable_members_are_mostly_members_and_at_their_place(survey: Path) -> None:
    cluster = CLUSTERS[0]  # the first that a small survey holds
    table = Table.read(survey / MEMBERS / "clusters" / "NGC_6218.txt", format="ascii")
    truth = read_table(survey / TRUTH)
    assert table["source_id"].dtype.kind == "i"
    assert len(np.unique(table["source_id"])) == len(table)
    mine = np.isin(table["source_id"], truth["SOURCE_ID"][truth["COMPONENT"] == cluster.name])
    assert mine.sum() > 20
    probable = np.asarray(table["memberprob"] > 0.5)
    assert np.mean(probable == mine) > 0.95  # one in a hundred is mistaken, on purpose
    # medians of some 40 members of 0.1 mas/yr each, and proper motions of the field several times as wide
    assert np.median(table["pmra"][probable]) == pytest.approx(cluster.pmra, abs=0.1)
    assert np.median(table["pmdec"][probable]) == pytest.approx(cluster.pmdec, abs=0.1)
    np.testing.assert_allclose(table["y"], table["dec"] - cluster.dec, atol=1e-6)


def test_horizontal_branch_stars_are_rows_of_the_catalogue(survey: Path) -> None:
    with (
        fitsio.FITS(str(survey / MEMBERS / "MWS_BHB.fits")) as listed,
        fitsio.FITS(str(survey / CATALOGUE)) as catalogue,
    ):
        assert [hdu.get_extname() for hdu in listed][1:] == ["RVTAB", "FIBERMAP", "GAIA"]
        assert len(listed["RVTAB"].read()) > 5
        for name in ("RVTAB", "FIBERMAP", "GAIA"):
            assert listed[name].get_rec_dtype()[0] == catalogue[name].get_rec_dtype()[0]
        blue, rows = listed["RVTAB"].read(), catalogue["RVTAB"].read()
    truth = read_table(survey / TRUTH)
    mine = np.isin(truth["TARGETID"], blue["TARGETID"])
    assert mine.sum() == len(blue)
    assert np.isin(blue["TARGETID"], rows["TARGETID"]).all()
    assert truth["TEFF_TRUE"][mine].min() > 7400
    assert truth["M_G_TRUE"][mine].min() > 0.0
    assert truth["M_G_TRUE"][mine].max() < 1.5
