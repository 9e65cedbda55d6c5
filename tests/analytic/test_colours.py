"""Colours beside the spectrum: dereddening, errors, missing bands, companions, and that no magnitude is seen."""

from dataclasses import replace

import numpy as np
import pytest

from specdis import colours, photometry
from specdis.colours import BANDS, Colours
from specdis.distances.settings import DistancesSettings
from specdis.distances.targets import star_keys
from specdis.flags import Flag
from specdis.jaxed import jnp
from specdis.network.inputs import ColourScale, NetworkInputs
from specdis.network.settings import NetworkSettings
from specdis.spectra.normalise import normalise
from synthetic_spectra import colour_scale, model, spectra, targets

SETTINGS = photometry.PhotometrySettings()
ALL = ("BP-RP", "G-RP", "g-r", "r-z", "z-W1", "W1-W2")


def stars(count, shift=0.0, ebv=0.1):
    """Return stars of many colours whose magnitudes are fainter by `shift`; every third lacks the Legacy Survey."""
    place = np.linspace(0, 1, count)
    g = 16.0 + place
    flux = {name: 10 ** (-0.4 * (g + shift + off - 22.5)) for name, off in zip("GRZ", (0.4, -0.1, -0.3), strict=True)}
    flux |= {name: 10 ** (-0.4 * (g + shift - off - 22.5)) for name, off in (("W1", 0.1), ("W2", -0.5))}
    there = np.arange(count) % 3 > 0
    columns = {f"FLUX_{name}": np.where(there, values, 0) for name, values in flux.items()}
    columns |= {f"FLUX_IVAR_{name}": np.where(there, (50 / values) ** 2, 0) for name, values in flux.items()}
    return columns | {
        "PHOT_G_MEAN_MAG": g + shift,
        "PHOT_BP_MEAN_MAG": g + shift + 0.3 + 0.3 * place,
        "PHOT_RP_MEAN_MAG": g + shift - 0.5 - 0.3 * place,
        "PHOT_BP_MEAN_FLUX_OVER_ERROR": np.full(count, 200.0),
        "PHOT_RP_MEAN_FLUX_OVER_ERROR": np.full(count, 300.0),
        "PHOT_G_MEAN_FLUX_OVER_ERROR": np.full(count, 2000.0),
        "EBV_SCALED": np.full(count, ebv),
        "TEFF": np.full(count, 5040.0),
    }


def test_a_colour_is_dereddened_by_hand():
    found = Colours(("BP-RP", "g-r")).of(stars(2), SETTINGS)
    red = found.magnitude @ Colours(("BP-RP", "g-r")).difference
    # The law of Riello et al. (2021), term by term, at Teff of a dwarf star of this colour (Mucciarelli et al. 2021).
    # That Teff comes from the law by colour, which differs by less than 0.002 mag in BP-RP, 2e-5 mag here.
    a_0 = 0.31
    x = 1 / (0.4929 + 0.5092 * red[0, 0] - 0.0353 * red[0, 0] ** 2)
    bp = 0.888088914696666 + 0.11318390480077 * x + 0.0846337732558566 * x**2 - 0.0371265818793239 * x**3
    bp += a_0 * (-0.00296140793334905 - 0.0164152179931537 * x + 0.00323902299833464 * x**2)
    bp += a_0**2 * (0.000538660562947277 + 0.000169011297620409 * x) - a_0**3 * 1.31018008013512e-05
    rp = 0.382719668454633 + 0.505895415656219 * x - 0.314981478333036 * x**2 + 0.0665302085130136 * x**3
    rp += a_0 * (-0.00383780468169498 - 0.00348740736346628 * x + 0.00110877159426768 * x**2)
    rp += a_0**2 * (6.50490784002505e-05 - 1.8313141658225e-05 * x) + a_0**3 * 1.57894227640801e-06
    assert red[0, 0] == pytest.approx(0.8 - a_0 * (bp - rp), abs=5e-5)
    # Whatever a survey says of Teff, it does not move the inputs.
    for teff in (np.full(2, 9000.0), np.full(2, np.nan)):
        again = Colours(("BP-RP", "g-r")).of(stars(2) | {"TEFF": teff}, SETTINGS)
        np.testing.assert_array_equal(again.magnitude, found.magnitude)
    # g-r: 3.214 - 2.165 per E(B-V) of SFD98, which is 1 / 0.86 of the true one.
    assert red[1, 1] == pytest.approx(0.5 - 0.1 / 0.86 * (3.214 - 2.165), abs=2e-6)
    # 1.0857 / 200 in BP, and the floor.
    bands = Colours(("BP-RP", "g-r")).bands
    assert found.error[0, bands.index("BP")] == pytest.approx(np.hypot(1.0857 / 200, 0.005), rel=1e-3)
    assert found.error[1, bands.index("g")] == pytest.approx(np.hypot(1.0857 / 50, 0.01), rel=1e-3)
    assert found.ebv_error[0] == pytest.approx(np.hypot(0.16 * 0.1, 0.01))
    assert found.known.tolist() == [[True, True, False, False], [True] * 4]


