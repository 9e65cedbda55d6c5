import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table
from astropy.utils.masked import Masked

import table_files
from specdis.calibration import Calibration
from specdis.catalogue import COLUMNS, read_columns
from specdis.colours import Bands
from specdis.distances.targets import Targets, star_keys
from specdis.errors import InputError, ProductError
from specdis.flags import Flag
from specdis.jaxed import jax
from specdis.model.coverage import differences
from specdis.model.files import load_model, save_model
from specdis.network.mixture import Spurious
from specdis.network.nuisances import Nuisances
from specdis.photometry import PhotometrySettings, error_inflation, zero_point
from specdis.prior import POSTERIOR_COLUMNS
from specdis.sample import TrainedStars
from specdis.spectra.normalise import normalise
from specdis.spectra.sky import ErrorStack
from specdis.storage import Provenance, digest, file_digest, read_arrays, read_json, write_arrays, write_json
from specdis.stores.pixels import PixelStore
from specdis.surveys.arrays import ArraySurvey, SpectraArrays
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.wavelengths import refractive_index
from specdis.verbs.predict import predict_files
from synthetic_spectra import SMALL, model, rest_flux, spectra, targets

C = 299_792.458
STARS = 150
PROVENANCE = Provenance("model", "key", 7)
ONE = 4000 + 0.8 * np.arange(776)
"""Both arms' wavelengths in one."""


@pytest.fixture(scope="module")
def made():
    return model()


@pytest.fixture(scope="module")
def block():
    """Return spectra, two of them with a missing arm and without a good pixel."""
    made = spectra(STARS, seed=3, snr=60.0, velocity=np.linspace(-300, 300, STARS))
    made.arms["R"].bad[4] = True
    for arm in made.arms.values():
        arm.bad[5] = True
    return made


@pytest.fixture(scope="module")
def stored(made, block):
    return normalise(block, made.grid, made.settings.spectra)


FOLD = np.arange(STARS) % 4 - 1
MAGNITUDE = np.where(np.arange(STARS) == 6, np.nan, np.linspace(12, 20, STARS))
TARGETS = Targets(
    MAGNITUDE,
    np.full(STARS, 0.05),
    np.where(np.arange(STARS) == 7, np.nan, 1.0 - np.linspace(0, 1.5, STARS)),
    np.linspace(0.01, 0.3, STARS),
    np.full(STARS, 60.0),
    np.full(STARS, -0.5),
    FOLD,
    star_keys(7, np.arange(STARS)),
    Bands.none(STARS),
)
"""Stars with parallaxes of both signs, one without a magnitude and one without a parallax."""


def predict(made, stored, block, rows):
    part = stored.take(rows)
    return made.predict_pixels(part, made.encode(part), TARGETS.take(rows))


def assert_equal(found, expected):
    assert list(found.keys()) == list(expected.keys())
    for name, values in found.items():
        np.testing.assert_array_equal(np.ma.getdata(values), np.ma.getdata(expected[name]), name)


def column(table, name):
    return np.ma.filled(np.ma.asarray(table[name], float), np.nan)


@pytest.fixture(scope="module")
def everything(made, stored, block):
    return predict(made, stored, block, np.arange(STARS))


# Blocks


