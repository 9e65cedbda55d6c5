"""Section 5: criteria by hand, and what the validation says of a sample whose binaries are known."""

import numpy as np
import pytest
from scipy.stats import norm

from specdis import binaries, validation
from specdis.distances import Targets, star_keys
from specdis.flags import Flag
from specdis.photometry import geometric_magnitude
from specdis.validation.binaries import measure_binaries
from specdis.validation.calibration import measure_calibration
from synthetic_catalogue import catalogue, injected
from synthetic_spectra import model


def test_eq_6_by_hand():
    # Twins are twice as bright; a mass ratio of 0.8 gives 1 + 0.512.
    np.testing.assert_allclose(
        binaries.magnitude_excess([0.0, 0.8, 1.0]), [0.0, 2.5 * np.log10(1.512), 0.75257], atol=1e-5
    )


def test_a_binary_is_probable_and_brighter_than_its_spectrum():
    found = binaries.is_binary(
        np.array([0.71, 0.7, 0.9, np.nan, 0.9]), np.full(5, 5.0), np.array([4.4, 4.4, 5.1, 4.4, np.nan]), 0.7
    )
    assert found.tolist() == [True, False, False, False, False]


def test_eq_10_by_hand():
    found = binaries.is_significant(np.full(3, 5.0), np.full(3, 0.3), np.array([4.49, 4.51, 5.6]), np.full(3, 0.4))
    assert found.tolist() == [True, False, False]


def test_columns_of_binaries_say_where_the_model_does_not_apply():
    nan = np.nan
    found = binaries.classify(
        probability=np.array([0.9, 0.2, 0.9, nan, 0.1, 0.1, 0.9]),
        m_g_nn=np.array([5.0, 5.0, 1.0, 5.0, 1.0, 5.0, nan]),
        m_g_geo=np.array([4.4, 5.0, 0.9, 4.4, 1.0, nan, 4.4]),
        logg=np.array([4.5, 4.5, 2.0, 4.5, nan, nan, 4.5]),
        settings=binaries.BinariesSettings(),
    )
    # Without a magnitude of the label nothing can be compared with the parallax: neither single nor binary.
    assert found["BINARY_FLAG"].tolist() == [0, 1, 0, -1, 1, 1, -1]
    possible = np.array([0.9, 0.2, 0.9, nan, 0.1, 0.1, 0.9], np.float32)
    np.testing.assert_array_equal(found["BINARY_POSSIBILITY"], possible)
    outside = int(Flag.BINARY_OUTSIDE_DOMAIN)
    assert found["FLAGS"].tolist() == [0, 0, outside, 0, outside, 0, 0]


# -- measured ----------------------------------------------------------------------------------------------------------