def test_missing_values_of_any_kind_leave_a_band_unknown():
    given = stars(6)
    for row, name, value in (
        (1, "FLUX_IVAR_G", 0.0),
        (1, "FLUX_R", -3.0),
        (2, "FLUX_Z", np.nan),
        (4, "FLUX_IVAR_W1", np.nan),
        (5, "EBV_SCALED", np.nan),
        (4, "PHOT_BP_MEAN_MAG", np.nan),
    ):
        given[name][row] = value
    wanted = Colours(ALL)
    found = wanted.of(given, SETTINGS)
    unknown = {(row, wanted.bands[band]) for row, band in np.argwhere(~found.known)}
    legacy = {(row, band) for row in (0, 3) for band in ("g", "r", "z", "W1", "W2")}
    assert unknown == legacy | {(1, "g"), (1, "r"), (2, "z"), (4, "W1"), (4, "BP")} | {
        (5, band) for band in wanted.bands
    }
    assert np.isfinite(found.magnitude).all()
    assert np.isfinite(found.error).all()
    # A table without a column of errors has typical ones; without the band it is missing for all.
    few = {name: values for name, values in given.items() if "OVER_ERROR" not in name and "W2" not in name}
    bare = wanted.of(few, SETTINGS)
    typical = BANDS["BP"].typical * 10 ** (0.3 * (given["PHOT_BP_MEAN_MAG"][0] - 17))
    assert bare.error[0, wanted.bands.index("BP")] == pytest.approx(np.hypot(BANDS["BP"].floor, typical))
    assert not bare.known[:, wanted.bands.index("W2")].any()


def inputs(names=ALL):
    return NetworkInputs(NetworkSettings(colours=names), 1.0, colour_scale(10, len(names)))


def test_inputs_hold_value_and_mask_and_neither_magnitude_nor_error():
    made, wanted = inputs(), Colours(ALL)
    near, far = (made.features(wanted.of(stars(9, shift), SETTINGS)) for shift in (0.0, 4.0))
    # The same colours four magnitudes fainter, but for float32: 1e-6 mag at magnitude 20, over 0.2 mag.
    np.testing.assert_allclose(near, far, atol=3e-5)
    bands = wanted.of(stars(9), SETTINGS)
    np.testing.assert_array_equal(made.features(bands._replace(error=3 * bands.error)), near)
    value, known = near[:, :6], near[:, 6:]
    assert known.tolist() == [[1.0, 1.0, *[float(row % 3 > 0)] * 4] for row in range(9)]
    assert (value[known == 0] == 0).all()
    expected = wanted.of(stars(9), SETTINGS)
    colour = expected.magnitude[1] @ wanted.difference
    np.testing.assert_allclose(value[1], np.clip((colour - 0.8) / 0.3, -5, 5), rtol=1e-5)


@pytest.mark.parametrize("kind", ["label", "mixture"])
def test_a_fainter_star_of_equal_colours_and_spectrum_has_the_same_magnitude(kind):
    made, block = model(kind=kind, colours=ALL), spectra(9, seed=4)
    pixels = normalise(block, made.grid, made.settings.spectra)
    found = []
    for shift in (0.0, 3.0):
        bands = Colours(ALL).of(stars(9, shift), SETTINGS)
        given = targets(9, 15.0 + shift)._replace(bands=bands)
        found.append(made.predict_pixels(pixels, made.encode(pixels), given))
    near, far = found
    np.testing.assert_allclose(far["M_G_NN"], near["M_G_NN"], atol=2e-4)
    np.testing.assert_allclose(far["DIST"] / near["DIST"], 10**0.6, rtol=2e-4)
    # Colours matter: without them the answer is another.
    bare = made.predict_pixels(pixels, made.encode(pixels), targets(9)._replace(bands=without(bands)))
    assert (np.abs(bare["M_G_NN"] - near["M_G_NN"]) > 1e-3).all()
    assert np.isfinite(bare["DIST"]).all()


def without(bands):
    return bands._replace(known=np.zeros_like(bands.known))


