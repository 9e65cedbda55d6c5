"""Published lists through the readers: what they say of distances, and of each other."""

from __future__ import annotations

import numpy as np
import pytest

from real_data import REAL
from specdis.references import (
    TABLE_A1,
    MemberFile,
    Quantities,
    ReferenceFile,
    References,
    ReferencesSettings,
    ReferenceTable,
    find_members,
    read_members,
    read_systems,
)
from specdis.references.quantities import horizontal_branch_distance

MEMBERS = REAL / "members"
ZERO_POINT = -0.04
"""Gaia's parallaxes of faint stars are too small by some 0.04 mas (Lindegren et al. 2021)."""

pytestmark = pytest.mark.skipif(not MEMBERS.is_dir(), reason=f"real data not in {MEMBERS}: set SPECDIS_REAL_DATA")


def table(name: str) -> ReferenceTable:
    return ReferenceTable.open(MEMBERS / name)


def mean_parallax(parallax: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    weight = 1.0 / error**2
    return float(np.sum(weight * parallax) / weight.sum()), float(weight.sum() ** -0.5)


@pytest.fixture(scope="module")
def streamfinder() -> dict[str, np.ndarray]:
    """Return stars of 87 streams (Ibata et al. 2024) as a catalogue to be searched."""
    found = Quantities(table("streamfinder_gaiadr3.fits")).read(
        "SOURCE_ID", "RA", "DEC", "PMRA", "PMDEC", "VRAD", "PHOT_G_MEAN_MAG", "NAME"
    )
    parallax = table("streamfinder_gaiadr3.fits").read(["plx"])["plx"]
    return {**found, "PARALLAX": parallax, "TARGETID": np.arange(len(parallax))}


def test_the_folder_s_lists_are_found_by_themselves() -> None:
    references = References(ReferencesSettings(), "dr3", REAL)
    lists = {members.file.path.name: members for members in references.members()}
    assert lists["pal5_members_gaia.ecsv"].file.kind == "cluster"
    assert set(lists["pal5_members_gaia.ecsv"].columns["SYSTEM"]) == {"Pal 5"}
    assert lists["bhb_segue_barbosa2022.csv"].file.kind == "bhb"
    assert {unread.place for unread in references.unread} >= {"streamfinder_streams.csv"}


def test_pal_5_lies_where_table_a1_puts_it() -> None:
    quantities = Quantities(table("pal5_members_gaia.ecsv"))
    found = quantities.table.read(["parallax", "e_parallax", "g"])
    probable = quantities.read("PROBABILITY")["PROBABILITY"] > 0.9
    assert probable.sum() == 277
    parallax, error = mean_parallax(found["parallax"][probable], found["e_parallax"][probable])
    # 0.042 +- 0.010 mas; 1 / 21.94 kpc less the zero point is 0.006: three and a half sigma at most
    assert parallax == pytest.approx(1 / 21.941 + ZERO_POINT, abs=3.6 * error)
    absolute = found["g"][probable] - 16.706 - 0.12  # modulus of 21.94 kpc, A_G of E(B-V) = 0.057
    # from the tip of the giant branch down to the main-sequence turn-off of an old cluster, where Gaia ends
    assert -3.5 < absolute.min() < 0.0
    assert 3.0 < np.median(absolute) < 3.6
    assert absolute.max() < 4.5


def test_identifiers_of_pal_5_have_lost_digits_and_its_stars_are_found_on_the_sky(
    streamfinder: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    everybody = ReferencesSettings(probability_min=0.0, velocity_iterations=0)
    file = MemberFile(path=MEMBERS / "pal5_members_gaia.ecsv", kind="cluster")
    members = read_members("Pal 5", file, TABLE_A1, everybody.probability_min)
    assert "SOURCE_ID" not in members.columns
    assert "were stored as floats" in caplog.text
    found = find_members([members], streamfinder, everybody, "dr3")
    rows = found.columns["ROW"]
    assert len(rows) == 2  # of the stream that Ibata et al. found around the cluster, which they left out
    assert set(streamfinder["NAME"][rows]) == {"61"}  # Pal 5's
    quantities = Quantities(table("pal5_members_gaia.ecsv"))
    theirs = quantities.table.read(["source_id"])["source_id"]
    assert np.all(np.abs(theirs[:, None] - streamfinder["SOURCE_ID"][rows]).min(axis=0) < 512)  # but for those digits


def test_streams_have_the_parallaxes_of_their_distances(streamfinder: dict[str, np.ndarray]) -> None:
    columns = {"NAME": "SF3 Stream Index", "DIST": "Distance_kpc"}
    systems = read_systems(ReferenceFile(path=MEMBERS / "streamfinder_streams.csv", columns=columns))
    assert len(systems) == 22
    file = MemberFile(path=MEMBERS / "streamfinder_gaiadr3.fits", kind="stream")
    members = read_members("streams", file, systems, 0.9)
    known = np.isfinite(members.columns["DIST_REF"])
    assert (known.sum(), len(known)) == (7771, 24540)
    z = 10 ** (0.4 * (streamfinder["PHOT_G_MEAN_MAG"] - 15))
    error = 1e-3 * np.sqrt(40 + 800 * z + 30 * z**2)  # the list gives none: ESA's science performance, by magnitude
    ratio = []
    for system in systems:
        rows = members.columns["SYSTEM"] == system.name
        ratio.append(mean_parallax(streamfinder["PARALLAX"][rows], error[rows])[0] * system.distance)
    # a stream has no single distance, and that of Kwando is of another part of it: 0.017 mas at 8.2 kpc
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.abs(np.array(ratio) - 1) < 0.5) > 0.7


def test_distances_of_segue_horizontal_branch_stars_are_in_kpc_and_agree_with_their_colours() -> None:
    quantities = Quantities(table("bhb_segue_barbosa2022.csv"))
    distance, error = quantities.distance()
    assert len(distance) == 5699
    assert (distance.min(), distance.max()) == pytest.approx((3.6, 91.7), abs=0.1)
    assert np.median(error / distance) < 0.03
    listed = quantities.table.read(["gr", "abs_mag_gr"])
    # a star at 10 kpc of their colour and absolute magnitude, through our relation for colours
    g = 15.0 + listed["abs_mag_gr"]
    flux = (10 ** (0.4 * (22.5 - magnitude)) for magnitude in (g, g - listed["gr"]))
    ours = horizontal_branch_distance(*flux, np.zeros(len(g)))
    offset = 5 * np.log10(ours / 10.0)
    assert np.isfinite(offset).sum() == 4816
    # theirs is another polynomial: 0.04 mag brighter than that of Deason et al. (2011), 0.03 mag of scatter
    assert np.nanmedian(offset) == pytest.approx(-0.04, abs=0.01)
    assert np.nanstd(offset) < 0.06


def test_segue_stars_are_matched_to_none_of_the_streams(streamfinder: dict[str, np.ndarray]) -> None:
    file = MemberFile(path=MEMBERS / "bhb_segue_barbosa2022.csv", kind="bhb")
    found = find_members([read_members("BHB", file, TABLE_A1, 0.9)], streamfinder, ReferencesSettings(), "dr3")
    # Its probabilities are in per cent: 4930 of the 5699 have 90 or more.
    assert (found.counts[0].listed, found.counts[0].matched) == (4930, 0)


def test_benchmark_stars_have_bailer_jones_distances_in_parsec() -> None:
    quantities = Quantities(table("gaia_benchmark_v3_lite.fits"), {"SOURCE_ID": "source_id_gaiadr3"})
    distance, _ = quantities.distance()
    parallax = quantities.table.read(["parallax"])["parallax"]
    known = np.isfinite(distance) & np.isfinite(parallax)
    assert known.sum() > 100
    np.testing.assert_allclose(np.median(distance[known] * parallax[known]), 1.0, rtol=0.01)


def test_velocities_of_keck_are_those_of_table_a1() -> None:
    path = MEMBERS / "deimos_satellites.txt"  # a machine-readable table of the AAS (Geha et al. 2026)
    quantities = Quantities(ReferenceTable.open(path))
    rows = len(quantities.read("RA")["RA"])
    missing = {name: np.zeros(rows) for name in ("PMRA", "PMDEC")} | {"SOURCE_ID": np.zeros(rows, dtype=np.int64)}
    catalogue = missing | {"TARGETID": np.arange(1, rows + 1)} | quantities.read("RA", "DEC", "VRAD")
    settings = ReferencesSettings()
    members = read_members("DEIMOS", MemberFile(path=path, kind="cluster"), TABLE_A1, settings.probability_min)
    found = find_members([members], catalogue, settings, "dr3").columns
    systems = [system for system in TABLE_A1 if system.name in {*found["SYSTEM"]}]
    assert len(systems) == 14
    for system in systems:
        velocity = np.median(catalogue["VRAD"][found["ROW"][found["SYSTEM"] == system.name]])
        assert velocity == pytest.approx(system.vrad, abs=2.0), system.name