def sample(stars=4000):
    """Return dwarfs of precise parallax: 30 % binaries 0.7 mag too bright, nine of ten called so, and no mistakes."""
    columns, truth = catalogue(stars)
    binary = np.arange(stars) % 10 < 3
    called = binary & (np.arange(stars) % 100 < 90)
    noise = 0.05 * np.random.default_rng(1).standard_normal(stars)
    columns |= {
        "LOGG": np.full(stars, 4.4, np.float32),
        "PARALLAX": np.full(stars, 0.97),
        "PARALLAX_ERR": np.full(stars, 0.02, np.float32),
        "M_G_NN_CHI2": np.full(stars, 5.0),
        "M_G_GEO": 5.0 - 0.7 * binary + noise,
        "M_G_NN_MIX": np.full(stars, 4.9),
        "BINARY_FLAG": np.where(called, 0, 1).astype("i2"),
        "BINARY_POSSIBILITY": np.where(called, 0.9, 0.1).astype("f4"),
        "HELD_OUT": np.ones(stars, bool),
    }
    identifier = {name: columns[name] for name in ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")}
    truth = identifier | {"BINARY_TRUE": binary, "MASS_RATIO": np.where(binary, 0.95, np.nan)}
    return columns, truth, injections(identifier)


def injections(identifier):
    """Return an injected companion of every star, nine of ten of which are found, and one false alarm in fifty."""
    row = np.arange(len(identifier["TARGETID"]))
    return identifier | {"MASS_RATIO": np.full(len(row), 0.9), "FOUND": row % 10 > 0, "FALSE_ALARM": row % 50 == 0}


def test_fraction_completeness_and_corrected_fraction_by_hand():
    columns, truth, added = sample()
    found = measure_binaries(columns, added, truth, 0.7)
    assert found["n_binaries"] == found["n_binaries_precise"] == 0.27 * 4000
    whole = found["all"]
    assert (whole["n"], whole["fraction"], whole["completeness"]) == (4000, pytest.approx(0.27), pytest.approx(0.9))
    assert whole["false_alarms"] == pytest.approx(0.02)
    assert whole["completeness_twins"] == pytest.approx(0.9)
    assert whole["fraction_corrected"] == pytest.approx((0.27 - 0.02) / (0.9 - 0.02))
    # Binomial: sqrt(0.27 0.73 / 4000) = 0.0070, known to a tenth from 50 resamples.
    assert whole["fraction_err"] == pytest.approx(0.0070, rel=0.4)


def test_purity_completeness_and_scatter_against_truth_by_hand():
    columns, truth, added = sample()
    columns["BINARY_FLAG"][5] = 0  # a single star that is called a binary
    found = measure_binaries(columns, added, truth, 0.7)["truth"]["all"]
    assert found["n_found"] == 1081
    assert found["purity"] == pytest.approx(1080 / 1081)
    assert found["completeness"] == pytest.approx(0.9)
    assert found["false_alarms"] == pytest.approx(1 / 2800)
    assert found["fraction_true"] == pytest.approx(0.3)
    assert found["scatter_without_found_mag"] < found["scatter_all_mag"]
    assert found["scatter_singles_mag"] == pytest.approx(0.05, rel=0.05)


def test_what_is_fainter_than_its_spectrum_is_counted_apart():
    columns, _, added = sample()
    columns["BINARY_POSSIBILITY"][[5, 6, 7]] = 0.9  # single, and
    columns["M_G_GEO"][[5, 6, 7]] = [5.3, 11.0, 11.0]  # fainter than 5
    columns["PHOT_BP_MEAN_MAG"][[5, 6, 7]] = columns["PHOT_RP_MEAN_MAG"][[5, 6, 7]] + np.array([1.0, 0.1, 1.0])
    columns["SN"][[5, 6, 7]] = [5.0, 50.0, 50.0]
    found = measure_binaries(columns, added, None, 0.7)
    assert found["share_below_diagonal"] == pytest.approx(3 / 1083)
    assert found["share_white_dwarfs_below_diagonal"] == pytest.approx(1 / 3)
    assert found["share_low_snr_below_diagonal"] == pytest.approx(1 / 3)


def test_giants_and_poor_parallaxes_take_no_part_in_fractions():
    columns, truth, added = sample()
    columns["LOGG"][:1000] = 2.0
    columns["PARALLAX_ERR"][1000:2000] = 0.2
    assert measure_binaries(columns, added, truth, 0.7)["all"]["n"] == 2000


def test_coverage_of_the_mixture_before_and_after_recalibration_by_hand():
    columns, _ = catalogue(2000)
    stars = 2000
    k = np.random.default_rng(2).standard_normal(stars)
    true = np.full(stars, 2.0)
    columns |= {
        "SN": np.full(stars, 30.0, np.float32),
        "LOGG": np.full(stars, 4.4, np.float32),
        "HELD_OUT": np.ones(stars, bool),
        "CALIBRATION": np.arange(stars) < 500,
        "DIST_MIX": 2.0 * 10 ** (0.2 * 0.3 * k),
        "M_G_NN_ERR_MIX": np.full(stars, 0.3, np.float32),
        "MIX_STRETCH": np.full(stars, 2.0, np.float32),
        "MIX_SHIFT": np.zeros(stars, np.float32),
        "PARALLAX": np.full(stars, 0.5 - 0.03),
        "PARALLAX_ERR": np.full(stars, 0.001, np.float32),
    }
    cell = next(cell for cell in measure_calibration(columns, true) if cell["n"])
    assert cell["n"] == 1500
    # 68.3 and 38.3 per cent, known to 1.2 per cent.
    for kind in ("", "_gaia"):
        assert cell[f"coverage68{kind}_after"] == pytest.approx(0.683, abs=0.04)
        assert cell[f"coverage68{kind}_before"] == pytest.approx(0.383, abs=0.04)
    assert "coverage68_after" not in next(iter(measure_calibration(columns, None)))


def test_both_estimators_stand_beside_each_other():
    columns, truth = catalogue(2000)
    found = validation.metrics(columns, truth, injected=injected(columns))["truth"]["estimators"]
    chi2, mix = (found[name]["by_distance"][1] for name in ("chi2", "mix"))
    # The mixture's distances are those of the label times 10^-0.01.
    assert mix["median"] == pytest.approx((1 + chi2["median"]) * 10**-0.01 - 1)
    assert mix["n"] == chi2["n"] > 50


def stars_at_half_a_kpc(stars):
    """Return stars of G = 14 and M_G = 5.5, their parallaxes known to 0.1 mas."""
    columns = [np.full(stars, value) for value in (14.0, 2.0, 0.1, 50.0)]
    return Targets(*columns, np.full(stars, -1), star_keys(1, np.arange(stars)))


def test_an_injected_companion_makes_a_star_brighter_where_it_is():
    alone = stars_at_half_a_kpc(2)
    pair = alone.brighter(np.array([0.0, 0.75]))
    np.testing.assert_array_equal(pair.parallax, alone.parallax)
    geometric, _ = geometric_magnitude(pair.parallax, np.nan, pair.magnitude)
    # 14 + 5 log10(2 / 100) = 5.505.
    np.testing.assert_allclose(geometric, [5.505, 4.755], atol=0.001)


def test_an_injected_single_star_has_the_parallax_of_its_magnitude_and_its_error():
    chance = norm.cdf([0.0, 1.0, -2.0])
    moved = stars_at_half_a_kpc(3).with_parallax_of(np.full(3, 4.0), chance)
    # 10^((4 - 14 + 10) / 5) = 1 mas.
    np.testing.assert_allclose(moved.parallax, [1.0, 1.1, 0.8], atol=1e-9)
    np.testing.assert_array_equal(moved.magnitude, 14.0)


def test_injected_single_stars_are_drawn_from_the_fainter_gaussians_of_all_networks():
    stars = 4000
    trained, random = model(), np.random.default_rng(2)
    inputs = np.tile(random.standard_normal((1, 10)).astype(np.float32), (stars, 1))
    chances = random.uniform(size=(2, stars))
    drawn = trained.single_magnitude(inputs, stars_at_half_a_kpc(stars), *chances)
    pairs = trained.networks.binaries.held_out_mixture(inputs[:1], np.array([-1], np.int32))
    weight, mean, sigma = (np.asarray(values[0, :, 0], float) for values in pairs)
    weight = np.exp(weight) / np.exp(weight).sum()
    expected = (weight * norm.cdf(np.sort(drawn)[:, None], mean, sigma)).sum(1)
    # The largest difference of two distributions, four times its typical size for as many draws.
    assert abs(expected - (np.arange(stars) + 0.5) / stars).max() < 4 * 0.5 / np.sqrt(stars)
