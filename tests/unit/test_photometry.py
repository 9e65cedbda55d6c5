import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from specdis import photometry
from specdis.arrays import ranges
from specdis.photometry import ExtinctionSource, PhotometrySettings

SETTINGS = PhotometrySettings()

magnitudes = st.floats(0, 25)
labels = st.floats(1e-4, 1e4)


def stars(**changes):
    """Return three stars with all that `corrected` reads: five parameters, six, and two."""
    columns = {
        "EBV": np.array([0.03, 0.5, 0.1], "f4"),
        "TEFF": np.array([6000.0, np.nan, np.nan], "f4"),
        "RA": np.array([10.0, 10.0, np.nan]),
        "DEC": np.array([-30.0, -30.0, np.nan]),
        "PHOT_G_MEAN_MAG": np.array([15.0, 15.0, 19.0], "f4"),
        "PHOT_BP_MEAN_MAG": np.array([15.4, 15.5, np.nan], "f4"),
        "PHOT_RP_MEAN_MAG": np.array([14.6, 14.4, 18.0], "f4"),
        "PARALLAX": np.array([1.0, -0.1, 0.2]),
        "PARALLAX_ERROR": np.array([0.02, 0.03, 0.3], "f4"),
        "NU_EFF_USED_IN_ASTROMETRY": np.array([1.5, np.nan, np.nan], "f4"),
        "PSEUDOCOLOUR": np.array([np.nan, 1.5, np.nan], "f4"),
        "ECL_LAT": np.array([20.0, 20.0, 20.0]),
        "ASTROMETRIC_PARAMS_SOLVED": np.array([31, 95, 3], "i2"),
    }
    return {name: changes.get(name, values) for name, values in columns.items()}


# Label, magnitudes and distances


def test_the_sun_at_one_kiloparsec():
    # M_G = 4.67 at 1 kpc: m = 14.67, parallax 1 mas, label 10^(4.67/5).
    label = photometry.label(1.0, 14.67)
    assert label == pytest.approx(10 ** (4.67 / 5), rel=1e-12)
    assert photometry.absolute_magnitude(label) == pytest.approx(4.67, abs=1e-12)
    assert photometry.distance(label, 14.67) == pytest.approx(1.0, rel=1e-12)
    assert photometry.distance_modulus(1.0) == 10.0
    assert photometry.distance_modulus(0.01) == pytest.approx(0.0, abs=1e-12)


@given(st.floats(-400, 400), magnitudes)
def test_label_and_parallax_round_trip_at_any_sign(parallax, magnitude):
    # Two roundings each of a power and a product.
    assert photometry.parallax(photometry.label(parallax, magnitude), magnitude) == pytest.approx(parallax, rel=1e-13)


@given(labels)
def test_label_and_absolute_magnitude_round_trip(label):
    magnitude = photometry.absolute_magnitude(label)
    assert photometry.label_of_magnitude(magnitude) == pytest.approx(label, rel=1e-13)


@given(labels, magnitudes)
def test_distance_is_the_inverse_of_the_parallax(label, magnitude):
    distance = photometry.distance(label, magnitude)
    assert distance * photometry.parallax(label, magnitude) == pytest.approx(1.0, rel=1e-13)
    modulus = magnitude - photometry.absolute_magnitude(label)
    assert photometry.distance_modulus(distance) == pytest.approx(modulus, abs=1e-11)
    assert photometry.distance_of_modulus(modulus) == pytest.approx(distance, rel=1e-12)


def test_labels_that_are_not_positive_have_no_magnitude_and_no_distance():
    labels = np.array([[-1.0, 0.0], [np.nan, 1.0]])
    for values in (photometry.absolute_magnitude(labels), photometry.distance(labels, 15.0)):
        assert np.isnan(values).tolist() == [[True, True], [True, False]]
    assert np.isnan(photometry.distance_modulus([-1.0, 0.0])).all()


def test_geometric_magnitude_and_its_error():
    magnitude, error = photometry.geometric_magnitude([10.0, 0.0, -1.0], [1e-4, 0.1, 0.1], [15.0, 15.0, 15.0])
    assert magnitude[0] == pytest.approx(10.0)
    # A finite difference: first order is exact to (sigma/parallax)^2 = 1e-10.
    shifted, _ = photometry.geometric_magnitude(10.0 + 1e-4, 1e-4, 15.0)
    assert error[0] == pytest.approx(shifted - magnitude[0], rel=1e-4)
    assert np.isnan(magnitude[1:]).all()
    assert np.isnan(error[1:]).all()


def test_relative_distance_error_is_that_of_a_shifted_modulus():
    expected = photometry.distance_of_modulus(10.3) / photometry.distance_of_modulus(10.0) - 1
    assert photometry.relative_distance_error(0.3) == pytest.approx(expected, rel=1e-12)


# Extinction


