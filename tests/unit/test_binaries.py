"""Section 5: criteria by hand, and what the validation says of a sample whose binaries are known."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from specdis import binaries, validation
from specdis.colours import Bands
from specdis.companions import STEEPNESS
from specdis.distances.targets import Targets, star_keys
from specdis.flags import Flag
from specdis.photometry import geometric_magnitude
from specdis.validation.binaries import measure_binaries, most_likely_fraction
from specdis.validation.calibration import measure_calibration
from synthetic_catalogue import catalogue, injected
from synthetic_spectra import model


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
        "PARALLAX_ERR_USED": np.full(stars, 0.02, np.float32),
        "M_G_NN_LABEL": np.full(stars, 5.0),
        "M_G_GEO": 5.0 - 0.7 * binary + noise,
        "M_G_NN_PAIR": np.full(stars, 4.9),
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
    flags = {"FOUND": row % 10 > 0, "FALSE_ALARM": row % 50 == 0}
    steepness = np.where(row // 50 % 2, *STEEPNESS)
    return identifier | {"MASS_RATIO": np.full(len(row), 0.9), "STEEPNESS": steepness, **flags}


def measure(columns, added, truth, **settings):
    return measure_binaries(columns, added, truth, binaries.BinariesSettings(**settings))


def test_fraction_completeness_and_most_likely_fraction_by_hand():
    columns, truth, added = sample()
    found = measure(columns, added, truth)
    assert found["n_binaries"] == found["n_binaries_precise"] == found["n_probable_held_out"] == 0.27 * 4000
    whole = found["all"]
    assert (whole["n"], whole["fraction"], whole["completeness"]) == (4000, pytest.approx(0.27), pytest.approx(0.9))
    assert whole["false_alarms"] == pytest.approx(0.02)
    by_ratio = {cell["ratio_min"]: cell for cell in found["by_mass_ratio"]}
    assert by_ratio[0.9]["completeness"] == pytest.approx(0.9)
    assert by_ratio[0.8]["n"] == 0
    assert whole["fraction_err"] == pytest.approx(np.sqrt(0.27 * 0.73 / 4000))
    # The number called is that of f 0.9 + (1 - f) 0.02; the errors of 4,000 injected stars add a little.
    assert whole["fraction_corrected"] == pytest.approx((0.27 - 0.02) / 0.88, abs=0.002)
    exact = np.sqrt(0.27 * 0.73 / 4000) / 0.88
    assert exact < whole["fraction_corrected_err"] < 1.3 * exact


def test_the_likelihood_of_few_stars_is_that_of_the_binomial_distribution():
    _, _, added = sample(20_000)
    for called in (12, 0):
        value, error = most_likely_fraction(
            called, 50, [added["FOUND"][::2], added["FOUND"][1::2]], added["FALSE_ALARM"]
        )
        f = np.linspace(0, 1, 100_001)
        likelihood = binom.pmf(called, 50, 0.02 + f * 0.88)
        inside = f[likelihood > likelihood.max() * np.exp(-0.5)]
        best = f[likelihood.argmax()]
        assert value == pytest.approx(best, abs=0.005)
        assert error == pytest.approx(max(best - inside[0], inside[-1] - best), rel=0.05)


def test_the_two_main_sequences_bound_completeness_and_widen_the_error():
    columns, _, added = sample()
    row = np.arange(4000)
    apart = added | {"FOUND": np.where(added["STEEPNESS"] == STEEPNESS[0], row % 10 > 0, row % 2 > 0)}
    whole = measure(columns, apart, None)["all"]
    assert whole["completeness"] == pytest.approx(0.7)
    # 0.4 between the two, spread evenly.
    assert whole["completeness_err"] == pytest.approx(0.4 / np.sqrt(12), rel=0.01)
    low, high = 0.25 / 0.88, 0.25 / 0.48
    assert low < whole["fraction_corrected"] < high
    assert whole["fraction_corrected_err"] > 0.1 * (high - low)


@pytest.mark.parametrize("found", [0.02, 0.024])
def test_a_fraction_that_cannot_be_measured_is_missing(found):
    columns, truth, added = sample()
    row = np.arange(4000)
    none = added | {"FOUND": row % 1000 < 1000 * found, "FALSE_ALARM": row % 50 == 0}
    assert np.isnan(measure(columns, none, truth)["all"]["fraction_corrected"])


def test_the_fraction_of_evolved_stars_is_missing_and_has_no_part_in_that_of_all():
    columns, truth, added = sample()
    columns["LOGG"][:1000] = 4.0
    columns["BINARY_FLAG"][:1000] = 0
    found = measure(columns, added, truth)
    assert (found["all"]["n"], found["all"]["n_main_sequence"], found["all"]["n_injected"]) == (4000, 3000, 3000)
    assert found["all"]["fraction_corrected"] == pytest.approx((0.27 - 0.02) / 0.88, abs=0.002)
    evolved = next(cell for cell in found["by_parameter"]["LOGG"] if cell["LOGG_min"] == 3.8)
    assert (evolved["n"], evolved["fraction"]) == (1000, 1.0)
    assert np.isnan(evolved["fraction_corrected"])


def test_stars_do_not_count_where_not_even_equal_companions_are_found():
    columns, truth, added = sample()
    columns["M_G_NN_LABEL"][:1000] = 9.4
    added["FOUND"][:1000] = added["FOUND"][:1000] & (np.arange(1000) % 3 == 0)
    columns["BINARY_FLAG"][:1000] = 1
    whole = measure(columns, added, truth)
    assert (whole["all"]["n"], whole["all"]["n_main_sequence"], whole["all"]["n_injected"]) == (4000, 3000, 3000)
    assert whole["all"]["fraction_corrected"] == pytest.approx((0.27 - 0.02) / 0.88, abs=0.002)
    assert whole["truth"]["all"]["fraction_true"] == pytest.approx(np.nanmean(truth["MASS_RATIO"][1000:] > 0.5))


def test_stars_that_trained_a_network_take_no_part():
    columns, truth, added = sample()
    columns["HELD_OUT"][:2000] = False
    columns["M_G_NN_LABEL"][:2000] = columns["M_G_GEO"][:2000]  # learned by heart
    found = measure(columns, added, truth)
    assert found["n_binaries_precise"] == 0.27 * 4000  # but in the counts
    assert found["all"]["n"] == found["truth"]["all"]["n"] == 2000
    blocks = [cell["all"]["n"] for cell in found["scatter_by_snr"]]
    models = [cell["label"]["n"] for cell in found["models_by_magnitude"]]
    assert sum(blocks) == sum(models) == 2000


def test_the_least_parallax_snr_and_the_error_in_use_decide_which_stars_count():
    columns, truth, added = sample()
    columns["PARALLAX_ERR_USED"][:1000] = 0.2  # a corrected parallax of 1 mas: S/N 5, whatever was published
    assert measure(columns, added, truth)["all"]["n"] == 3000
    assert measure(columns, added, truth, parallax_snr_min=4.0)["all"]["n"] == 4000
    assert measure(columns, added, truth, parallax_snr_min=60.0)["all"]["n"] == 0


def test_purity_completeness_and_scatter_against_truth_by_hand():
    columns, truth, added = sample()
    columns["BINARY_FLAG"][5] = 0  # a single star that is called a binary
    found = measure(columns, added, truth)["truth"]["all"]
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
    found = measure(columns, added, None)
    assert found["share_below_diagonal"] == pytest.approx(3 / 1083)
    assert found["share_white_dwarfs_below_diagonal"] == pytest.approx(1 / 3)
    assert found["share_low_snr_below_diagonal"] == pytest.approx(1 / 3)


def test_giants_and_poor_parallaxes_take_no_part_in_fractions():
    columns, truth, added = sample()
    columns["LOGG"][:1000] = 2.0
    columns["PARALLAX_ERR_USED"][1000:2000] = 0.2
    assert measure(columns, added, truth)["all"]["n"] == 2000


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
        "PARALLAX_ERR_USED": np.full(stars, 0.001, np.float32),
    }
    cell = next(cell for cell in measure_calibration(columns, true)["by_snr_and_logg"] if cell["n"])
    assert cell["n"] == 1500
    # 68.3 and 38.3 per cent, known to 1.2 per cent.
    for kind in ("", "_gaia_informing"):
        assert cell[f"coverage68{kind}_after"] == pytest.approx(0.683, abs=0.04)
        assert cell[f"coverage68{kind}_before"] == pytest.approx(0.383, abs=0.04)
    assert np.isnan(cell["coverage68_gaia_others_after"])
    assert "coverage68_after" not in measure_calibration(columns, None)["by_feh"][0]


def test_coverage_by_predicted_magnitude_and_metallicity_shows_where_it_does_not_hold():
    columns, _ = catalogue(3000)
    random = np.random.default_rng(3)
    bright, poor = np.arange(3000) % 2 == 0, np.arange(3000) % 3 == 0
    # Quoted errors that are half of the true ones where bright, and twice these where metal-poor.
    k = random.standard_normal(3000) * np.where(bright, 2.0, 1.0) * np.where(poor, 0.5, 1.0)
    columns |= {
        "HELD_OUT": np.ones(3000, bool),
        "CALIBRATION": np.zeros(3000, bool),
        "M_G_NN_MIX": np.where(bright, 0.5, 5.5),
        "FEH": np.where(poor, -1.7, -0.2).astype(np.float32),
        "DIST_MIX": 2.0 * 10 ** (0.2 * 0.3 * k),
        "M_G_NN_ERR_MIX": np.full(3000, 0.3, np.float32),
        # Parallaxes ten times worse than predicted ones: whatever was predicted, they are within their errors.
        "PARALLAX": 0.5 - 0.03 + 1.0 * random.standard_normal(3000),
        "PARALLAX_ERR_USED": np.full(3000, 1.0, np.float32),
    }
    found = measure_calibration(columns, np.full(3000, 2.0))
    by_magnitude = {cell["magnitude_min"]: cell for cell in found["by_magnitude"] if cell["n"]}
    by_feh = {cell["feh_min"]: cell for cell in found["by_feh"] if cell["n"]}
    gauss = [2 * norm.cdf(x) - 1 for x in (0.5, 1.0, 2.0)]
    # Of 1,500 stars, two thirds are metal-rich.
    assert by_magnitude[0.0]["coverage68_after"] == pytest.approx((2 * gauss[0] + gauss[1]) / 3, abs=0.05)
    assert by_magnitude[5.0]["coverage68_after"] == pytest.approx((2 * gauss[1] + gauss[2]) / 3, abs=0.05)
    assert by_feh[-2.0]["coverage68_after"] == pytest.approx((gauss[1] + gauss[2]) / 2, abs=0.06)
    assert by_feh[-0.5]["coverage68_after"] == pytest.approx((gauss[0] + gauss[1]) / 2, abs=0.05)
    for cell in by_feh.values():
        assert cell["coverage68_gaia_others_after"] == pytest.approx(gauss[1], abs=0.06)
        assert np.isnan(cell["coverage68_gaia_informing_after"])


def test_both_estimators_stand_beside_each_other():
    columns, truth = catalogue(2000)
    found = validation.metrics(columns, validation.Known(truth), injected=injected(columns))["truth"]["estimators"]
    label, mixture = (found[name]["by_distance"][1] for name in ("label", "mixture"))
    # The mixture's distances are those of the label times 10^-0.01.
    assert mixture["median"] == pytest.approx((1 + label["median"]) * 10**-0.01 - 1)
    assert mixture["n"] == label["n"] > 50


def stars_at_half_a_kpc(stars):
    """Return stars of G = 14 and M_G = 5.5, their parallaxes known to 0.1 mas."""
    columns = [np.full(stars, value) for value in (14.0, 0.0, 2.0, 0.1, 50.0, -1.0)]
    return Targets(*columns, np.full(stars, -1), star_keys(1, np.arange(stars)), Bands.none(stars))


def test_an_injected_companion_makes_a_star_brighter_where_it_is():
    alone = stars_at_half_a_kpc(2)
    pair = alone.brighter(np.array([0.0, 0.75]))
    np.testing.assert_array_equal(pair.parallax, alone.parallax)
    geometric, _ = geometric_magnitude(pair.parallax, np.nan, pair.magnitude)
    # 14 + 5 log10(2 / 100) = 5.505.
    np.testing.assert_allclose(geometric, [5.505, 4.755], atol=0.001)


def test_an_injected_single_star_has_the_parallax_of_its_magnitude():
    moved = stars_at_half_a_kpc(2).with_parallax_of(np.array([4.0, 9.0]))
    # 10^((M - 14 + 10) / 5) mas.
    np.testing.assert_allclose(moved.parallax, [1.0, 10.0], rtol=1e-9)
    np.testing.assert_array_equal(moved.magnitude, 14.0)


def test_mass_ratios_are_even_with_an_excess_of_twins():
    random = np.random.default_rng(3)
    ratio = binaries.mass_ratios(*random.uniform(size=(2, 100_000)), twin_fraction=0.2)
    assert (ratio.min() >= 0.5) & (ratio.max() <= 1)
    # 0.8 of them evenly over ten bins, the last of which has the other 0.2 too; five binomial errors.
    share = np.histogram(ratio, np.linspace(0.5, 1, 11))[0] / len(ratio)
    np.testing.assert_allclose(share, np.append(np.full(9, 0.08), 0.28), atol=0.007)


def test_singles_are_drawn_as_they_scatter_whatever_binaries_there_are():
    random = np.random.default_rng(4)
    # Errors with the tails of spurious parallaxes; a third of the stars has a companion and is 2 to 5 errors brighter.
    scatter = random.standard_normal(60_000) * np.where(random.random(60_000) < 0.05, 5.0, 1.0)
    observed = scatter - np.where(random.random(60_000) < 0.33, random.uniform(2, 5, 60_000), 0.0)
    drawn = binaries.draw_singles(
        observed, np.full(60_000, 5.0), np.full(60_000, 0.1), *random.uniform(size=(2, 60_000))
    )
    levels = [0.005, 0.02, 0.16, 0.5, 0.84, 0.98, 0.995]
    # Binaries with much scatter reach the faint side too: a tenth of the width.
    np.testing.assert_allclose(np.quantile(drawn, levels), 5 + 0.1 * np.quantile(scatter, levels), rtol=0.02)
    assert np.isnan(binaries.draw_singles(np.array([-1.0]), np.zeros(1), np.ones(1), np.zeros(1), np.zeros(1))).all()


def test_magnitudes_of_the_pair_are_those_of_all_networks():
    trained, random = model(), np.random.default_rng(2)
    inputs = random.standard_normal((5, 10)).astype(np.float32)
    found = trained.pair_magnitudes(inputs, stars_at_half_a_kpc(5))
    pairs = trained.networks.binaries.held_out_mixture(inputs, np.full(5, -1, np.int32))
    weight, mean, sigma = (np.asarray(values, float) for values in pairs)
    weight = np.exp(weight)
    place = np.linspace(-40, 40, 400_001)
    for star in range(5):
        density = [
            (
                weight[star, ..., parts].ravel()[:, None]
                * norm.pdf(place, *(x[star, ..., parts].ravel()[:, None] for x in (mean, sigma)))
            ).sum(0)
            for parts in (slice(0, 2), slice(0, 1))
        ]
        below = np.cumsum(density[0]) / density[0].sum()
        assert found.median[star] == pytest.approx(
            place[np.searchsorted(below, 0.5)], abs=0.03
        )  # points a quarter of a width apart
        share = density[1] / density[1].sum()
        middle = (share * place).sum()
        assert found.single[star] == pytest.approx(middle, abs=1e-3)
        assert found.sigma[star] == pytest.approx(np.sqrt((share * (place - middle) ** 2).sum()), rel=1e-3)
