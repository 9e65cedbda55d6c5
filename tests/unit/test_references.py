"""Lists of members and rival catalogues: read as they are published, matched, clipped and given to one system each."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import Table
from astropy.time import Time

from specdis.errors import InputError
from specdis.gaia import Release
from specdis.references import (
    DWARFS,
    TABLE_A1,
    MemberFile,
    ReferenceFile,
    References,
    ReferencesSettings,
    SurveyStars,
    find_members,
    find_system,
    match_rival,
    read_members,
    read_systems,
    velocity_clip,
)
from specdis.references.matching import directions_after
from specdis.references.quantities import Quantities, horizontal_branch_distance, were_floats
from specdis.references.tables import ReferenceTable


def stars(n: int, **columns: Any) -> dict[str, np.ndarray]:
    """Return a catalogue of `n` stars, a tenth of a degree apart."""
    plain = {
        "TARGETID": np.arange(1, n + 1),
        "SOURCE_ID": 4_418_642_906_513_912_320 + np.arange(n),
        "RA": 200.0 + 0.1 * np.arange(n),
        "DEC": np.full(n, 20.0),
        "PMRA": np.zeros(n),
        "PMDEC": np.zeros(n),
        "VRAD": np.zeros(n),
        "PHOT_G_MEAN_MAG": np.full(n, 16.0),
        "A_G": np.full(n, 0.1),
    }
    return plain | {name: np.asarray(values) for name, values in columns.items()}


def test_table_a1_has_the_fifteen_systems_of_the_paper() -> None:
    assert len(TABLE_A1) == 15
    names = {system.name: system for system in TABLE_A1}
    assert names["NGC 6205"].paper_distance == 8.99
    assert names["NGC 6205"].distance_error == pytest.approx(0.0755)
    assert names["Sextans"].distance == 92.5
    assert all(system.source for system in TABLE_A1)


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("NGC 6205", "NGC 6205"),
        ("NGC_6205_M_13", "NGC 6205"),
        ("ngc6205", "NGC 6205"),
        ("palomar_05", "Pal 5"),
        ("Pal5", "Pal 5"),
        ("draco_1", "Draco"),
        ("sextans_1", "Sextans"),
        ("NGC 62", None),
        ("NGC 62051", None),
        ("Terzan 1", None),
        ("Dracula", None),
        ("Draco II", None),
        ("dra2", None),
        ("Draco I", "Draco"),
        ("Draco dSph", "Draco"),
        ("Dra", "Draco"),
        ("Sext", "Sextans"),
        ("N5904", "NGC 5904"),
        ("M 5", "NGC 5904"),
        ("M5-1", None),
        ("Palomar 5", "Pal 5"),
        ("", None),
    ],
)
def test_lists_are_named_in_many_ways(name: str, system: str | None) -> None:
    found = find_system(name, TABLE_A1)
    assert (found and found.name) == system


def test_the_database_gives_distances_from_moduli(tmp_path: Path) -> None:
    path = tmp_path / "dwarf_mw.csv"
    path.write_text(
        "key,name,ra,dec,distance_modulus,distance_modulus_em,distance_modulus_ep\n"
        "draco_1,Draco,260.1,57.9,19.557,0.03,0.03\nx,Nothing known,1,2,,,\n"
    )
    (system,) = read_systems(ReferenceFile(path=path))
    assert system.name == "Draco"
    assert system.distance == pytest.approx(81.55, abs=0.01)  # Bhardwaj et al. 2024, as the database quotes it
    assert system.distance_errors == pytest.approx((1.12, 1.13), abs=0.01)


# Files


@pytest.mark.parametrize("form", ["csv", "ecsv", "parquet", "fits", "tab", "commented"])
def test_every_format_gives_the_same_columns(tmp_path: Path, form: str) -> None:
    source = np.array([4418642906513912320, 4418649984620034048])
    table = Table({"source_id": source, "Dist": [1.5, np.nan], "name": ["a", "bb"]})
    endings = {"tab": "txt", "commented": "dat"}
    path = tmp_path / f"list.{endings.get(form, form)}"
    writers = {"tab": "ascii.tab", "commented": "ascii.commented_header", "csv": "ascii.csv", "ecsv": "ascii.ecsv"}
    table.write(path, format=writers.get(form, form))
    found = Quantities(ReferenceTable.open(path)).read("SOURCE_ID", "DIST", "NAME", "PMRA")
    assert list(found) == ["SOURCE_ID", "DIST", "NAME"]
    assert found["SOURCE_ID"].tolist() == source.tolist()
    np.testing.assert_array_equal(found["DIST"], [1.5, np.nan])
    assert found["NAME"].tolist() == ["a", "bb"]


def test_a_small_file_that_fills_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("specdis.storage.UNPACKED_FREE", 1 << 20)
    path = tmp_path / "rival.parquet"
    Table({"source_id": np.ones(1 << 18, np.int64), "dist": np.ones(1 << 18)}).write(path)
    with pytest.raises(InputError, match=r"rival\.parquet: expected at most .* or 50 times the size of the file"):
        Quantities(ReferenceTable.open(path)).read("SOURCE_ID", "DIST")


def test_desi_splits_one_table_over_hdus(tmp_path: Path) -> None:
    path = tmp_path / "MWS_BHB.fits"
    with fitsio.FITS(str(path), "rw") as file:
        file.write(None)
        file.write({"TARGETID": np.array([7, 8]), "PRIMARY": np.array([True, False])}, extname="RVTAB")
        file.write({"RA": np.array([1.0, 2.0])}, extname="FIBERMAP")
        file.write({"OTHER": np.arange(3)}, extname="APART")
        file.write({"DISTMOD": np.array([15.0, 20.0])}, extname="MORE")
    quantities = Quantities(ReferenceTable.open(path))
    assert quantities.read("TARGETID", "RA").keys() == {"TARGETID", "RA"}
    np.testing.assert_allclose(quantities.distance()[0], [10.0, 100.0])
    found = read_members("BHB", MemberFile(path=path, kind="bhb"), TABLE_A1, 0.9)
    assert found.columns["TARGETID"].tolist() == [7]  # PRIMARY alone


def test_identifiers_as_text_are_read_and_as_floats_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ecsv"
    Table({"Source": ["Gaia DR3 4418642906513912320", ""]}).write(path)
    found = Quantities(ReferenceTable.open(path)).read("SOURCE_ID")["SOURCE_ID"]
    assert found.tolist() == [4418642906513912320, 0]
    Table({"source_id": [4.418642906513912320e18]}).write(path, overwrite=True)
    with pytest.raises(InputError, match="expected SOURCE_ID: integers, found float64"):
        Quantities(ReferenceTable.open(path)).read("SOURCE_ID")


def test_identifiers_that_have_been_floats_are_matched_on_the_sky(tmp_path: Path, caplog: Any) -> None:
    whole = 4_418_642_906_513_912_320 + 128 * np.arange(1, 41)  # as Gaia's are: multiples of 128
    rounded = whole.astype(float).astype(np.int64)
    catalogue = stars(40, SOURCE_ID=whole)
    path = tmp_path / "sgr.csv"
    places = {"ra": catalogue["RA"], "dec": catalogue["DEC"], "dist": np.full(40, 20.0)}
    Table({"source_id": rounded, **places}).write(path, format="ascii.csv")
    found = match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)
    assert found["ROW"].tolist() == list(range(40))  # by identifier it would be a quarter of them
    assert "were stored as floats and lost digits; matched on the sky" in caplog.text
    Table({"source_id": rounded, "dist": places["dist"]}).write(path, format="ascii.csv", overwrite=True)
    with pytest.raises(InputError, match="integers with all their digits"):
        match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)
    assert not were_floats(whole)
    assert not were_floats(rounded[:19])  # too few to tell
    assert not were_floats(np.arange(100))


def test_distances_come_in_many_units(tmp_path: Path) -> None:
    def distance(**columns: Any) -> tuple[list[float], list[float]]:
        Table({"source_id": [1, 2], **columns}).write(tmp_path / "d.ecsv", overwrite=True)
        magnitude = np.array([15.0, 15.0])
        found, error = Quantities(ReferenceTable.open(tmp_path / "d.ecsv")).distance(magnitude)
        return found.tolist(), error.tolist()

    assert distance(dist=[1.0, 2.0], dist_err=[0.1, 0.2]) == ([1.0, 2.0], [0.1, 0.2])
    assert distance(dist=[1000.0, 2000.0] * u.pc)[0] == pytest.approx([1.0, 2.0])
    low, high = {"r_lo_geo": [900.0, 1500.0]}, {"r_hi_geo": [1100.0, 3500.0]}
    assert distance(r_med_geo=[1000.0, 2000.0], **low, **high) == (pytest.approx([1.0, 2.0]), pytest.approx([0.1, 1.0]))
    kpc, error = distance(DM=[15.0, 20.0] * u.mag, e_DM=[0.1, 0.1] * u.mag)
    assert kpc == pytest.approx([10.0, 100.0])
    assert error == pytest.approx([10.0 * (10**0.02 - 1), 100.0 * (10**0.02 - 1)], rel=0.03)  # to first order
    assert distance(M_G=[0.0, -5.0])[0] == pytest.approx([10.0, 100.0])
    with pytest.raises(InputError, match="distances in kpc, found a median of 1,500"):
        distance(dist=[1000.0, 2000.0])
    with pytest.raises(InputError, match="a distance modulus or an absolute G magnitude, found the columns my_dist, "):
        distance(x=[1, 2], my_dist=[1, 2])  # what may be it comes first


def test_vizier_tells_two_columns_apart_by_case_alone(tmp_path: Path) -> None:
    path = tmp_path / "bj.ecsv"
    Table({"Source": [1], "rgeo": [1000.0], "b_rgeo": [800.0], "B_rgeo": [1400.0]}).write(path)
    kpc, error = Quantities(ReferenceTable.open(path)).distance()
    assert (kpc[0], error[0]) == pytest.approx((1.0, 0.3))


def test_colours_give_distances_of_horizontal_branch_stars() -> None:
    # g - r = -0.1 without dust: M_g = 0.434 + 0.0169 + 0.02319 - 0.020449 + 0.0094517 = 0.4630927
    g, r = 15.0, 15.1
    flux = [10 ** (0.4 * (22.5 - magnitude)) for magnitude in (g, r)]
    near = horizontal_branch_distance(np.array(flux[:1]), np.array(flux[1:]), np.zeros(1))
    assert near[0] == pytest.approx(10 ** (0.2 * (15.0 - 0.4630927) - 2.0), rel=1e-6)
    dusty = [10 ** (0.4 * (22.5 - magnitude)) for magnitude in (g + 3.214 * 0.05, r + 2.165 * 0.05)]
    far = horizontal_branch_distance(np.array(dusty[:1]), np.array(dusty[1:]), np.array([0.05]))
    np.testing.assert_allclose(far, near)
    assert np.isnan(horizontal_branch_distance(np.array([1.0]), np.array([2.0]), np.zeros(1)))[0]  # red


def test_a_column_map_goes_before_the_known_names(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    Table({"source_id": [5], "d": [3.0], "dist": [9.0]}).write(path, format="ascii.csv")
    assert Quantities(ReferenceTable.open(path), {"DIST": "d"}).distance()[0] == [3.0]
    assert not Quantities(ReferenceTable.open(path), {"SOURCE_ID": ""}).has("SOURCE_ID")
    with pytest.raises(InputError, match="a column nowhere"):
        Quantities(ReferenceTable.open(path), {"DIST": "nowhere"})
    with pytest.raises(InputError, match="quantities among"):
        Quantities(ReferenceTable.open(path), {"DISTANCE": "d"})


# Matching


def test_identifiers_match_whatever_their_order() -> None:
    targets = SurveyStars(stars(5, SOURCE_ID=[30, 10, 0, 20, 10]), "dr3")
    assert targets.by_identifier("SOURCE_ID", np.array([10, 99, 0, 30])).tolist() == [1, -1, -1, 0]
    assert SurveyStars(stars(0), "dr3").by_identifier("SOURCE_ID", np.array([1])).tolist() == [-1]


def test_proper_motion_carries_a_star_to_the_epoch_of_the_list() -> None:
    ra, dec = np.array([150.0, 20.0, 359.99999]), np.array([-30.0, 85.0, 2.0])
    pmra, pmdec = np.array([-500.0, 1200.0, 900.0]), np.array([300.0, -800.0, 0.0])
    moved = directions_after(ra, dec, pmra, pmdec, -16.0)
    start = SkyCoord(
        ra * u.deg, dec * u.deg, pm_ra_cosdec=pmra * u.mas / u.yr, pm_dec=pmdec * u.mas / u.yr,
        distance=20 * u.pc, radial_velocity=0 * u.km / u.s, obstime=Time(2016.0, format="jyear"),
    )  # fmt: skip
    expected = start.apply_space_motion(new_obstime=Time(2000.0, format="jyear"))
    found = SkyCoord(*moved.T, representation_type="cartesian")
    # straight lines on the sky and in space part by the square of the 20 arcsec moved: a milliarcsecond
    np.testing.assert_allclose(found.separation(SkyCoord(expected.ra, expected.dec)).arcsec, 0.0, atol=0.005)


def test_a_fast_star_is_found_at_the_epoch_and_not_without_it() -> None:
    catalogue = stars(2, PMRA=[1000.0, 0.0])  # one arcsec a year
    there = 200.0 + (2000.0 - 2016.0) / 3600.0 / np.cos(np.radians(20.0))
    places = np.array([there]), np.array([20.0])
    assert SurveyStars(catalogue, "dr3").on_sky(*places, 2000.0, 1.0).tolist() == [0]
    assert SurveyStars(catalogue, "dr3").on_sky(*places, 2016.0, 1.0).tolist() == [-1]


def test_one_star_goes_to_the_nearest_of_the_places_that_claim_it() -> None:
    catalogue = stars(1)
    ra, dec = np.array([200.0002, 200.0001, np.nan]), np.array([20.0, 20.0, 20.0])
    assert SurveyStars(catalogue, "dr3").on_sky(ra, dec, 2016.0, 1.0).tolist() == [-1, 0, -1]


def test_a_list_without_identifiers_is_matched_on_the_sky(tmp_path: Path) -> None:
    path = tmp_path / "rival.csv"
    catalogue = stars(3)
    table = {"RAJ2000": catalogue["RA"][[2, 0]], "DEJ2000": catalogue["DEC"][[2, 0]], "distmod": [15.0, 10.0]}
    Table(table).write(path, format="ascii.csv")
    found = match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)
    assert found["ROW"].tolist() == [0, 2]
    np.testing.assert_allclose(found["DIST_RIVAL"], [1.0, 10.0])
    assert Quantities(ReferenceTable.open(path)).epoch == 2000.0


def test_numbers_of_another_release_are_noticed_and_matched_on_the_sky(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "old.csv"
    catalogue = stars(60)
    places = {"ra": catalogue["RA"][:40], "dec": catalogue["DEC"][:40], "dist": np.full(40, 20.0)}
    numbers = catalogue["SOURCE_ID"][:40] + 1_000_001
    numbers[:2] = catalogue["SOURCE_ID"][:2]  # some stay the same from one release to the next
    Table({"source_id": numbers, **places}).write(path, format="ascii.csv")
    found = match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)
    assert found["ROW"].tolist() == list(range(40))
    assert "2 stars match by identifier and 40 on the sky" in caplog.text
    # a list of other stars, one of which has a neighbour of ours, is no such thing
    places["ra"] = places["ra"] + np.where(np.arange(40) == 7, 0.0, 0.05)
    Table({"source_id": numbers + 10_000, **places}).write(path, format="ascii.csv", overwrite=True)
    assert len(match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)["ROW"]) == 0


@pytest.mark.parametrize("said", ["name", "text", "section"])
def test_identifiers_of_another_release_are_not_used(tmp_path: Path, caplog: Any, said: str) -> None:
    """An equal number may be another star: here the places of the list are those of the stars one row further."""
    path, catalogue = tmp_path / "list.csv", stars(3)
    numbers = [f"Gaia DR3 {number}" if said == "text" else number for number in catalogue["SOURCE_ID"][:2]]
    name = "gaia_dr3" if said == "name" else "source_id"
    Table({name: numbers, "ra": catalogue["RA"][1:], "dec": catalogue["DEC"][1:], "dist": [1.0, 2.0]}).write(path)
    file = MemberFile(path=path, kind="stream", gaia="dr3" if said == "section" else None)
    lists = [read_members("stream", file, TABLE_A1, 0.9)]
    settings = ReferencesSettings(velocity_iterations=0)

    def rows(release: Release) -> list[list[int]]:
        rival = match_rival(file, catalogue, SurveyStars(catalogue, release), 1.0)
        return [found["ROW"].tolist() for found in (rival, find_members(lists, catalogue, settings, release).columns)]

    assert rows("dr3") == [[0, 1]] * 2
    assert "Gaia DR" not in caplog.text
    assert rows("dr4") == [[1, 2]] * 2
    assert f"{path}: SOURCE_ID is of Gaia DR3, the survey of Gaia DR4" in caplog.text


def test_identifiers_of_dr4_match_a_survey_of_dr4_only(tmp_path: Path, caplog: Any) -> None:
    path, catalogue = tmp_path / "list.csv", stars(2)
    Table({"Gaia": [f"Gaia DR4 {number}" for number in catalogue["SOURCE_ID"]], "dist": [1.0, 2.0]}).write(path)
    file = ReferenceFile(path=path)
    assert match_rival(file, catalogue, SurveyStars(catalogue, "dr4"), 1.0)["ROW"].tolist() == [0, 1]
    assert "Gaia DR" not in caplog.text
    assert len(match_rival(file, catalogue, SurveyStars(catalogue, "dr3"), 1.0)["ROW"]) == 0
    assert "SOURCE_ID is of Gaia DR4, the survey of Gaia DR3" in caplog.text


def test_a_list_that_does_not_say_its_release_is_used_for_dr4_with_a_warning(tmp_path: Path, caplog: Any) -> None:
    path, catalogue = tmp_path / "list.csv", stars(2)
    Table({"source_id": catalogue["SOURCE_ID"], "dist": [1.0, 2.0]}).write(path)
    found = match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr4"), 1.0)
    assert found["ROW"].tolist() == [0, 1]
    assert f"{path}: SOURCE_ID does not say its Gaia release, taken as Gaia DR4" in caplog.text


def test_positions_of_a_list_have_the_epoch_of_its_release(tmp_path: Path) -> None:
    """A star of one arcsec a year is 1.5 arcsec further in DR4 than in DR3."""
    path, catalogue = tmp_path / "list.csv", stars(1, PMDEC=[1000.0])
    Table({"gaia_dr4": [7], "ra": [200.0], "dec": [20.0 + 1.5 / 3600], "dist": [1.0]}).write(path)
    assert match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 0.1)["ROW"].tolist() == [0]
    assert (
        len(match_rival(ReferenceFile(path=path, epoch=2016.0), catalogue, SurveyStars(catalogue, "dr3"), 0.1)["ROW"])
        == 0
    )


def test_absolute_magnitudes_of_a_rival_use_our_apparent_ones(tmp_path: Path) -> None:
    path = tmp_path / "rival.csv"
    catalogue = stars(2)
    Table({"source_id": catalogue["SOURCE_ID"][1:], "M_G": [0.9]}).write(path, format="ascii.csv")
    found = match_rival(ReferenceFile(path=path), catalogue, SurveyStars(catalogue, "dr3"), 1.0)
    assert found["ROW"].tolist() == [1]
    assert found["DIST_RIVAL"][0] == pytest.approx(10.0)  # 16.0 - 0.1 - 0.9 = 15.0


# Velocities


def test_velocities_are_clipped_at_two_standard_deviations_of_each_system() -> None:
    # nine at 0 and one at 10: mean 1, standard deviation 3, so 10 is 3 sigma away and the others a third
    one = np.append(np.zeros(9), 10.0)
    two = np.array([100.0, 102.0])  # mean 101, sigma 1: both stay
    vrad, system = np.concatenate([one, two, [np.nan]]), np.repeat(["a", "b"], [10, 3])
    kept = velocity_clip(vrad, system, 2.0, 1)
    assert kept.tolist() == [True] * 9 + [False, True, True, False]
    assert velocity_clip(vrad, system, 3.1, 1)[9]
    assert velocity_clip(vrad, system, 2.0, 0).all()  # no clip keeps all, those without velocity too


def test_iterations_go_on_until_nothing_changes() -> None:
    # the 1000 hides the 40 at first: mean 86.7, sigma 264 of twelve stars
    vrad = np.append(np.tile([-1.0, 1.0], 5), [40.0, 1000.0])
    system = np.full(12, "a")
    assert velocity_clip(vrad, system, 2.0, 1).tolist() == [True] * 11 + [False]
    assert velocity_clip(vrad, system, 2.0, 2).tolist() == [True] * 10 + [False] * 2
    assert velocity_clip(vrad, system, 2.0, 50).sum() == 10


# Members


def lists(tmp_path: Path, catalogue: dict[str, np.ndarray]) -> list[Any]:
    """Write and read lists: a cluster of stars 0 to 5, blue stars 4 to 9, a stream of stars 8 to 11."""
    folder = tmp_path / "members"
    (folder / "clusters").mkdir(parents=True)
    source = catalogue["SOURCE_ID"]
    probability = [1.0, 0.95, 0.9, 0.89, np.nan, 1.0]
    Table({"source_id": source[:6], "memberprob": probability}).write(
        folder / "clusters" / "NGC_6205.txt", format="ascii.tab"
    )
    fitsio.write(
        str(folder / "MWS_BHB.fits"),
        {"TARGETID": catalogue["TARGETID"][4:10], "DIST": np.array([1.0, 2.0, 3.0, np.nan, 5.0, 6.0])},
    )
    fitsio.write(str(folder / "sgr.fits"), {"source_id": source[8:12], "dist": np.full(4, 30.0)})
    (folder / "README.txt.md").write_text("no table")
    (folder / "broken.csv").write_text("a\n1\n")
    references = References(ReferencesSettings(), "dr3", tmp_path)
    found = references.members()
    assert [unread.place for unread in references.unread] == ["broken.csv"]
    return found


def test_a_star_belongs_to_one_system_and_counts_add_up(tmp_path: Path) -> None:
    catalogue = stars(12)
    settings = ReferencesSettings(velocity_iterations=0)
    members = find_members(lists(tmp_path, catalogue), catalogue, settings, "dr3")
    by_system = {name: members.columns["ROW"][members.columns["SYSTEM"] == name].tolist() for name in
                 ("NGC 6205", "Sagittarius", "BHB")}  # fmt: skip
    assert by_system == {"NGC 6205": [0, 1, 2, 4, 5], "Sagittarius": [8, 9, 10, 11], "BHB": [6]}
    np.testing.assert_allclose(members.columns["DIST_REF"][members.columns["SYSTEM"] == "NGC 6205"], 7.419)
    probability = dict(zip(members.columns["ROW"], members.columns["PROBABILITY"], strict=True))
    # The stream's list gives none, and the cluster's none for star 4.
    assert {row: probability[row] for row in (0, 1, 2, 4, 9)} == {0: 1.0, 1: 0.95, 2: 0.9, 4: 1.0, 9: 1.0}
    counts = {count.system: count for count in members.counts}
    assert counts["NGC 6205"][2:] == (5, 5, 0, 0, 0, 5)  # one of six is not probable enough
    assert counts["BHB"][2:] == (6, 6, 4, 1, 0, 1)  # two in the cluster, two in the stream, one without distance
    for count in members.counts:
        assert count.matched == count.elsewhere + count.without_distance + count.clipped + count.kept


def test_velocities_cut_members_and_are_counted(tmp_path: Path) -> None:
    vrad = np.zeros(12)
    vrad[8:12] = [0.0, 0.0, np.nan, 1.0]
    catalogue = stars(12, VRAD=vrad)
    members = find_members(lists(tmp_path, catalogue), catalogue, ReferencesSettings(), "dr3")
    counts = {count.system: count for count in members.counts}
    assert (counts["Sagittarius"].clipped, counts["Sagittarius"].kept) == (1, 3)  # the one without a velocity


def test_a_system_of_unknown_distance_needs_one(tmp_path: Path) -> None:
    path = tmp_path / "Terzan_8.txt"
    Table({"source_id": [1]}).write(path, format="ascii.tab")
    with pytest.raises(InputError, match="a system of known distance, found Terzan 8"):
        read_members("Terzan 8", MemberFile(path=path, kind="cluster"), TABLE_A1, 0.9)
    found = read_members("Terzan 8", MemberFile(path=path, kind="cluster", distance=27.5), TABLE_A1, 0.9)
    assert found.columns["DIST_REF"].tolist() == [27.5]


def test_a_whole_publication_of_lists_names_the_systems_of_unknown_distance_once(tmp_path: Path) -> None:
    folder = tmp_path / "members" / "clusters"
    folder.mkdir(parents=True)
    for name in ("NGC_6205_M_13", "Terzan_8", "Arp_2"):
        Table({"source_id": [1], "memberprob": [1.0]}).write(folder / f"{name}.txt", format="ascii.tab")
    references = References(ReferencesSettings(), "dr3", tmp_path)
    assert [set(members.columns["SYSTEM"]) for members in references.members()] == [{"NGC 6205"}]
    (unread,) = references.unread
    assert unread.message.startswith(
        "2 lists are of systems whose distance is not known (Arp 2, Terzan 8): name a table"
    )
    table = tmp_path / "more.csv"
    table.write_text("name,distance\nArp 2,28.7\nTerzan 8,27.5\n")
    references = References(ReferencesSettings(systems=ReferenceFile(path=table)), "dr3", tmp_path)
    assert len(references.members()) == 3
    table.write_text("name,distance\nArp 2,28.7\nTerzan 8,27.5\nNGC 6205,1.0\n")
    (cluster,) = (m for m in references.members() if set(m.columns["SYSTEM"]) == {"NGC 6205"})
    assert cluster.columns["DIST_REF"][0] == 7.419  # Table A1 goes before
    assert references.unread == []


def test_what_the_configuration_names_must_be_readable(tmp_path: Path) -> None:
    named = {"x": MemberFile(path=tmp_path / "nowhere.csv", kind="dwarf")}
    with pytest.raises(InputError, match=r"nowhere.csv: expected a table, found no file"):
        References(ReferencesSettings(members=named), "dr3").members()
    (problem,) = References(ReferencesSettings(members=named), "dr3").problems()
    assert "found no file" in problem
    Table({"x": [1]}).write(tmp_path / "bare.csv", format="ascii.csv")
    bare = ReferencesSettings(rivals={"bare": ReferenceFile(path=tmp_path / "bare.csv")})
    (problem,) = References(bare, "dr3").problems()
    assert "expected SOURCE_ID, TARGETID, or RA and DEC, found the columns x" in problem


def test_files_that_the_configuration_names_are_not_read_twice(tmp_path: Path) -> None:
    (tmp_path / "rivals").mkdir()
    path = tmp_path / "rivals" / "xue.csv"
    Table({"source_id": stars(1)["SOURCE_ID"], "distmod": [15.0]}).write(path, format="ascii.csv")
    named = ReferencesSettings(rivals={"Xue et al. 2014": ReferenceFile(path=path)})
    assert list(References(named, "dr3", tmp_path).rivals(stars(1))) == ["Xue et al. 2014"]
    assert list(References(ReferencesSettings(), "dr3", tmp_path).rivals(stars(1))) == ["xue"]
    assert References(named, "dr3", tmp_path).files == [path]


def test_dwarfs_come_from_their_table(tmp_path: Path) -> None:
    path = tmp_path / "members" / "dwarfs" / "draco_1.dat"
    path.parent.mkdir(parents=True)
    Table({"source_id": [3], "mem_fixed": [0.99]}).write(path, format="ascii.commented_header")
    (found,) = References(ReferencesSettings(), "dr3", tmp_path).members()
    assert (found.file.kind, found.columns["SYSTEM"].tolist()) == ("dwarf", ["Draco"])
    assert found.columns["DIST_REF"].tolist() == [DWARFS[0].distance]


# Formats in which lists are published


SOURCES = [4418642906513912320, 4418649984620034048]
PLACES = [("10.5", "-20.25", "5.0"), ("11.5", "-21.25", "6.0")]


def rows(delimiter: str) -> str:
    return "".join(delimiter.join((str(source), *place)) + "\n" for source, place in zip(SOURCES, PLACES, strict=True))


VIZIER = (
    "#\n#   VizieR Astronomical Server\n#Table\tJ_MNRAS_000_0000_table:\n#Column\tRAJ2000\t(F11.7)\tRA\t[ucd=pos]\n\n"
    "GaiaDR3\tRAJ2000\tDEJ2000\tDist\n \tdeg\tdeg\tkpc\n-------------------\t----------\t----------\t-----\n"
)
BYTES = """--------------------------------------------------------------------------------
   Bytes Format Units  Label   Explanations