def test_extinction_falls_back_from_temperature_to_colour_to_constant_and_says_so():
    ebv = np.array([0.1, 0.1, 0.1, np.nan])
    a_g, source = photometry.extinction(ebv, [6000, np.nan, np.nan, 6000], [0.8, 0.8, np.nan, 0.8], SETTINGS)
    assert source.tolist() == [0, 1, 2, 3]
    assert len(set(a_g.tolist())) == 4
    assert a_g[2] == pytest.approx(0.26)
    assert a_g[3] == 0


def test_the_constant_law_uses_nothing_but_the_constant():
    settings = PhotometrySettings(extinction_law="constant", extinction_constant=3.0)
    a_g, source = photometry.extinction([0.1, 0.2], [6000, np.nan], [0.8, 0.8], settings)
    np.testing.assert_allclose(a_g, [0.3, 0.6])
    assert (source == ExtinctionSource.CONSTANT_BY_CHOICE).all()


def test_the_law_is_held_constant_beyond_its_range():
    a_g, _ = photometry.extinction(0.1, [2500, 3500, 10000, 40000], np.nan, SETTINGS)
    assert a_g[0] == a_g[1]
    assert a_g[2] == a_g[3]
    a_g, _ = photometry.extinction(0.1, np.nan, [8.0, 9.0], SETTINGS)
    assert a_g[0] == a_g[1]


@given(
    st.floats(0, 8), st.one_of(st.just(np.nan), st.floats(2000, 50000)), st.one_of(st.just(np.nan), st.floats(-1, 8))
)
def test_extinction_is_sane_for_any_star(ebv, teff, bp_rp):
    a_g, _ = photometry.extinction(ebv, teff, bp_rp, SETTINGS)
    # The law lies between 1.3 (a cool star behind much dust) and 3.2 (a hot one behind none).
    assert 1.3 * ebv <= a_g <= 3.2 * ebv


def test_intrinsic_colour_has_converged():
    bp_rp, a_0 = np.linspace(0, 4, 50), np.full(50, 1.55)  # E(B-V) = 0.5, the most that the sample keeps
    found = photometry.intrinsic_colour(bp_rp, a_0)
    assert (found[1:] < bp_rp[1:]).all()
    # 1e-3 mag in colour is 2e-4 mag in A_G.
    np.testing.assert_allclose(found, photometry.intrinsic_colour(bp_rp, a_0, iterations=50), rtol=0, atol=1e-3)


# Zero point


def test_zero_point_is_nan_where_the_recipe_does_not_hold():
    cases = {
        "two parameters": (15, 1.5, 1.5, 20, 3),
        "no solution": (15, 1.5, 1.5, 20, 0),
        "missing solution": (15, 1.5, 1.5, 20, np.nan),
        "missing G": (np.nan, 1.5, np.nan, 20, 31),
        "missing wavenumber": (15, np.nan, 1.5, 20, 31),
        "missing pseudocolour": (15, 1.5, np.nan, 20, 95),
        "missing latitude": (15, 1.5, 1.5, np.nan, 31),
        "bright": (5.9, 1.5, 1.5, 20, 31),
        "faint": (21.5, 1.5, 1.5, 20, 31),
        "red": (15, 1.0, 1.5, 20, 31),
        "blue": (15, 1.95, 1.5, 20, 31),
        "red pseudocolour": (15, 1.5, 1.2, 20, 95),
        "zeros for missing": (0, 0, 0, 0, 31),
    }
    columns = np.array(list(cases.values()), dtype=float).T
    found = dict(zip(cases, photometry.zero_point(*columns), strict=True))
    assert [name for name, z in found.items() if np.isfinite(z)] == []


def test_one_bad_row_does_not_spoil_the_others():
    z = photometry.zero_point([15, 15, 15], [1.5, 1.5, np.nan], [np.nan, np.nan, 1.5], 20.0, [31, 3, 95])
    assert np.isfinite(z).tolist() == [True, False, True]


def test_zero_point_takes_scalars_masks_any_byte_order_and_nothing():
    expected = photometry.zero_point([15.0], [1.5], [np.nan], [20.0], [31])[0]
    assert photometry.zero_point(15, 1.5, 0, 20, 31) == expected
    big_endian = [np.array([v], dtype=t) for v, t in zip((15, 1.5, 0, 20, 31), (">f4", ">f4", ">f4", ">f8", ">i2"))]
    assert photometry.zero_point(*big_endian)[0] == expected
    masked = np.ma.array([15.0, 15.0], mask=[False, True])
    assert np.isfinite(photometry.zero_point(masked, 1.5, 0, 20, 31)).tolist() == [True, False]
    assert photometry.zero_point([], [], [], [], []).shape == (0,)
    assert photometry.zero_point(np.full((2, 3), 15.0), 1.5, 0, 20, 31).shape == (2, 3)