@pytest.mark.parametrize("rows", [np.random.default_rng(1).permutation(STARS), np.arange(64, 130)])
def test_a_star_depends_neither_on_its_block_nor_on_its_neighbours(made, stored, block, everything, rows):
    found = predict(made, stored, block, rows)
    for name, values in found.items():
        # From JAX 0.12 on the same sum may be rounded differently in another row of a tile: a few last bits of single
        # precision. What another star gave away would be far more.
        expected = np.ma.getdata(everything[name])[rows]
        np.testing.assert_allclose(np.ma.getdata(values), expected, rtol=2e-6, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("rows", [np.array([17]), np.arange(6)])
def test_a_few_stars_alone_get_the_same_to_rounding(made, stored, block, everything, rows):
    # A smaller program: sums of single precision in another order.
    found = predict(made, stored, block, rows)
    for name, values in found.items():
        np.testing.assert_allclose(values, everything[name][rows], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_star_is_predicted_by_the_networks_of_its_fold(made, stored, block, everything):
    assert np.isfinite(np.delete(everything["LABEL"], 5)).all()
    labels = np.asarray(jax.jit(made.networks.label.labels)(made.inputs(stored, TARGETS.bands))).mean(1)
    own = np.where(FOLD < 0, labels.mean(0), labels[np.maximum(FOLD, 0), np.arange(STARS)])
    own[5] = np.nan
    # Sums of ten coefficients and sixteen neurons in single precision, in another order.
    np.testing.assert_allclose(everything["LABEL"], own, rtol=1e-5)
    assert np.delete(np.ptp(labels, axis=0), 5).min() > 1e-4


def test_flags_and_diagnostics(everything, stored):
    flags = everything["FLAGS"]
    assert flags[4] & ~Flag.OUTSIDE_DOMAIN == Flag.MANY_BAD_PIXELS
    assert flags[5] == Flag.NO_SPECTRUM | Flag.MANY_BAD_PIXELS
    assert flags[6] == Flag.NO_MAGNITUDE
    assert not flags[7:].any()
    np.testing.assert_allclose(everything["FRACTION_BAD"], stored.bad.mean(1), rtol=1e-6)
    # Interpolated pixels share their noise: 2/3, and a little that ten components leave.
    assert np.nanmedian(everything["CHI2_RECONSTRUCTION"]) == pytest.approx(0.72, abs=0.1)
    assert np.isnan(everything["CHI2_RECONSTRUCTION"][5])


def test_spectra_unlike_those_of_the_training_are_flagged_and_get_a_width_of_their_own(made):
    widened = replace(made, calibration=Calibration(np.zeros(10), np.log(2.0) * (np.arange(10) == 9)))
    block = spectra(4, seed=3, snr=300.0)
    ramp = 1 + 0.3 * np.sin(block.arms["B"].wavelength / 3)
    arms = {**block.arms, "B": Arm.cleaned(SMALL["B"], block.arms["B"].flux * ramp, None, block.arms["B"].bad)}
    strange = Spectra(block.row, arms, block.velocity, block.observed_velocity)
    for given, expected in ((block, 0), (strange, Flag.OUTSIDE_DOMAIN)):
        four = TARGETS.take(slice(4))._replace(magnitude=np.full(4, 15.0))
        found, wide = (one.predict_spectra(given, four) for one in (made, widened))
        assert (found["FLAGS"] & Flag.OUTSIDE_DOMAIN == expected).all()
        ratio = wide["M_G_NN_ERR_MIX"] / found["M_G_NN_ERR_MIX"]
        np.testing.assert_allclose(ratio, 2.0 if expected else 1.0, rtol=1e-3)


@pytest.mark.parametrize("snr", [3.0, 30.0, 300.0])
def test_half_precision_of_stored_pixels_is_harmless(made, tmp_path, snr):
    stars = 64
    store = PixelStore.create(
        tmp_path / "pixels.zarr", np.arange(stars, dtype=np.uint64), made.grid, (), ErrorStack(), PROVENANCE
    )
    pixels = normalise(spectra(stars, seed=3, snr=snr), made.grid, made.settings.spectra)
    store.write(slice(0, stars), pixels)
    rounded = store.read(slice(0, stars))
    # Widened again, which the program does first, so that it is the one of other tests.
    rounded = rounded._replace(flux=rounded.flux.astype(np.float32), sigma=rounded.sigma.astype(np.float32))
    exact, half = (made.predict_pixels(given, made.encode(given), targets(stars)) for given in (pixels, rounded))
    change = np.abs(half["M_G_NN"] - exact["M_G_NN"])
    # Rounding, 1.4e-4 of the continuum, is a twentieth of the noise at an S/N of 300 a pixel, and a hundredth of what
    # tells one star from another in these spectra.
    assert change.max() < 3e-4
    assert change.max() < 0.02 * exact["M_G_NN"].std()
    assert np.sqrt(np.mean(change**2)) < 0.1 * np.sqrt(np.mean(exact["M_G_NN_ERR_NOISE"] ** 2))
    np.testing.assert_allclose(half["M_G_NN_ERR_NOISE"], exact["M_G_NN_ERR_NOISE"], rtol=0.05)


# The folder


def test_a_saved_model_predicts_the_same(made, stored, block, everything, tmp_path):
    save_model(made, tmp_path / "model", PROVENANCE)
    loaded = load_model(tmp_path / "model")
    assert_equal(predict(loaded, stored, block, np.arange(STARS)), everything)
    assert loaded.settings == made.settings
    assert loaded.domain.limits == made.domain.limits
    np.testing.assert_array_equal(loaded.domain.reference, made.domain.reference)
    assert loaded.card == made.card
    save_model(made, tmp_path / "again", PROVENANCE)
    for path in (tmp_path / "model").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_damaged_model_says_so(made, tmp_path):
    save_model(made, tmp_path / "model", PROVENANCE)
    card = tmp_path / "model" / "model.json"
    content = read_json(card)
    assert content["training_error_mag"] == made.training_error
    write_json(card, {**content, "training_error_mag": 4.0})
    with pytest.raises(ProductError, match=r"model\.json is damaged: its content does not fit its sum"):
        load_model(card.parent)
    rewrite(card, settings={})
    with pytest.raises(ProductError, match=r"model\.json is not a model of this version"):
        load_model(card.parent)
    for wrong in ({"shift": [0.0]}, {"share_and_width": [1.0, 5.0]}, {"share_and_width": [0.02, 0.5]}):
        rewrite(card, settings=content["settings"], calibration={**content["calibration"], **wrong})
        with pytest.raises(ProductError, match=r"its calibration do not fit the other parts"):
            load_model(card.parent)
    del content["sum"]
    write_json(card, content)
    with pytest.raises(ProductError, match=r"model\.json has no sum: an earlier version made it"):
        load_model(card.parent)
    save_model(made, card.parent, PROVENANCE)
    (card.parent / "basis.npz").write_bytes(b"")
    (card.parent / "label.npz").unlink()
    with pytest.raises(ProductError, match=r"basis\.npz and label\.npz missing or damaged, by the sums"):
        load_model(card.parent)


def rewrite(card, **changes):
    """Write model.json with other content, and sums that fit."""
    content = {**read_json(card), **changes}
    content["parts"] = {path.name: file_digest(path) for path in card.parent.glob("*.npz")}
    del content["sum"]
    write_json(card, {**content, "sum": digest(content)})


def test_networks_that_do_not_fit_each_other_are_refused(made, tmp_path):
    save_model(made, tmp_path, PROVENANCE)
    provenance, arrays = read_arrays(tmp_path / "label.npz", "model")
    for name, change in (("weight1", lambda w: w[:, :-1]), ("bias0", lambda b: b[:1]), ("n_folds", lambda n: 0 * n)):
        write_arrays(tmp_path / "label.npz", provenance, {**arrays, name: change(arrays[name])})
        rewrite(tmp_path / "model.json")
        with pytest.raises(ProductError, match="networks do not fit the other parts"):
            load_model(tmp_path)


def test_a_prior_that_is_no_density_is_refused(made, tmp_path):
    save_model(made, tmp_path, PROVENANCE)
    provenance, arrays = read_arrays(tmp_path / "prior.npz", "model")
    changes = (
        ("log_volume", lambda v: v * np.nan),
        ("log_density", lambda v: v[:-1]),
        ("modulus", lambda v: v[::-1]),
        ("magnitude", lambda v: v.astype(int)),
    )
    for name, change in changes:
        write_arrays(tmp_path / "prior.npz", provenance, {**arrays, name: change(arrays[name])})
        rewrite(tmp_path / "model.json")
        with pytest.raises(ProductError, match="its prior do not fit the other parts"):
            load_model(tmp_path)


def test_without_a_prior_there_are_no_posterior_distances(made, arrays, tmp_path):
    save_model(replace(made, prior=None), tmp_path, PROVENANCE)
    given, without = (one.predict(**arrays) for one in (made, load_model(tmp_path)))
    assert np.isfinite(given["DIST_POST"]).all()
    for name in POSTERIOR_COLUMNS:
        assert without[name].mask.all()
    np.testing.assert_array_equal(given["DIST"], without["DIST"])


@pytest.mark.parametrize("make", [None, Path.mkdir, Path.touch, os.mkfifo])
def test_what_is_no_model_is_said(tmp_path, make):
    path = tmp_path / "model"
    if make is os.mkfifo:
        path.mkdir()
        os.mkfifo(path / "model.json")
    elif make is not None:
        make(path)
    with pytest.raises(InputError, match=r"expected a model: a folder with model\.json, found .*Give the folder model"):
        load_model(path)


# Plain arrays


@pytest.fixture(scope="module")
def arrays():
    """Return plain arrays of ten stars, in an arbitrary unit of flux."""
    velocity = np.linspace(-200, 200, 10)
    (arm,) = spectra(10, arms={"one": ONE}, seed=3, snr=40.0, velocity=velocity).arms.values()
    return {
        "wavelength": ONE,
        "flux": arm.flux.astype(float) * 1e-25,
        "ivar": arm.ivar.astype(float) * 1e50,
        "vrad": velocity,
        "phot_g_mean_mag": np.linspace(12, 16, 10),
        "ebv": np.full(10, 0.1),
        "teff": np.full(10, 5000.0),
    }


def test_plain_arrays_and_a_table_give_the_same(made, arrays, tmp_path):
    save_model(made, tmp_path / "model", PROVENANCE)
    hdus = {
        "STARS": {
            "TARGETID": 40 + np.arange(10),
            "VRAD": arrays["vrad"],
            "PHOT_G_MEAN_MAG": arrays["phot_g_mean_mag"],
            "EBV": arrays["ebv"],
            "TEFF": arrays["teff"],
        },
        "WAVELENGTH": ONE,
        "FLUX": arrays["flux"],
        "IVAR": arrays["ivar"],
    }
    path = table_files.write(tmp_path / "spectra.fits", hdus)
    predict_files(tmp_path / "model", [path], tmp_path / "out.parquet")
    table = read_columns(tmp_path / "out.parquet")
    plain = made.predict(**arrays, identifier=40 + np.arange(10))
    assert list(table) == plain.colnames
    for name in set(table) - {"TARGETID", "HELD_OUT"}:
        np.testing.assert_array_equal(table[name], np.ma.getdata(plain[name]), err_msg=name)


def test_the_unit_of_flux_is_arbitrary(made, arrays):
    other = {**arrays, "flux": arrays["flux"] * 2.0**200, "ivar": arrays["ivar"] / 2.0**400}
    assert_equal(made.predict(**other), made.predict(**arrays))


def test_flux_alone(made, arrays):
    full = made.predict(**arrays)
    bare = made.predict(ONE, arrays["flux"], vrad=arrays["vrad"])
    np.testing.assert_array_equal(bare["M_G_NN"], full["M_G_NN"])
    assert (bare["FLAGS"] == Flag.NO_ERROR_SPECTRUM | Flag.NO_MAGNITUDE | Flag.NO_EBV).all()
    for name in ("DIST", "DISTERR", "M_G_NN_ERR", "CHI2_RECONSTRUCTION"):
        assert np.isnan(column(bare, name)).all(), name


def test_one_star_and_one_number_for_all(made, arrays):
    one = made.predict(ONE, arrays["flux"][3], vrad=arrays["vrad"][3], phot_g_mean_mag=15.0, ebv=0.0)
    assert one["DIST"].shape == (1,)
    np.testing.assert_array_equal(one["M_G_NN"], made.predict(**arrays)["M_G_NN"][3:4])


def test_not_a_number_and_zero_ivar_are_bad_pixels(made, arrays):
    flux, ivar = arrays["flux"].copy(), arrays["ivar"].copy()
    flux[:, 100:104] = np.nan
    ivar[:, 300:304] = 0
    ivar[:, 310] = np.inf
    found = made.predict(**{**arrays, "flux": flux, "ivar": ivar})
    assert (found["FRACTION_BAD"] > made.predict(**arrays)["FRACTION_BAD"]).all()
    assert np.isfinite(found["M_G_NN_ERR"]).all()


def test_air_and_rest_agree_with_vacuum_and_observed(made):
    # The same spectra computed, without noise, at wavelengths of another kind.
    velocity, wavelength = np.linspace(-200, 200, 10), np.arange(3970, 4650, 0.8)

    def flux(observed_vacuum):
        return rest_flux(observed_vacuum * (1 - velocity[:, None] / C), 10, 3)

    expected = made.predict(wavelength, flux(wavelength), vrad=velocity)["M_G_NN"]
    at_rest = made.predict(wavelength, rest_flux(wavelength, 10, 3), frame="rest")["M_G_NN"]
    in_air = flux(wavelength * refractive_index(wavelength))
    air = made.predict(wavelength, in_air, vrad=velocity, medium="air")["M_G_NN"]
    wrong = made.predict(wavelength, flux(wavelength), vrad=-velocity)["M_G_NN"]
    # Interpolation at other places; lines are 1 A wide and more, pixels 0.8 A. Some stars' mistaken velocity shows.
    spread = np.std(expected)
    assert np.abs(at_rest - expected).max() < 0.05 * spread
    assert np.abs(air - expected).max() < 0.05 * spread
    assert np.abs(wrong - expected).max() > 0.5 * spread


def test_spectra_at_rest_remember_where_the_sky_was():
    velocity = np.array([100.0, -50.0])

    def read(**stars):
        survey = ArraySurvey(SpectraArrays(ONE, np.ones((2, len(ONE))), frame="rest"), stars)
        (found,) = survey.spectra(next(survey.stars()))
        return found

    found, unknown = read(vrad=velocity), read()
    np.testing.assert_array_equal(found.velocity, 0)
    np.testing.assert_array_equal(found.observed_velocity, velocity)
    np.testing.assert_array_equal(unknown.velocity, 0)
    assert np.isnan(unknown.observed_velocity).all()


def test_draws_are_named_by_the_identifier(made, arrays):
    names = np.arange(10)
    found = made.predict(**arrays, identifier=names)
    assert_equal(found, made.predict(**arrays))
    other = made.predict(**{**arrays, "flux": arrays["flux"][::-1], "ivar": arrays["ivar"][::-1]}, identifier=names + 9)
    assert (other["M_G_NN_ERR_NOISE"] != found["M_G_NN_ERR_NOISE"][::-1]).all()


@pytest.mark.parametrize("width", [0.4, 1.6])
def test_noise_belongs_to_the_pixels_of_the_spectra_that_are_predicted(made, width):
    # A model trained on 0.8 A pixels, spectra with others: the quoted error is the scatter of repeated observations.
    wavelength = np.arange(4000, 4620, width)
    flux = rest_flux(wavelength, 1, 3)
    sigma = 0.01 * flux.mean() * np.ones_like(flux)
    repeated = flux + sigma * np.random.default_rng(1).standard_normal((128, len(wavelength)))
    ivar = np.broadcast_to(sigma**-2, repeated.shape)
    found = made.predict(wavelength, repeated, ivar=ivar, frame="rest", phot_g_mean_mag=15.0)
    quoted = np.sqrt(np.mean(found["M_G_NN_ERR_NOISE"] ** 2))
    # 128 observations know their scatter to 6.3 %, and five draws of each their error to 3.1 %: three times that.
    assert quoted / found["M_G_NN"].std(ddof=1) == pytest.approx(1, abs=0.21)


def test_what_the_model_was_not_trained_for_is_said(made, arrays, caplog):
    with caplog.at_level(logging.WARNING, "specdis"):
        made.predict(**arrays)
        assert not caplog.records
        made.predict(np.arange(4100, 4500, 2.0), np.ones((1, 200)), frame="rest")
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "32 % of the wavelengths of arm B are not covered" in said
    assert "native pixels of 2.00 A in arm R, trained on 0.80 A" in said


def test_a_missing_arm_is_said(made):
    block = spectra(2)
    blue = Spectra(block.row, {"B": block.arms["B"], "Z": block.arms["B"]}, block.velocity, block.observed_velocity)
    assert differences(blue, made.grid, made.domain) == ["arm R is missing"]
    assert differences(block, made.grid, made.domain) == []


def test_parameters_outside_the_range_are_flagged(made, arrays):
    found = made.predict(**{**arrays, "teff": np.where(np.arange(10) < 3, 9000.0, np.nan)})
    assert (found["FLAGS"] & Flag.OUTSIDE_PARAMETERS > 0).tolist() == [True] * 3 + [False] * 7


# What arrays mean


def same(made, arrays, other):
    assert_equal(made.predict(**other), made.predict(**arrays))


@pytest.mark.parametrize(
    ("name", "unit", "other"),
    [
        ("wavelength", u.AA, u.nm),
        ("wavelength", u.AA, u.um),
        ("vrad", u.km / u.s, u.m / u.s),
        ("teff", u.K, u.kK),
        ("parallax", u.mas, u.arcsec),
        ("parallax_error", u.mas, u.uas),
        ("phot_g_mean_mag", u.mag, u.mmag),
    ],
)
def test_quantities_are_converted(made, arrays, name, unit, other):
    given = {**arrays, "parallax": np.linspace(0.1, 2, 10), "parallax_error": np.full(10, 0.1)}
    found, expected = made.predict(**{**given, name: (given[name] * unit).to(other)}), made.predict(**given)
    for column in ("DIST", "M_G_NN", "BINARY_POSSIBILITY", "M_G_GEO"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-4, err_msg=column)
    with pytest.raises(InputError, match=f"{name.upper() if name != 'wavelength' else name}.*'Pa'"):
        made.predict(**{**given, name: given[name] * u.Pa})


def test_units_of_flux_and_inverse_variance_go_together(made, arrays):
    unit = u.erg / u.s / u.cm**2 / u.AA
    flux, ivar = arrays["flux"] * unit, (arrays["ivar"] * unit**-2).to(u.Unit("W m-2 um-1") ** -2)
    found, expected = made.predict(**{**arrays, "flux": flux, "ivar": ivar}), made.predict(**arrays)
    np.testing.assert_allclose(found["DISTERR"], expected["DISTERR"], rtol=1e-5)
    same(made, arrays, {**arrays, "flux": flux})  # inverse variances without a unit are in that of the flux
    for wrong in (arrays["ivar"] * unit**-1, arrays["ivar"] * u.mag):
        with pytest.raises(InputError, match="ivar: expected the unit of flux to the power of -2"):
            made.predict(**{**arrays, "flux": flux, "ivar": wrong})
    with pytest.raises(InputError, match="ivar: expected the unit of flux to the power of -2, flux being without"):
        made.predict(**{**arrays, "ivar": ivar})


@pytest.mark.parametrize("factor", [0.1, 1e-4, 1e-10])
def test_numbers_that_cannot_be_angstrom_are_refused(made, arrays, factor):
    with pytest.raises(InputError, match="wavelength: expected wavelengths in Angstrom"):
        made.predict(**{**arrays, "wavelength": ONE * factor})


def test_logarithms_and_frequencies_are_refused(made, arrays):
    with pytest.raises(InputError, match="look like the logarithm of Angstrom"):
        made.predict(**{**arrays, "wavelength": np.log10(ONE)})
    backwards = {"flux": arrays["flux"][:, ::-1], "ivar": arrays["ivar"][:, ::-1]}
    with pytest.raises(InputError, match="look like Hz"):
        made.predict(**{**arrays, **backwards, "wavelength": (2.998e18 / ONE)[::-1]})


def masked(values, where):
    """Return an array whose masked values would do harm."""
    spoilt = np.ma.masked_array(np.array(values, float), where)
    spoilt.data[where] = 3.3
    return spoilt


@pytest.mark.parametrize("name", ["phot_g_mean_mag", "ebv", "teff", "vrad", "parallax", "parallax_error"])
@pytest.mark.parametrize("kind", [np.ma.asarray, MaskedColumn])
def test_what_is_masked_is_missing(made, arrays, name, kind):
    given = {**arrays, "parallax": np.linspace(0.1, 2, 10), "parallax_error": np.full(10, 0.1)}
    where = np.arange(10) % 3 == 0
    missing = {**given, name: np.where(where, np.nan, given[name])}
    same(made, missing, {**given, name: kind(masked(given[name], where))})


def test_a_masked_pixel_is_a_bad_one(made, arrays):
    where = np.zeros((10, 776), bool)
    where[:, 200:210] = where[3, 600:640] = True
    expected = {**arrays, "flux": np.where(where, np.nan, arrays["flux"])}
    spoilt = masked(arrays["flux"], where)
    same(made, expected, {**arrays, "flux": spoilt})
    same(made, expected, {**arrays, "flux": Masked(spoilt.data, mask=where) * u.dimensionless_unscaled})
    same(made, expected, {**arrays, "ivar": masked(arrays["ivar"], where)})
    same(made, expected, {**arrays, "mask": where})
    same(made, expected, {**arrays, "mask": where.astype(int) * 4})


def test_a_mask_has_the_shape_of_the_flux(made, arrays):
    with pytest.raises(InputError, match=r"mask: expected shape \(10, 776\), that of flux, found \(1, 776\)"):
        made.predict(**{**arrays, "mask": np.zeros(776, bool)})


def test_values_that_no_star_has_are_missing(made, arrays, caplog):
    magnitude, ebv = arrays["phot_g_mean_mag"].copy(), arrays["ebv"].copy()
    magnitude[:4] = 0.0, 99.0, -999.0, np.inf
    ebv[5], ebv[6] = -1.0, -99.0
    with caplog.at_level(logging.WARNING, "specdis"):
        found = made.predict(**{**arrays, "phot_g_mean_mag": magnitude, "ebv": ebv})
    assert (found["FLAGS"] & Flag.NO_MAGNITUDE > 0).tolist() == [True] * 4 + [False] * 6
    assert np.isnan(column(found, "DIST")[:4]).all()
    assert np.flatnonzero(found["FLAGS"] & Flag.NO_EBV).tolist() == [5, 6]
    assert "Model.predict: taken as missing: PHOT_G_MEAN_MAG" in caplog.text


def test_the_answer_is_a_table_of_the_catalogue(made, arrays):
    found = made.predict(**arrays, identifier=100 + np.arange(10))
    assert isinstance(found, Table)
    assert found.colnames == list(COLUMNS)
    assert (found["DIST"].unit, found["VRAD"].unit) == (u.kpc, u.km / u.s)
    assert found["DIST"].description == COLUMNS["DIST"].description
    assert found["TARGETID"].tolist() == list(range(100, 110))
    assert found.meta["EBVSCALE"] == made.settings.photometry.ebv_scale
    assert found.meta["GAIA"] == "DR3"


def test_rows_stay_in_the_order_of_the_spectra(made, arrays):
    names = np.array([5, 3, 9, 1, 0, 2, 8, 7, 6, 4])
    found, plainly = made.predict(**arrays, identifier=names), made.predict(**arrays)
    assert found["TARGETID"].tolist() == names.tolist()
    np.testing.assert_array_equal(found["M_G_NN"], plainly["M_G_NN"])


def test_parallax_errors_are_inflated_as_in_the_run(made, arrays):
    inflating = replace(
        made,
        settings=made.settings.model_copy(update={"photometry": PhotometrySettings(error_inflation="el-badry2021")}),
    )
    given = {**arrays, "parallax": np.full(10, 1.0), "parallax_error": np.full(10, 0.1)}
    ratio = inflating.predict(**given)["M_G_GEO_ERR"] / made.predict(**given)["M_G_GEO_ERR"]
    np.testing.assert_allclose(ratio, error_inflation(arrays["phot_g_mean_mag"]), rtol=1e-6)


def test_a_saved_model_has_its_spurious_parallaxes_and_uses_them(made, arrays, tmp_path):
    """Parallaxes are twenty times what the spectra say, 6.5 mag beyond the distributions, and quoted to 5 %."""
    distances = made.settings.distances.model_copy(update={"use_own_parallax": True})
    settings = made.settings.model_copy(update={"distances": distances})
    spurious = Spurious(0.02, 5.0)
    save_model(
        replace(made, settings=settings, calibration=Calibration.identity(spurious)), tmp_path / "model", PROVENANCE
    )
    robust = load_model(tmp_path / "model")
    assert robust.calibration.spurious == spurious
    parallax = 20 / np.asarray(made.predict(**arrays)["DIST_MIX"])
    given = {**arrays, "parallax": parallax, "parallax_error": 0.05 * parallax}
    plain, found = made.predict(**given), robust.predict(**given)
    # A parallax at its word would move the star by 6 mag, and make a binary improbable.
    assert (np.abs(found["M_G_NN_MIX"] - plain["M_G_NN_MIX"]) < 2).all()
    assert (found["BINARY_POSSIBILITY"] > 3 * plain["BINARY_POSSIBILITY"]).all()


def test_a_saved_model_takes_its_nuisances_out_of_parallaxes(made, arrays, tmp_path):
    photometry = PhotometrySettings(zero_point="none", nuisances="constant")
    settings = made.settings.model_copy(update={"photometry": photometry})
    plain = replace(made, settings=settings)
    n = made.networks.mixture.n_folds * made.networks.mixture.n_seeds
    found = Nuisances(np.full((n, 2, 1), [[0.02], [np.log(1.5)]]))
    save_model(replace(plain, networks=made.networks._replace(nuisances=found)), tmp_path / "model", PROVENANCE)
    given = {**arrays, "parallax": np.full(10, 0.1), "parallax_error": np.full(10, 0.05)}
    corrected = load_model(tmp_path / "model").predict(**given)
    expected = plain.predict(**{**given, "parallax": np.full(10, 0.08), "parallax_error": np.full(10, 0.075)})
    np.testing.assert_allclose(corrected["PARALLAX_ZPC"], 0.02)
    for name in ("M_G_GEO", "M_G_GEO_ERR", "PARALLAX_ERR_USED", "BINARY_POSSIBILITY", "DIST", "DIST_MIX"):
        np.testing.assert_allclose(column(corrected, name), column(expected, name), rtol=1e-6, err_msg=name)
    assert (column(corrected, "M_G_GEO") < column(plain.predict(**given), "M_G_GEO")).all()


def test_nuisances_that_are_not_of_the_settings_are_refused(made, tmp_path):
    n = made.networks.mixture.n_folds * made.networks.mixture.n_seeds
    wrong = made.networks._replace(nuisances=Nuisances(np.zeros((n, 2, 4))))
    save_model(replace(made, networks=wrong), tmp_path / "model", PROVENANCE)
    with pytest.raises(ProductError, match="nuisances"):
        load_model(tmp_path / "model")


def test_the_zero_point_is_applied_where_its_inputs_are_there(made, arrays):
    correcting = replace(made, settings=made.settings.model_copy(update={"photometry": PhotometrySettings()}))
    given = {**arrays, "parallax": np.full(10, 1.0), "parallax_error": np.full(10, 0.1)}
    recipe = {
        "astrometric_params_solved": np.full(10, 31),
        "nu_eff_used_in_astrometry": np.full(10, 1.5),
        "pseudocolour": np.full(10, np.nan),
        "ecl_lat": np.full(10, 30.0),
    }
    found, bare = correcting.predict(**given, **recipe), correcting.predict(**given)
    expected = zero_point(arrays["phot_g_mean_mag"], *(recipe[name] for name in _ZERO_POINT))
    np.testing.assert_allclose(found["PARALLAX_ZPC"], expected)
    assert not (found["FLAGS"] & Flag.NO_ZERO_POINT).any()
    assert (bare["FLAGS"] & Flag.NO_ZERO_POINT != 0).all()
    assert not (correcting.predict(**arrays)["FLAGS"] & Flag.NO_ZERO_POINT).any()


_ZERO_POINT = ("nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved")


def test_stars_that_trained_are_predicted_by_their_own_fold(made, arrays):
    trained = TrainedStars.of(
        {
            "TARGETID": np.arange(3),
            "STAR_ID": np.array([11, 12, 13]),
            "SOURCE_ID": np.array([11, 12, 13]),
            "TRAINABLE": np.ones(3, bool),
            "FOLD": np.array([0, 2, -1], np.int16),
            "CALIBRATION": np.array([True, False, False]),
        }
    )
    remembers = replace(made, trained=lambda: trained)
    sources = np.array([11, 12, 13, *range(50, 57)])
    found, strangers = remembers.predict(**arrays, source_id=sources), made.predict(**arrays)
    assert found["HELD_OUT"].tolist() == [True, True, False] + [True] * 7
    assert found["CALIBRATION"].tolist() == [True] + [False] * 9
    differs = np.asarray(found["M_G_NN"] != strangers["M_G_NN"])
    assert differs.tolist() == [True, True] + [False] * 8
    assert not remembers.predict(**arrays)["HELD_OUT"].any()  # rows 0, 1, 2 are no identifiers


def test_many_grids_are_one_program(made, arrays, caplog):
    def compiled():
        return [
            record.getMessage() for record in caplog.records if re.match(r"Compiling (jit\()?draw\b", record.message)
        ]

    made.predict(**{**arrays, "wavelength": ONE + 0.1})
    with jax.log_compiles():
        for k in range(1, 6):
            cut = slice(k, -2 * k)
            made.predict(ONE[cut] + 0.01 * k, arrays["flux"][:, cut], ivar=arrays["ivar"][:, cut], vrad=arrays["vrad"])
            logarithmic = np.geomspace(ONE[0], ONE[-1] + k, len(ONE))
            made.predict(logarithmic, arrays["flux"], ivar=arrays["ivar"], vrad=arrays["vrad"])
        assert not compiled()

        @jax.jit
        def draw(star):
            return star + 1

        draw(np.zeros(3))
        assert len(compiled()) == 1  # so is it said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength": ONE[::-1]}, "775 steps that do not increase"),
        ({"wavelength": ONE[:-1]}, "776 increasing values"),
        ({"wavelength": np.where(ONE[9] == ONE, np.nan, ONE)}, "1 that are not finite or not positive"),
        ({"wavelength": np.ma.masked_array(ONE, ONE[9] == ONE)}, "1 that are not finite or not positive"),
        ({"medium": "Air"}, "medium: expected 'vacuum' or 'air', found 'Air'"),
        ({"frame": "Rest"}, "frame: expected 'observed' or 'rest', found 'Rest'"),
        ({"gmag": np.full(10, 15.0)}, "gmag: expected a column of the spectra table"),
        ({"ecl_latt": np.full(10, 15.0)}, r"Did you mean ecl_lat\?"),
        ({"identifier": np.full(10, 15)}, "identifier: expected a number of its own for every spectrum"),
        ({"source_id": np.full(10, 15.0)}, "source_id: expected integers"),
        ({"teff": ["hot"] * 10}, "expected numbers"),
        ({"flux": np.ones((2, 3, 4))}, r"flux: expected shape \(star, pixel\)"),
        ({"ivar": np.ones((3, 776))}, r"ivar: expected shape \(10, 776\)"),
        ({"vrad": None}, "vrad: expected radial velocities"),
        ({"vrad": np.zeros(3)}, r"vrad: expected one number, or 10, found shape \(3,\)"),
        ({"ebv": np.zeros(11)}, r"ebv: expected one number, or 10"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(made, arrays, change, message):
    with pytest.raises(InputError, match=message):
        made.predict(**{**arrays, **change})