--------------------------------------------------------------------------------
   1- 19 I19    ---    GaiaDR3 Identifier
  21- 24 F4.1   deg    RAdeg   Right ascension
  26- 31 F6.2   deg    DEdeg   Declination
  33- 35 F3.1   kpc    Dist    ?=-999.0 Distance
--------------------------------------------------------------------------------
"""
MACHINE_READABLE = (
    "Title: Distances\nAuthors: None\nTable: Stars\n"
    + "=" * 80
    + "\nByte-by-byte Description of file: table1.dat\n"
    + BYTES
)
GAIA_BULK = """# %ECSV 1.0
# ---
# delimiter: ','
# datatype:
# - {name: source_id, datatype: int64}
# - {name: ra, unit: deg, datatype: float64}
# - {name: dec, unit: deg, datatype: float64}
# - {name: dist, unit: kpc, datatype: float64}
source_id,ra,dec,dist
"""
IPAC = r"""\origin = 'IRSA'
|source_id          |ra    |dec    |dist  |
|long               |double|double |double|
|                   |deg   |deg    |kpc   |
|null               |null  |null   |null  |
 4418642906513912320 10.5   -20.25  5.0
 4418649984620034048 11.5   -21.25  6.0
"""
FIXED = (
    "#\n# VizieR\n#\nGaiaDR3             RAJ2000 DEJ2000 Dist\n                    deg     deg     kpc\n"
    "------------------- ------- ------- ----\n4418642906513912320    10.5  -20.25  5.0\n"
    "4418649984620034048    11.5  -21.25  6.0\n"
)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hash and tabs.txt", "# source_id\tra\tdec\tdist\n" + rows("\t")),
        ("hash with tabs, rows with blanks.txt", "# source_id\tra\tdec\tdist\n" + rows(" ")),
        ("comments.txt", "# Stars of a cluster\n# made in 2021\n#source_id ra dec dist\n" + rows("  ")),
        ("packed.txt.gz", "# source_id ra dec dist\n" + rows(" ")),
        ("units in a comment.txt", "# source_id ra dec dist\n# --- deg deg kpc\n" + rows(" ")),
        ("units in brackets.dat", "source_id ra dec dist\n [deg] [deg] [kpc]\n" + rows(" ")),
        ("units.csv", "source_id,ra,dec,dist\n,deg,deg,kpc\n" + rows(",")),
        ("comments.csv", "# made by hand\nsource_id,ra,dec,dist\n" + rows(",")),
        ("of numpy.csv", "# source_id,ra,dec,dist\n" + rows(",")),
        ("mark.csv", "\ufeff# made by hand\r\n\r\nsource_id,ra,dec,dist\r\n" + rows(",").replace("\n", "\r\n")),
        ("minus.csv", "source_id,ra,dec,dist\n" + rows(",").replace("-", "\N{MINUS SIGN}")),
        ("minus.txt", "source_id ra dec dist\n" + rows(" ").replace("-", "\N{MINUS SIGN}")),
        ("vizier.tsv", VIZIER + rows("\t") + "\n#END#\n"),
        ("vizier.ssv.txt", VIZIER.replace("\t", ";") + rows(";")),
        ("fixed.txt", FIXED),
        ("machine readable.txt", MACHINE_READABLE + rows(" ")),
        ("bulk.csv.gz", GAIA_BULK + rows(",")),
        ("frame.txt", "=========\nsource_id ra dec dist\n---------\n" + rows(" ") + "=========\n"),
        ("types.rdb.txt", "source_id\tra\tdec\tdist\n20N\tN\tN\tN\n" + rows("\t")),
        ("ipac.tbl.txt", IPAC),
        ("bars.txt", "| source_id | ra | dec | dist |\n" + "".join(f"| {row} |\n" for row in rows(" | ").splitlines())),
        (
            "bulk.ecsv",
            GAIA_BULK.replace("','", "' '").replace("source_id,ra,dec,dist", "source_id ra dec dist") + rows(" "),
        ),
    ],
)
def test_text_is_read_as_it_is_published(tmp_path: Path, name: str, content: str) -> None:
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    quantities = Quantities(ReferenceTable.open(tmp_path / name))
    found = quantities.read("SOURCE_ID", "RA", "DEC")
    assert found["SOURCE_ID"].tolist() == SOURCES
    assert found["RA"].tolist() == [10.5, 11.5]
    assert found["DEC"].tolist() == [-20.25, -21.25]
    assert quantities.distance()[0].tolist() == [5.0, 6.0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", FIXED.replace("6.0", "")),
        ("a.txt", MACHINE_READABLE + rows(" ").replace("6.0", "   ")),
        ("a.csv", GAIA_BULK + rows(",").replace("6.0", "null")),
        ("a.tsv", VIZIER + rows("\t").replace("6.0", "    ")),
        ("a.txt", "# source_id ra dec dist\n" + rows(" ").replace("6.0", "---")),
    ],
)
def test_what_a_published_text_leaves_out_is_missing(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    np.testing.assert_array_equal(Quantities(ReferenceTable.open(tmp_path / name)).distance()[0], [5.0, np.nan])


HOURS = """--------------------------------------------------------------------------------
   Bytes Format Units  Label   Explanations
