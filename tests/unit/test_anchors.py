"""Stars of known distance: their errors, their parallaxes, and the sides that they are on."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from specdis.anchors import AnchorsSettings, anchor_columns, anchored, is_anchor
from specdis.jaxed import jax
from specdis.network.mixture import Mixture, ParallaxInErrors, log_probabilities
from specdis.sample import SampleSettings
from specdis.sample.split import split

SETTINGS = AnchorsSettings(use="both")
MEMBERS = {
    "ROW": np.array([7, 2, 3, 9, 5]),
    "SYSTEM": np.array(["NGC 5024", "NGC 5024", "Draco", "BHB", "Sagittarius"]),
    "KIND": np.array(["cluster", "cluster", "dwarf", "bhb", "stream"]),
    "DIST_REF": np.array([18.5, 18.5, 75.8, 40.0, 25.0]),
    "DIST_REF_ERR": np.array([0.18, 0.18, 5.4, np.nan, 2.5]),
    "PROBABILITY": np.ones(5),
}


def test_columns_hold_modulus_error_and_system():
    found = anchor_columns(MEMBERS, 10, SETTINGS)
    anchors = is_anchor(found)
    assert np.flatnonzero(anchors).tolist() == [2, 3, 5, 7, 9]
    assert found["ANCHOR_DISTMOD"][2] == pytest.approx(5 * np.log10(18500 / 10))
    # One per cent is 0.022 mag, less than the least error; 7 and 10 per cent; and the usual error where none is given.
    expected = [0.05, 5 / np.log(10) * 5.4 / 75.8, 5 / np.log(10) * 0.1, 0.05, 0.2]
    np.testing.assert_allclose(found["ANCHOR_DISTMOD_ERR"][anchors], expected)
    group = found["ANCHOR_GROUP"]
    assert group[2] == group[7] > 0
    assert len({group[2], group[3], group[5]}) == 3
    assert group[9] == 0
    assert (group[~anchors] == 0).all()
    few = anchor_columns(MEMBERS, 10, AnchorsSettings(use="both", kinds=("dwarf",)))
    assert np.flatnonzero(is_anchor(few)).tolist() == [3]


def test_a_probable_member_counts_with_its_probability():
    """The likelihood of its modulus is raised to that power; who is surely none is no anchor."""
    found = anchor_columns({**MEMBERS, "PROBABILITY": np.array([1.0, 0.5, 0.9, 1.0, 0.0])}, 10, SETTINGS)
    assert np.flatnonzero(is_anchor(found)).tolist() == [2, 3, 7, 9]
    sure = anchor_columns(MEMBERS, 10, SETTINGS)
    off = np.linspace(-0.3, 0.3, 7)

    def fall(columns, star):
        error = columns["ANCHOR_DISTMOD_ERR"][star]
        return norm.logpdf(off, 0, error) - norm.logpdf(0, 0, error)

    for star, probability in ((7, 1.0), (2, 0.5), (3, 0.9)):
        np.testing.assert_allclose(fall(found, star), probability * fall(sure, star))


def stars(count, **columns):
    """Return stars with parallaxes of 0.1 mas within 0.05, without anchors unless columns say otherwise."""
    nothing = np.full(count, np.nan)
    return {
        "PARALLAX_CORRECTED": np.full(count, 0.1),
        "PARALLAX_ERROR_USED": np.full(count, 0.05),
        "A_G_ERR": np.zeros(count),
        "ANCHOR_DISTMOD": nothing,
        "ANCHOR_DISTMOD_ERR": nothing,
    } | columns


def test_an_anchor_is_a_better_parallax_combined_with_its_own():
    given = stars(3, ANCHOR_DISTMOD=np.array([np.nan, 15.0, 20.0]), ANCHOR_DISTMOD_ERR=np.array([np.nan, 0.1, 0.1]))
    parallax, error = anchored(given)
    assert (parallax[0], error[0]) == (0.1, 0.05)
    # 10 kpc and 100 kpc within 4.6 per cent, beside 0.1 +- 0.05 mas.
    for star, kpc in ((1, 10.0), (2, 100.0)):
        known, known_error = 1 / kpc, 0.0460517 / kpc
        weight = known_error**-2, 0.05**-2
        assert parallax[star] == pytest.approx((weight[0] * known + weight[1] * 0.1) / sum(weight), rel=1e-6)
        assert error[star] == pytest.approx(sum(weight) ** -0.5, rel=1e-5)
    dusty = anchored(given | {"A_G_ERR": np.full(3, 0.2)})[1]
    assert dusty[2] == pytest.approx(0.01 * np.log(10) / 5 * np.hypot(0.1, 0.2), rel=1e-3)
    assert dusty[0] == 0.05


@pytest.mark.parametrize("error", [0.05, 0.1, 0.2])
def test_the_likelihood_of_an_anchor_is_that_of_its_modulus(error):
    """Of magnitudes spread by 0.3 mag about 0.2: a Gaussian in modulus and the parallax agree to first order."""
    modulus, magnitude, spread = 18.0, 17.5, 0.3
    given = stars(1, ANCHOR_DISTMOD=np.array([modulus]), ANCHOR_DISTMOD_ERR=np.array([error]))
    given["PARALLAX_ERROR_USED"][:] = 1e3  # its own parallax says nothing
    data = ParallaxInErrors.of(np.array([magnitude]), *anchored(given))
    found = []
    for mean in (-0.8, -0.5, -0.2):
        one = Mixture(*(np.array([[value]], np.float32) for value in (0.0, mean, spread)))
        found.append(float(jax.nn.logsumexp(log_probabilities(one, data), axis=-1)[0]))
    exact = [
        np.log(quad(lambda m, mean=mean: norm.pdf(m, mean, spread) * norm.pdf(m, magnitude - modulus, error), -3, 3)[0])
        for mean in (-0.8, -0.5, -0.2)
    ]
    # To second order the parallax is skewed: half of the squared relative error over the spread, 0.5 (0.46 e)^2 mag.
    difference = np.diff(found) - np.diff(exact)
    np.testing.assert_allclose(difference, 0, atol=1.5 * error**2 / spread**2 * 0.3 + 0.01)


def test_a_system_is_on_one_side_of_every_split():
    count, random = 4000, np.random.default_rng(1)
    group = np.where(np.arange(count) < 1000, 1 + np.arange(count) % 20, 0) * 7919
    given = {
        "SOURCE_ID": random.permutation(count) + 1,
        "TARGETID": np.arange(count),
        "SELECTED": np.ones(count, bool),
        "G_0": np.full(count, 15.0),
        "PARALLAX_CORRECTED": np.full(count, 1.0),
        "PARALLAX_ERROR_USED": np.full(count, 0.1),
        "PARALLAX_ERROR": np.full(count, 0.1),
        "ANCHOR_GROUP": group,
    }
    found = split(given, SampleSettings(n_folds=5), 1)
    folds = [np.unique(found["FOLD"][group == name]) for name in np.unique(group[group > 0])]
    assert {len(fold) for fold in folds} == {1}
    assert len({int(fold[0]) for fold in folds}) == 5
    assert found["HELD_OUT"].all()
    without = split(
        {name: values for name, values in given.items() if name != "ANCHOR_GROUP"}, SampleSettings(n_folds=5), 1
    )
    others = group == 0
    np.testing.assert_array_equal(found["FOLD"][others], without["FOLD"][others])