@pytest.mark.slow
def test_draws_and_derivatives_agree_on_the_errors_of_colours():
    """Spectra without noise: all of the scatter comes from photometry and E(B-V)."""
    count, block = 24, spectra(24, seed=3, snr=1e6, noise=False)
    bands = Colours(ALL).of(stars(count, ebv=0.05), SETTINGS)
    # A tenth of the errors, so that the networks are nearly straight over them.
    bands = bands._replace(error=0.1 * bands.error, ebv_error=0.1 * bands.ebv_error)
    found = {}
    for method in ("monte-carlo", "linear"):
        made = model(distances=DistancesSettings(n_draws=200, method=method), n_folds=1, colours=ALL)
        pixels = normalise(block, made.grid, made.settings.spectra)
        answers = made.answers(pixels, made.encode(pixels), targets(count)._replace(bands=bands))
        found[method] = answers.labels.draws.mean(0).std(0, ddof=1), answers.magnitudes.draws.std(0, ddof=1)
    for drawn, propagated in zip(*found.values(), strict=True):
        # 200 draws know a standard deviation to 5 %: four of them, but for a star at the corner of a ReLU.
        ratio = drawn / propagated
        assert (np.abs(ratio - 1) < 0.2).sum() >= count - 2
        assert np.median(ratio) == pytest.approx(1, abs=3 * 1.25 * 0.05 / np.sqrt(count))
        assert (propagated > 1e-5).all()


def test_a_companion_adds_its_light_to_each_band():
    wanted = Colours(("BP-RP", "g-r"))
    found = wanted.of(stars(4), SETTINGS)
    other = found.take(np.array([3, 3, 3, 1]))
    both = found.blended(other, np.array([0.0, 2.5, 40.0, 1.0]))
    light = 10 ** (-0.4 * found.magnitude) + 10 ** (-0.4 * (other.magnitude + np.array([0.0, 2.5, 40.0, 1.0])[:, None]))
    shared = found.known & other.known
    np.testing.assert_allclose(both.magnitude[shared], -2.5 * np.log10(light[shared]), atol=1e-5)
    np.testing.assert_array_equal(both.magnitude[~shared], found.magnitude[~shared])
    np.testing.assert_allclose(both.magnitude[2], found.magnitude[2], atol=1e-6)


def test_copies_are_noisier_and_some_lack_colours():
    count, wanted = 30_000, Colours(ALL)
    given = stars(count)
    bands, identifier = wanted.of(given, SETTINGS), [np.arange(count)]
    copy = colours.noisier(bands, wanted, 1, 0, identifier)
    legacy, gaia = wanted.bands.index("g"), wanted.bands.index("BP")
    seen = bands.known[:, legacy]
    # A tenth lacks all, and 15 % of the others those of one instrument; four binomial errors of 20,000 stars.
    assert copy.known[seen, legacy].mean() == pytest.approx(0.9 * 0.85, abs=0.012)
    assert copy.known[:, gaia].mean() == pytest.approx(0.9 * 0.85, abs=0.01)
    assert not copy.known[~seen, legacy].any()
    np.testing.assert_array_equal(copy.known[:, legacy], copy.known[:, wanted.bands.index("r")] & seen)
    # What is added and the first error make up the error of the copy.
    rows = copy.known[:, gaia]
    added = np.sqrt(copy.error[rows, gaia] ** 2 - bands.error[rows, gaia] ** 2)
    pull = (copy.magnitude - bands.magnitude)[rows, gaia] / added
    assert pull.std() == pytest.approx(1, abs=0.02)
    assert pull.mean() == pytest.approx(0, abs=0.03)
    assert (copy.error[rows, gaia] / bands.error[rows, gaia]).max() < 4.001
    again = colours.noisier(bands.take(np.arange(9)), wanted, 1, 0, [np.arange(9)])
    np.testing.assert_array_equal(again.magnitude, copy.magnitude[:9])
    assert (colours.noisier(bands, wanted, 1, 1, identifier).magnitude != copy.magnitude).any()


