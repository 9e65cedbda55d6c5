"""Numbers against stars of known distance, against rivals and against goals, on samples made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Galactocentric, SkyCoord

from specdis import validation
from specdis.flags import Flag
from specdis.references import System
from specdis.validation import external, measures, paper, population, rivals
from specdis.validation.stars import R_SUN, galactocentric_distance
from synthetic_catalogue import Columns, catalogue, injected, members, rival


def known(count: int, **columns: Any) -> Columns:
    """Return members of one cluster at 10 kpc, predicted exactly with an error of 0.2 mag, except for `columns`."""
    values: dict[str, Any] = {
        "ROW": np.arange(count),
        "SYSTEM": "NGC 5272",
        "KIND": "cluster",
        "DIST_REF": 10.0,
        "DIST_REF_ERR": np.nan,
        "DIST": 10.0,
        "DISTERR": 0.9,
        "DISTMOD_ERR": 0.2,
        "DIST_16": 9.0,
        "DIST_84": 11.0,
        "SN": 30.0,
        "FEH": -1.5,
        "ALPHAFE": 0.3,
        "TEFF": 4800.0,
        "LOGG": 2.0,
        "PARALLAX": 0.1,
        "PARALLAX_ERR": 0.05,
        "PARALLAX_ERR_USED": 0.05,
        "HELD_OUT": True,
        "CALIBRATION": False,
        "PARALLAX_ZPC": 0.0,
        "FLAGS": 0,
    }
    return {name: np.broadcast_to(value, count).copy() for name, value in (values | columns).items()}


def at(modulus: Any) -> Any:
    return 10.0 ** (0.2 * np.asarray(modulus) - 2.0)


# -- members -----------------------------------------------------------------------------------------------------------


def test_bias_and_scatter_of_members_by_hand() -> None:
    residual = np.array([-0.2, 0.0, 0.1, 0.3, 2.0])
    stars = known(5, DIST=at(15.0 + residual), DISTMOD_ERR=[0.2, 0.2, 0.2, 0.2, 0.6])
    found = external.measure_external(stars, [])["members"]
    assert (found["all"]["n"], found["precise"]["n"]) == (5, 4)
    assert found["all"]["median_mag"] == pytest.approx(0.1)
    assert found["all"]["scatter_mag"] == pytest.approx(1.4826 * 0.2)
    assert found["all"]["std_mag"] == pytest.approx(np.std(residual))
    assert found["precise"]["median_mag"] == pytest.approx(0.05)
    assert found["share_precise"] == pytest.approx(0.8)
    (cell,) = [cell for cell in found["by_modulus"] if cell["n"]]
    assert (cell["modulus_min"], cell["modulus_max"], cell["n"]) == (15.0, 16.0, 5)
    (cell,) = [cell for cell in found["by_parameter"]["LOGG"] if cell["n"]]
    assert (cell["LOGG_min"], cell["LOGG_max"], cell["median_mag"]) == (1.5, 2.5, pytest.approx(0.1))
    (cell,) = [cell for cell in found["by_snr"] if cell["n"]]
    assert (cell["snr_min"], cell["snr_max"]) == (20.0, 40.0)


def test_an_error_without_upper_bound_is_not_precise() -> None:
    stars = known(2, DISTMOD_ERR=[0.1, np.nan], FLAGS=[0, Flag.DRAW_NOT_POSITIVE])
    assert external.is_precise(stars).tolist() == [True, False]
    assert external.measure_external(stars, [])["members"]["all"]["median_quoted_error_mag"] == np.inf


def test_coverage_counts_the_reference_within_the_quoted_interval() -> None:
    stars = known(4, DIST_16=[9.0, 10.5, 10.0, 8.0], DIST_84=[11.0, 12.0, 12.0, np.nan])
    found = external.measure_external(stars, [])["members"]["all"]
    assert found["coverage68"] == pytest.approx(2 / 3)  # an end counts, and so does not what is not known
    assert found["coverage68_err"] == pytest.approx(np.sqrt(2 / 9 / 3))


def test_kinds_stand_apart_and_counts_are_passed_on() -> None:
    kinds, systems = ["cluster", "dwarf", "stream", "bhb", "rrlyrae"], ["a", "b", "Sagittarius", "BHB", "RR Lyrae"]
    stars = known(5, KIND=kinds, SYSTEM=systems)
    found = external.measure_external(stars, [{"system": "a", "kept": 1}])
    assert {kind: block["n"] for kind, block in found["by_kind"].items()} == dict.fromkeys(found["by_kind"], 1)
    assert (found["members"]["all"]["n"], found["bhb"]["all"]["n"]) == (3, 1)
    assert found["counts"] == [{"system": "a", "kept": 1}]
    assert [row["system"] for row in found["systems"]] == ["a", "b"]


def test_parallaxes_alone_lose_the_negative_ones() -> None:
    stars = known(4, PARALLAX=[0.2, 0.1, 0.05, -0.1], PARALLAX_ZPC=[0.0, 0.0, -0.05, np.nan])
    found = external.parallax_alone(stars)
    assert (found["n"], found["n_finite"], found["share_negative"]) == (4, 3, 0.25)
    # 1 / 0.2, 1 / 0.1 and 1 / (0.05 + 0.05) kpc
    assert found["median_mag"] == pytest.approx(0.0, abs=1e-9)


# -- calibration -------------------------------------------------------------------------------------------------------


def test_honest_errors_have_unit_scatter_and_a_flat_transform() -> None:
    random = np.random.default_rng(4)
    n, sigma, reference = 20_000, 0.3, 0.1
    error = random.normal(size=n) * np.hypot(sigma, reference)
    stars = known(n, DIST=at(15.0 + error), DISTMOD_ERR=sigma, DIST_REF_ERR=10.0 * reference * np.log(10) / 5)
    found = external.measure_external(stars, [])["members"]["all"]
    assert found["z_n"] == n
    assert found["z_scatter"] == pytest.approx(1.0, abs=0.05)  # four standard errors: 1.17 / sqrt(n) each
    assert found["z_median"] == pytest.approx(0.0, abs=4 * 1.25 / np.sqrt(n))
    assert sum(found["pit"]) == n
    np.testing.assert_allclose(found["pit"], n / 10, atol=5 * np.sqrt(0.09 * n))  # binomial


def test_errors_half_as_large_as_they_should_be_show_it() -> None:
    random = np.random.default_rng(5)
    found = measures.calibration(2.0 * random.normal(size=5000))
    assert found["z_scatter"] == pytest.approx(2.0, abs=0.15)
    assert found["pit"][0] > 2 * 500
    assert found["pit"][-1] > 2 * 500


# -- Table A1 and the stream -------------------------------------------------------------------------------------------


def test_table_a1_lists_every_system_and_others_with_members() -> None:
    stars = known(
        5,
        SYSTEM=["NGC 5272", "NGC 5272", "NGC 5272", "NGC 9999", "NGC 5272"],
        DIST_REF=[10.0, 10.0, 10.0, 4.0, 10.0],
        DIST=[9.0, 11.0, 12.0, 5.0, np.nan],
        HELD_OUT=[True, True, False, True, True],
        CALIBRATION=[True, False, False, False, True],
    )
    measured = external.measure_external(stars, [])["systems"]
    references = [
        System("NGC 5272", 0.0, 0.0, 10.0, (0.1, 0.1), source="a paper", paper_distance=11.4),
        System("Pal 5", 0.0, 0.0, 21.9, (0.4, 0.6), source="a paper", paper_distance=21.5),
    ]
    rows = external.table_a1(measured, references)
    assert [row["NAME"] for row in rows] == ["NGC 5272", "Pal 5", "NGC 9999"]
    first, without, other = rows
    assert tuple(first) == external.TABLE_A1_COLUMNS
    assert (first["N"], first["D_REF"], first["D_REF_ERR"], first["D_NN"]) == (3, 10.0, 0.1, 11.0)
    # Members without a distance count nowhere.
    assert (first["N_HELD_OUT"], first["N_RECALIBRATION"]) == (2, 1)
    assert (first["BIAS_MAG"], first["DIFFERENCE"]) == (pytest.approx(5 * np.log10(1.1)), pytest.approx(0.1))
    assert first["D_NN_ERR"] > 0
    assert first["DIFFERENCE_IN_ERRORS"] == pytest.approx(1.0 / np.hypot(first["D_NN_ERR"], 0.1))
    assert (first["D_PAPER"], first["DIFFERENCE_PAPER"]) == (11.4, pytest.approx(0.14))
    assert (without["N"], without["N_HELD_OUT"], without["D_REF_ERR"], without["SOURCE"]) == (0, 0, 0.5, "a paper")
    assert np.isnan([without[name] for name in ("D_NN", "BIAS_MAG", "DIFFERENCE", "DIFFERENCE_IN_ERRORS")]).all()
    assert without["DIFFERENCE_PAPER"] == pytest.approx(21.5 / 21.9 - 1)
    assert (other["DIFFERENCE"], other["SOURCE"]) == (pytest.approx(0.25), "list")
    assert np.isnan([other[name] for name in ("D_REF_ERR", "D_PAPER", "DIFFERENCE_PAPER")]).all()


def test_the_paper_s_own_table_is_complete() -> None:
    rows = external.table_a1([])
    assert len(rows) == 15
    off = {row["NAME"]: row["DIFFERENCE_PAPER"] for row in rows}
    assert (off["NGC 7078"], off["Sextans"]) == (pytest.approx(0.251, abs=5e-4), pytest.approx(-0.362, abs=5e-4))


def test_the_stream_is_cut_into_six_bins_of_as_many_stars() -> None:
    distance = np.linspace(20.0, 80.0, 120)
    stars = known(120, SYSTEM="Sagittarius", KIND="stream", DIST_REF=distance, DIST=distance * 10**0.02)
    bins = external.measure_external(stars, [])["stream_bins"]
    assert [cell["n"] for cell in bins] == [20] * 6
    assert [cell["median_mag"] for cell in bins] == pytest.approx([0.1] * 6)
    assert bins[0]["distance_min_kpc"] == 20.0
    assert bins[0]["mean_modulus_mag"] == pytest.approx(np.mean(5 * np.log10(distance[:20]) + 10))
    assert external.measure_external(known(5, SYSTEM="Sagittarius", KIND="stream"), [])["stream_bins"] == []


# -- rivals ------------------------------------------------------------------------------------------------------------


def test_the_bias_of_a_rival_is_found_with_its_size() -> None:
    columns, truth = catalogue(4000)
    found = validation.compare_rivals({"off": rival(columns, -0.3)}, members(columns, truth))["off"]
    n = found["difference"]["n_finite"]
    assert found["difference"]["median_mag"] == pytest.approx(-0.3, abs=4 * 0.125 / np.sqrt(n))  # median of 0.1 mag
    assert found["difference"]["scatter_mag"] == pytest.approx(0.1, abs=4 * 0.117 / np.sqrt(n))
    assert sum(cell["n_finite"] for cell in found["by_modulus"]) <= n
    theirs, ours = (found["members"][who]["median_mag"] for who in ("rival", "ours"))
    # on the same stars of known distance, so that what ours are off by cancels
    assert theirs - ours == pytest.approx(-0.3, abs=0.1)
    assert found["median_relative_error_quoted"] == pytest.approx(0.1)
    assert found["median_relative_error_ours"] > 0.05
    by_snr = found["by_snr"]
    assert sum(cell["n"] for cell in by_snr) == found["difference"]["n"]
    # the bias is the same at any S/N and any temperature: medians of 0.1 mag within five of their errors
    for cell in (*by_snr, *found["by_parameter"]["TEFF"]):
        if cell["n_finite"] >= 20:
            assert abs(cell["median_mag"] + 0.3) < 5 * 0.125 / np.sqrt(cell["n_finite"])


def test_rivals_are_held_against_the_members_that_they_have() -> None:
    stars = known(3, DIST_REF=[10.0, 20.0, 30.0], KIND=["cluster", "stream", "bhb"])
    theirs = known(3, ROW=[2, 0, 7], DIST_RIVAL=[33.0, 9.0, 1.0], DISTERR_RIVAL=1.0)
    matched = rivals.with_reference(theirs, stars)
    assert matched["ROW"].tolist() == [0, 2]
    assert matched["DIST_REF"].tolist() == [10.0, 30.0]
    found = validation.compare_rivals({"x": theirs}, stars)["x"]
    assert (found["members"]["rival"]["n"], found["bhb"]["rival"]["n"]) == (1, 1)
    assert found["members"]["rival"]["median_mag"] == pytest.approx(5 * np.log10(0.9))
    assert found["bhb"]["rival"]["median_mag"] == pytest.approx(5 * np.log10(1.1))


# -- population --------------------------------------------------------------------------------------------------------


def test_distances_from_the_centre_are_those_of_astropy() -> None:
    random = np.random.default_rng(7)
    ra, dec = random.uniform(0, 360, 50), np.degrees(np.arcsin(random.uniform(-1, 1, 50)))
    distance = 10 ** random.uniform(-1, 2, 50)
    place = SkyCoord(ra * u.deg, dec * u.deg, distance * u.kpc).transform_to(
        Galactocentric(galcen_distance=R_SUN * u.kpc, z_sun=20.8 * u.pc)
    )
    # astropy's centre is Sgr A*, 4 arcmin from l = b = 0: 0.01 kpc at 8 kpc
    np.testing.assert_allclose(
        galactocentric_distance(ra, dec, distance), place.cartesian.norm().to_value(u.kpc), atol=0.012
    )


def test_giants_are_counted_within_and_beyond_fifty_kpc_of_the_centre() -> None:
    columns, _ = catalogue(4)
    towards = {"RA": np.full(4, 266.405), "DEC": np.full(4, -28.936)}  # the centre itself
    distance = np.array([57.0, 59.0, 57.0, 57.0])
    columns |= towards | {"DIST": distance, "LOGG": np.array([2.0, 2.0, 4.5, 2.0]), "FLAGS": np.zeros(4, int)}
    columns |= {"DISTERR": np.array([1.0, 1.0, 1.0, 30.0])}
    found = population.measure_population(columns)
    assert found["n_precise_giants_within_50_kpc_of_centre"] == 1  # 57 - 8.1; the last is not precise
    assert found["n_precise_giants_beyond_50_kpc_of_centre"] == 1
    assert found["median_relative_error_giants_within_50_kpc_of_centre"] == pytest.approx((1 / 57 + 30 / 57) / 2)


# -- the paper and the verdict -----------------------------------------------------------------------------------------


def full() -> dict[str, Any]:
    columns, truth = catalogue(3000)
    theirs = {"xue2014": rival(columns, 0.0)}
    return validation.metrics(columns, validation.Known(truth, members(columns, truth), [], theirs), injected(columns))


def test_every_number_of_the_paper_has_its_own_here() -> None:
    measured = full()
    rows = {row["quantity"]: row for row in measured["paper"]}
    assert len(rows) > 50
    assert rows["members of globular clusters"]["here"] == measured["external"]["by_kind"]["cluster"]["n"]
    assert rows["scatter of the modulus of BHB stars"]["here"] == measured["external"]["bhb"]["all"]["std_mag"]
    assert rows["scatter of the modulus of BHB stars"]["robust"] == measured["external"]["bhb"]["all"]["scatter_mag"]
    assert rows["scatter of the modulus of BHB stars"]["paper"] == 0.36
    row = rows["median distance of NGC 6205 (7.4 kpc)"]
    systems = {system["system"]: system for system in measured["external"]["systems"]}
    assert (row["here"], row["paper"]) == (systems["NGC 6205"]["median_distance_kpc"], 8.99)
    row = rows["scatter on members, Xue et al."]
    theirs = measured["rivals"]["xue2014"]["members"]["rival"]
    assert row["here"] == pytest.approx(theirs["std_mag"] * np.log(10) / 5)
    assert row["here_err"] == pytest.approx(theirs["std_mag_err"] * np.log(10) / 5)
    assert np.isnan(rows["median distance of Pal 5 (21.9 kpc)"]["here"])


def test_without_members_or_rivals_the_paper_stands_alone() -> None:
    measured = validation.metrics(catalogue(300)[0])
    assert "external" not in measured
    rows = {row.quantity: row for row in (paper.PaperRow(**row) for row in measured["paper"])}
    assert np.isnan(rows["scatter of the modulus of members"].here)
    assert rows["scatter of the modulus of members"].paper == 1.0


def test_the_verdict_on_members_and_distances_is_of_stars_that_trained_no_network() -> None:
    columns, truth = catalogue(12_000)
    stars = members(columns, truth)
    # What trained is right by heart, what did not is off by a magnitude.
    wrong = {}
    for table, true in ((columns, validation.true_distance(columns, truth)), (stars, stars["DIST_REF"])):
        off = np.where(table["HELD_OUT"], 10**0.2, 1.0)
        quoted = {"DISTMOD_ERR": np.full(len(true), 0.1, np.float32), "DISTERR": 0.05 * true}
        wrong[len(true)] = table | quoted | {"DIST": true * off, "FLAGS": np.zeros(len(true), np.int32)}
    stars, columns = wrong[len(stars["DIST"])], wrong[12_000]
    found = validation.metrics(columns, validation.Known(truth, stars))
    for finding in found["verdict"][:4]:
        assert finding["answer"] == "missed", finding
    learned = columns | {"HELD_OUT": np.zeros(12_000, bool)}, stars | {"HELD_OUT": np.zeros(len(stars["DIST"]), bool)}
    found = validation.metrics(learned[0], validation.Known(truth, learned[1]))
    assert [finding["answer"] for finding in found["verdict"][:5]] == ["too few stars to tell"] * 5
