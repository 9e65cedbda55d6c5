"""Extinction, zero point and error inflation against published and independently computed numbers.

None of them was computed with this software, and a mock that shares its code could not show an error in them.
"""

import numpy as np
import pytest

from specdis.photometry import PhotometrySettings, error_inflation, extinction, relative_distance_error, zero_point

SFD = PhotometrySettings()

# A_G per unit of raw SFD98 E(B-V) from the Gaia EDR3 law, main-sequence rows, A_0 = 2.666 E(B-V)_SFD98.
BY_TEFF = {
    0.03: {4000: 2.038, 5000: 2.219, 6000: 2.357, 7000: 2.462, 8000: 2.544, 10000: 2.678},
    0.5: {4000: 1.971, 5000: 2.139, 6000: 2.265, 7000: 2.361, 8000: 2.434, 10000: 2.555},
}
BY_INTRINSIC_COLOUR = {
    0.03: {-0.2: 2.733, 0.0: 2.647, 0.5: 2.444, 0.8: 2.331, 1.0: 2.259, 1.5: 2.093, 2.5: 1.829},
    0.5: {-0.2: 2.607, 0.0: 2.528, 0.5: 2.343, 0.8: 2.239, 1.0: 2.174, 1.5: 2.023, 2.5: 1.783},
}
# Terms 1, X, X^2, X^3, A0, A0^2, A0^3, X A0, X^2 A0, X A0^2 of A_BP / A_0 and A_RP / A_0 on the ESA page.
BP = [1.15363197483424, -0.0814012991657388, -0.036013023976704, 0.0192143585568966, -0.022397548243016]
BP += [0.000840562680547171, -1.31018008013549e-05, 0.00660124080271006, -0.000882247501989453, -0.000111215755291684]
RP = [0.66320787941067, -0.0179847164933981, 0.000493769449961458, -0.00267994405695751, -0.00651422146709376]
RP += [3.30179903473159e-05, 1.57894227641527e-06, -7.9800898337247e-05, 0.000255679812110045, 1.10476584967393e-05]


@pytest.mark.parametrize("ebv_sfd", [0.03, 0.5])
def test_extinction_by_temperature(ebv_sfd):
    for teff, expected in BY_TEFF[ebv_sfd].items():
        a_g, source = extinction(0.86 * ebv_sfd, teff, np.nan, SFD)
        # Half a unit of the last digit printed.
        assert a_g / ebv_sfd == pytest.approx(expected, abs=5.1e-4)
        assert source == 0


@pytest.mark.parametrize("ebv_sfd", [0.03, 0.5])
def test_extinction_by_observed_colour(ebv_sfd):
    a_0 = 2.666 * ebv_sfd
    for x, expected in BY_INTRINSIC_COLOUR[ebv_sfd].items():
        terms = np.array([1, x, x**2, x**3, a_0, a_0**2, a_0**3, x * a_0, x**2 * a_0, x * a_0**2])
        observed = x + a_0 * (np.dot(BP, terms) - np.dot(RP, terms))
        a_g, source = extinction(0.86 * ebv_sfd, np.nan, observed, SFD)
        assert a_g / ebv_sfd == pytest.approx(expected, abs=5.1e-4)
        assert source == 1


def test_true_reddening_is_not_scaled_by_the_law():
    # E(B-V)_SFD98 of 0.03 is a true one of 0.0258: the law sees A_0 = 3.1 times the true one.
    a_g, _ = extinction(0.0258, 6000.0, np.nan, SFD)
    assert a_g / 0.0258 == pytest.approx(2.357 / 0.86, abs=1e-3)


def test_the_zero_point_of_lindegren_2021():
    g = [15.0, 16.0, 15.0]
    nu, pseudocolour = [1.5, 1.5, np.nan], [np.nan, np.nan, 1.5]
    z = zero_point(g, nu, pseudocolour, [20.0, 20.0, 20.0], [31, 31, 95])
    np.testing.assert_allclose(z, [-0.039935, -0.035727, -0.039220], rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("g", "solved", "expected"),
    [
        # At the nodes of Tables 9 and 10, with nu = 1.48 and sin^2(beta) = 1/3, only q00 and q01 count.
        (15.9, 31, -38.33 + 5.61 / np.sqrt(3)),
        (12.2, 31, -13.65 - 0.07 / np.sqrt(3)),
        (20.0, 95, -13.73 - 10.92 / np.sqrt(3)),
        # Half way between the nodes of 17.5 and 19.0.
        (18.25, 31, (-29.18 - 18.40) / 2 + (-0.09 + 5.98) / 2 / np.sqrt(3)),
    ],
)
def test_zero_point_at_the_nodes_of_the_tables(g, solved, expected):
    latitude = np.rad2deg(np.arcsin(1 / np.sqrt(3)))
    z = zero_point(g, 1.48, 1.48, latitude, solved)
    # The package rounds to 1e-6 mas, and the tables are in micro-arcseconds.
    assert z == pytest.approx(expected * 1e-3, abs=6e-7)


def test_error_inflation_of_el_badry_2021():
    g = [12.5, 13.0, 14.0, 15.0, 16.0, 17.0, 18.0, 19.0]
    expected = [1.30, 1.27, 1.10, 1.06, 1.05, 1.03, 1.01, 1.00]  # 0.99 at G = 19, never below 1 here
    np.testing.assert_allclose(error_inflation(g), expected, rtol=0, atol=5.1e-3)


@pytest.mark.parametrize(("sigma", "percent"), [(0.48, 24), (0.26, 13), (0.24, 12), (0.22, 11)])
def test_magnitude_errors_become_distance_errors_as_in_the_paper(sigma, percent):
    # Section 4.1 of the paper quotes whole per cents of numbers with two digits.
    assert 100 * relative_distance_error(sigma) == pytest.approx(percent, abs=1.0)