def test_zero_point_does_not_depend_on_the_block(monkeypatch):
    random = np.random.default_rng(1)
    n = 1000
    values = (
        random.uniform(5, 22, n),
        random.uniform(1.0, 2.0, n),
        random.uniform(1.2, 1.8, n),
        random.uniform(-90, 90, n),
        random.choice([3, 31, 95], n),
    )
    whole = photometry.zero_point(*values)
    assert 0.3 < np.isfinite(whole).mean() < 0.7
    monkeypatch.setattr(photometry, "ranges", lambda rows, _: ranges(rows, 7))
    np.testing.assert_array_equal(photometry.zero_point(*values), whole)


# All together


def test_corrected_gives_the_columns_of_the_sample():
    columns = photometry.corrected(stars(), SETTINGS)
    np.testing.assert_allclose(columns["EBV_SCALED"], [0.0258, 0.43, 0.086], rtol=1e-6)
    assert columns["A_G_SOURCE"].tolist() == [0, 1, 2]
    assert columns["A_G"][0] == pytest.approx(2.357 * 0.03, rel=3e-4)
    np.testing.assert_allclose(columns["G_0"], stars()["PHOT_G_MEAN_MAG"] - columns["A_G"].astype(float), atol=1e-6)
    np.testing.assert_allclose(columns["PARALLAX_ZPC"], [-0.039935, -0.039220, np.nan], rtol=0, atol=1e-6)
    # The third parallax has no zero point: it stays as published.
    np.testing.assert_allclose(columns["PARALLAX_CORRECTED"], [1.039935, -0.06078, 0.2], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(columns["PARALLAX_ERROR_USED"], stars()["PARALLAX_ERROR"].astype(float))
    types = {name: values.dtype.name for name, values in columns.items()}
    assert types == {
        "EBV_SCALED": "float32",
        "A_G": "float32",
        "A_G_ERR": "float32",
        "A_G_SOURCE": "uint8",
        "INSIDE_DUST_WITHIN": "float32",
        "PARALLAX_ZPC": "float64",
        "PARALLAX_CORRECTED": "float64",
        "PARALLAX_ERROR_USED": "float64",
        "G_0": "float64",
    }


def test_dust_behind_a_star_as_astropy_and_an_integral_say():
    """Where the integral of the layer's density beyond the star is worth 0.05 mag, found by trying distances."""
    random = np.random.default_rng(7)
    ra, dec, a_g = random.uniform(0, 360, 200), np.degrees(np.arcsin(random.uniform(-1, 1, 200))), np.full(200, 0.5)
    found = photometry.inside_dust_within(a_g, ra, dec, PhotometrySettings(dust_height=0.12))
    latitude = SkyCoord(ra, dec, unit="deg").galactic.b.rad
    distance = np.geomspace(1e-3, 1e3, 20_001)
    density = np.exp(-distance * np.abs(np.sin(latitude[:, None])) / 0.12)
    steps = 0.5 * (density[:, 1:] + density[:, :-1]) * np.diff(distance)
    behind = 0.5 * np.cumsum(steps[:, ::-1], axis=1)[:, ::-1] / steps.sum(1, keepdims=True)
    near = np.abs(np.sin(latitude)) > 0.05
    expected = distance[np.argmax(behind < 0.05, axis=1)]
    np.testing.assert_allclose(found[near], expected[near], rtol=0.02)


def test_where_no_star_can_be_inside_the_dust():
    little = photometry.inside_dust_within([0.05, 0.0, -0.1], 10.0, 20.0, SETTINGS)
    assert little.tolist() == [0, 0, 0]
    # A file that gives E(B-V) in front of each star, and a star without a position.
    assert photometry.inside_dust_within(1.0, 10.0, 20.0, PhotometrySettings(dust_height=0)) == 0
    assert np.isnan(photometry.inside_dust_within(1.0, np.nan, 20.0, SETTINGS))


def test_corrected_without_zero_point_keeps_the_parallax():
    columns = photometry.corrected(stars(), PhotometrySettings(zero_point="none"))
    np.testing.assert_array_equal(columns["PARALLAX_CORRECTED"], stars()["PARALLAX"])
    assert (columns["PARALLAX_ZPC"] == 0).all()


def test_corrected_inflates_errors_with_magnitude():
    columns = photometry.corrected(stars(), PhotometrySettings(error_inflation="el-badry2021"))
    ratio = columns["PARALLAX_ERROR_USED"] / stars()["PARALLAX_ERROR"]
    np.testing.assert_allclose(ratio, [1.06, 1.06, 1.0], atol=5e-3)


def test_a_star_without_reddening_is_not_corrected():
    columns = photometry.corrected(stars(EBV=np.full(3, np.nan, "f4")), SETTINGS)
    assert (columns["A_G_SOURCE"] == ExtinctionSource.NO_EBV).all()
    np.testing.assert_array_equal(columns["G_0"], stars()["PHOT_G_MEAN_MAG"].astype(float))
    assert np.isnan(columns["EBV_SCALED"]).all()


@pytest.mark.parametrize(
    "wrong", [{"ebv_scale": 0}, {"extinction_law": "ccm"}, {"zero_point": "zinn"}, {"extinction_constant": -1}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        PhotometrySettings(**wrong)