def test_a_colour_that_does_not_fit_the_spectrum_is_left_out_and_flagged():
    random, count, wanted = np.random.default_rng(8), 5000, Colours(("BP-RP", "g-r"))
    scaled = random.standard_normal((count, 4)).astype(np.float32)
    given = stars(count, ebv=0.0)  # the law of extinction would bend the relation
    red = 0.9 + scaled @ np.array([0.2, 0.1, 0.0, -0.05]) + 0.02 * random.standard_normal(count)
    given["PHOT_BP_MEAN_MAG"] = given["PHOT_RP_MEAN_MAG"] + red
    bands = wanted.of(given, SETTINGS)
    scale = ColourScale.of_stars(bands, wanted, scaled)
    np.testing.assert_allclose(scale.slopes[:, 0], [0.2, 0.1, 0.0, -0.05], atol=0.002)
    # All stars have one error of E(B-V), which the true colours do not scatter by.
    assert scale.limit.min() >= 4
    given["PHOT_BP_MEAN_MAG"][:10] += 1.0
    moved = wanted.of(given, SETTINGS)
    found = NetworkInputs(NetworkSettings(colours=wanted.names), 1.0, scale).sound(jnp.asarray(scaled), moved)
    lost = moved.known & ~found.known
    assert lost[:10, :2].all()
    assert not lost[:, 2:].any()
    assert lost[10:].any(1).mean() < 0.002


def test_a_colour_that_no_training_star_had_is_not_missed():
    wanted, random = Colours(("BP-RP", "J-Ks")), np.random.default_rng(2)
    given = stars(500)
    bands = wanted.of(given, SETTINGS)
    scaled = random.standard_normal((500, 4)).astype(np.float32)
    seen = NetworkInputs(NetworkSettings(colours=wanted.names), 1.0, ColourScale.of_stars(bands, wanted, scaled))
    assert not seen.lacking(bands).any()
    given["PHOT_BP_MEAN_MAG"][3] = np.nan
    assert np.flatnonzero(seen.lacking(wanted.of(given, SETTINGS))).tolist() == [3]
    # A new star that has it is predicted without it: what it is worth was never learned.
    given |= {"J_M": given["PHOT_G_MEAN_MAG"] - 1, "KS_M": given["PHOT_G_MEAN_MAG"] - 1.4}
    found = seen.sound(jnp.asarray(scaled), wanted.of(given, SETTINGS))
    assert not found.known[:, wanted.bands.index("J")].any()


def test_flags_tell_of_missing_and_of_odd_colours():
    made, block = model(colours=ALL), spectra(9, seed=4)
    made = replace(made, networks=made.networks._replace(colours=colour_scale(10, len(ALL), limit=0.5)))
    pixels = normalise(block, made.grid, made.settings.spectra)
    given = stars(9)
    given["PHOT_BP_MEAN_MAG"][4] += 2.0
    flags = made.predict_pixels(
        pixels, made.encode(pixels), targets(9)._replace(bands=Colours(ALL).of(given, SETTINGS))
    )
    assert ((flags["FLAGS"] & Flag.NO_COLOUR) > 0).tolist() == [row % 3 == 0 for row in range(9)]
    assert ((flags["FLAGS"] & Flag.ODD_COLOUR) > 0)[4]


@pytest.mark.parametrize("name", ["BP", "BP-", "g-g", "BP-RP-G", "2MASS", "b-v", ""])
def test_what_is_no_colour_is_an_error(name):
    with pytest.raises(ValueError, match="is no colour: expected the difference of two of G, BP, RP"):
        NetworkSettings(colours=(name,))


def test_a_column_of_the_table_is_a_colour_of_its_own():
    wanted = Colours(("V_I", "BP-RP"))
    given = stars(3) | {"V_I": np.array([0.5, np.nan, 0.7]), "V_I_ERROR": np.array([0.03, 0.03, np.nan])}
    found = wanted.of(given, SETTINGS)
    np.testing.assert_allclose((found.magnitude @ wanted.difference)[[0, 2], 0], [0.5, 0.7], atol=1e-6)
    assert found.known[:, 0].tolist() == [True, False, True]
    np.testing.assert_allclose(found.error[[0, 2], 0], [np.hypot(0.03, 0.01), 0.01], rtol=1e-6)
    assert (found.reddening[:, 0] == 0).all()
    assert "V_I" in wanted.measured
    assert "V_I" in wanted.columns


@pytest.mark.slow
def test_keys_of_stars_make_their_colours_independent_of_their_neighbours():
    made, block = model(colours=ALL), spectra(9, seed=4)
    pixels = normalise(block, made.grid, made.settings.spectra)
    bands = Colours(ALL).of(stars(9), SETTINGS)
    given = targets(9)._replace(bands=bands, keys=star_keys(7, np.arange(9)))
    whole = made.predict_pixels(pixels, made.encode(pixels), given)
    rows = np.array([5, 2])
    part = made.predict_pixels(pixels.take(rows), made.encode(pixels.take(rows)), given.take(rows))
    for name, values in part.items():
        # Tiles of other sizes round differently.
        np.testing.assert_allclose(values, whole[name][rows], rtol=3e-5, err_msg=name)