--------------------------------------------------------------------------------
   1-  2 I2     h      RAh     Hour
   4-  5 I2     min    RAm     Minute
   7- 10 F4.1   s      RAs     Second
  12     A1     ---    DE-     Sign
  13- 14 I2     deg    DEd     Degree
  16- 17 I2     arcmin DEm     Arcminute
  19- 22 F4.1   arcsec DEs     Arcsecond
--------------------------------------------------------------------------------
15 18 33.2 -00 04 51.6
15 18 33.2 +02 04 51.6
"""


@pytest.mark.parametrize(
    "content",
    [
        MACHINE_READABLE.replace(BYTES, HOURS),
        'Name\tRAJ2000\tDEJ2000\n \t"h:m:s"\t"d:m:s"\n----\t----------\t---------\n'
        "a\t15 18 33.2\t-00 04 51.6\nb\t15 18 33.2\t+02 04 51.6\n",
        "# name ra2000 RAJ2000 DEJ2000\na 1 15:18:33.2 -00:04:51.6\nb 1 15:18:33.2 +02:04:51.6\n",
        "ra,dec\n15:18:33.2,-0:04:51.6\n15:18:33.2,2:04:51.6\n",
    ],
)
def test_positions_in_hours_and_minutes_are_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(content)
    found = Quantities(ReferenceTable.open(path)).read("RA", "DEC")
    np.testing.assert_allclose(found["RA"], 15 * (15 + 18 / 60 + 33.2 / 3600))
    np.testing.assert_allclose(found["DEC"], [-(4 / 60 + 51.6 / 3600), 2 + 4 / 60 + 51.6 / 3600])


def test_names_in_the_encoding_of_older_archives_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("name,distance\nBoötes I,60\n".encode("latin-1"))
    assert read_systems(ReferenceFile(path=tmp_path / "a.csv"))[0].name == "Boötes I"


def test_units_in_a_text_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in (
        "# source_id ra dec dist\n# --- deg deg pc\n" + rows(" "),
        "source_id,ra,dec,dist\n,deg,deg,pc\n" + rows(","),
        VIZIER.replace("kpc", "pc") + rows("\t"),
        GAIA_BULK.replace("kpc", "pc") + rows(","),
        FIXED.replace("kpc", "pc"),
    ):
        path.write_text(content)
        assert Quantities(ReferenceTable.open(path)).distance()[0].tolist() == [0.005, 0.006]
    parquet = tmp_path / "a.parquet"
    Table({"source_id": SOURCES, "dist": [5.0, 6.0] * u.pc}).write(parquet)
    assert Quantities(ReferenceTable.open(parquet)).distance()[0].tolist() == [0.005, 0.006]


@pytest.mark.parametrize("name", ["table1.dat", "table1.dat.gz"])
def test_a_table_without_names_is_read_by_its_read_me(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(rows(" ").encode()) if name.endswith(".gz") else rows(" ").encode())
    with pytest.raises(InputError, match=r"names of the columns, found rows without one.*the ReadMe"):
        ReferenceTable.open(path)
    other = MACHINE_READABLE.replace("table1", "other").replace("GaiaDR3", "Nothing")
    (tmp_path / "ReadMe").write_text(other + "\n" + MACHINE_READABLE)
    assert Quantities(ReferenceTable.open(path)).read("SOURCE_ID")["SOURCE_ID"].tolist() == SOURCES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found an empty file. Copy or download it again"),
        (b"<!DOCTYPE html>\n<html>Not found</html>", "found a web page.*download the file again"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "found another format. Convert it"),
        (b"source_id,ra\n1,2,3\n", "one name.*'source_id,ra' above '1,2,3'. Correct the line of names"),
        (b"source_id,ra\n1,2\n3\n", "as many values in every row.*got 1: 3. Correct the row"),
        (b"source_id ra\n1 2\n3\n", "as many values in every row.*Correct the row"),
        (gzip.compress(rows(",").encode(), mtime=0)[:40], "an unreadable file.*Copy or download it again"),
    ],
)
def test_what_is_wrong_with_a_text_is_said_with_what_helps(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        ReferenceTable.open(tmp_path / "a.csv").read(["ra"])


def test_a_list_without_rows_is_read(tmp_path: Path) -> None:
    for content in ("source_id,ra,dec,name\n", "# source_id ra dec memberprob\n"):
        (tmp_path / "a.txt").write_text(content)
        found = read_members("NGC 5904", MemberFile(path=tmp_path / "a.txt", kind="cluster"), TABLE_A1, 0.9)
        assert len(found.columns["SYSTEM"]) == 0


def test_names_that_differ_by_case_alone_are_told_apart_in_fits(tmp_path: Path) -> None:
    columns = [fits.Column("Source", "K", array=SOURCES)]
    for name, value in (("rgeo", 5000.0), ("b_rgeo", 4500.0), ("B_rgeo", 6000.0)):
        columns.append(fits.Column(name, "D", "pc", array=[value, value]))
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "a.fits")
    columns = [fits.Column("Source", "I20", array=np.array(SOURCES))]
    for name, value in (("rgeo", 5000.0), ("b_rgeo", 4500.0), ("B_rgeo", 6000.0)):
        columns.append(fits.Column(name, "F10.3", "pc", array=np.array([value, value])))
    fits.TableHDU.from_columns(columns).writeto(tmp_path / "text.fits")
    for name in ("a.fits", "text.fits"):
        quantities = Quantities(ReferenceTable.open(tmp_path / name))
        assert quantities.read("SOURCE_ID")["SOURCE_ID"].tolist() == SOURCES
        distance, error = quantities.distance()
        assert (distance.tolist(), error.tolist()) == ([5.0, 5.0], [0.75, 0.75])


@pytest.mark.parametrize("form", ["fits", "vot"])
def test_of_several_tables_that_with_the_quantities_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"a.{form}"
    tables = [Table({"a": [1, 2, 3]}), Table({"source_id": SOURCES, "dist": [5.0, 6.0]}), Table({"mine": [7.0]})]
    if form == "fits":
        fits.HDUList([fits.PrimaryHDU(), *map(fits.table_to_hdu, tables)]).writeto(path)
    else:
        whole = votable.from_table(tables[0])
        whole.resources.extend(votable.from_table(table).resources[0] for table in tables[1:])
        whole.to_xml(str(path))
    assert Quantities(ReferenceTable.open(path)).distance()[0].tolist() == [5.0, 6.0]
    assert Quantities(ReferenceTable.open(path, ["mine"]), {"DIST": "mine"}).distance()[0].tolist() == [7.0]


@pytest.mark.parametrize("tag", ["STREAM", "v:STREAM"])
def test_no_link_of_a_votable_is_followed(tmp_path: Path, tag: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.array([(5, 7.25)], dtype=">i8, >f8").tobytes())
    votable_text = (
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3" '
        'xmlns:v="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        '<FIELD name="source_id" datatype="long"/><FIELD name="dist" datatype="double"/>'
        f'<DATA><BINARY><{tag} href="file://{secret}"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>'
    )
    for name in ("a.vot", "a.csv", "a.vot.gz"):
        data = votable_text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        with pytest.raises(
            InputError, match=f"{name}: expected a VOTable that contains its data, found a link.*No other file"
        ):
            ReferenceTable.open(tmp_path / name)
    (tmp_path / "none.vot").write_text(
        '<VOTABLE><RESOURCE><INFO name="QUERY_STATUS" value="ERROR"/></RESOURCE></VOTABLE>'
    )
    with pytest.raises(InputError, match="expected a VOTable with a table, found none"):
        ReferenceTable.open(tmp_path / "none.vot")


# What columns mean


@pytest.mark.parametrize(
    ("columns", "distance", "error"),
    [
        ({"r_med_photogeo": 5000.0, "r_lo_photogeo": 4500.0, "r_hi_photogeo": 5500.0}, 5.0, 0.5),
        ({"rpgeo": 5000.0, "b_rpgeo": 4500.0, "B_rpgeo": 5500.0}, 5.0, 0.5),
        # bounds go with their own distance
        ({"r_med_geo": 5000.0, "r_lo_photogeo": 4500.0, "r_hi_photogeo": 5500.0}, 5.0, np.nan),
        ({"dist16": 4.0, "dist50": 5.0, "dist84": 7.0}, 5.0, 1.5),
        ({"distance_gspphot": 5000.0, "distance_gspphot_lower": 4000.0, "distance_gspphot_upper": 6000.0}, 5.0, 1.0),
        ({"weighted_dist": 5000.0, "weighted_dist_error": 100.0}, 5.0, 0.1),
        # without a unit and an error it may be the separation of a search on the sky
        ({"dist": 0.3, "r_med_geo": 5000.0}, 5.0, np.nan),
        ({"dist": 5.0, "dist_err": 1.0, "r_med_geo": 9000.0}, 5.0, 1.0),
        ({"dist": 5.0}, 5.0, np.nan),
        # lower case, as some servers give it: one bound is no interval
        ({"rgeo": 5000.0, "b_rgeo": 4000.0}, 5.0, np.nan),
    ],
)
def test_names_of_distances_and_of_their_bounds(
    tmp_path: Path, columns: dict[str, float], distance: float, error: float
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",".join(["source_id", *columns]) + "\n" + ",".join(map(str, [1, *columns.values()])) + "\n")
    found = Quantities(ReferenceTable.open(path)).distance()
    np.testing.assert_allclose([values[0] for values in found], [distance, error])


@pytest.mark.parametrize("name", ["mu", "DM", "Mg"])
def test_names_with_two_meanings_need_a_unit(tmp_path: Path, name: str, caplog: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"source_id,{name}\n1,15.0\n")
    with pytest.raises(InputError, match="expected a distance"):
        Quantities(ReferenceTable.open(path)).distance(np.array([15.0]))
    assert "without a unit is not taken" in caplog.text
    quantity = "M_G" if name == "Mg" else "DISTMOD"
    assert np.isfinite(Quantities(ReferenceTable.open(path), {quantity: name}).distance(np.array([15.0]))[0])


@pytest.mark.parametrize("name", ["Prob", "proba", "P_sat", "PSAT", "Pmem"])
def test_probabilities_have_many_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "NGC_5904.csv"
    path.write_text(f"source_id,{name}\n1,0.99\n2,0.1\n")
    members = read_members("NGC 5904", MemberFile(path=path, kind="cluster"), TABLE_A1, 0.9)
    assert members.columns["SOURCE_ID"].tolist() == [1]


def test_names_of_gaia_dr2_are_no_identifiers_of_dr3(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Gaia,dist\nGaia DR2 4418642906513912320,1\nGaia DR3 4418642906513912320,1\n")
    found = Quantities(ReferenceTable.open(path)).read("SOURCE_ID")["SOURCE_ID"]
    assert found.tolist() == [0, 4418642906513912320]


def test_null_identifiers_of_fits_are_missing(tmp_path: Path) -> None:
    column = fits.Column("source_id", "K", null=-7, array=np.array([SOURCES[0], -7]))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "a.fits")
    found = Quantities(ReferenceTable.open(tmp_path / "a.fits")).read("SOURCE_ID")["SOURCE_ID"]
    assert found.tolist() == [SOURCES[0], 0]


@pytest.mark.parametrize("kind", ["cluster", "stream"])
def test_a_column_of_names_of_stars_does_not_name_systems(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "NGC_5904.csv"
    names = [f"M5-{k}" for k in range(6)]
    Table({"source_id": np.arange(1, 7), "name": names, "dist": np.full(6, 7.0)}).write(path)
    assert set(read_members("NGC 5904", MemberFile(path=path, kind=kind), TABLE_A1, 0.9).columns["SYSTEM"]) == {
        "NGC 5904"
    }
    Table({"source_id": np.arange(1, 7), "name": ["N5904", "Pal5"] * 3}).write(path, overwrite=True)
    found = read_members("both", MemberFile(path=path, kind="cluster"), TABLE_A1, 0.9)
    assert set(found.columns["SYSTEM"]) == {"NGC 5904", "Pal 5"}


def test_lists_lie_where_the_archives_unpack_them(tmp_path: Path) -> None:
    folder = tmp_path / "members" / "Clusters" / "catalogues"
    folder.mkdir(parents=True)
    (folder / "NGC_104_47Tuc.txt").write_text("# source_id\tmemberprob\n1\t1.0\n")
    table = tmp_path / "more.csv"
    table.write_text("name,distance\nNGC 104,4.5\n")
    references = References(ReferencesSettings(systems=ReferenceFile(path=table)), "dr3", tmp_path)
    (found,) = references.members()
    assert (found.file.kind, found.columns["SYSTEM"].tolist()) == ("cluster", ["NGC 104"])
