import logging

import numpy as np
import pytest

import table_files
from specdis.distances import Targets, star_keys
from specdis.errors import InputError, ProductError
from specdis.flags import Flag
from specdis.model import _plain_spectra, load_model
from specdis.pipeline.predict import predict_files
from specdis.spectra import Normalised, normalise
from specdis.storage import Provenance, read_json, read_table, write_json
from specdis.surveys.base import Arm, Spectra
from specdis.surveys.wavelengths import refractive_index
from synthetic_spectra import SMALL, model, rest_flux, spectra

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
    np.where(np.arange(STARS) == 7, np.nan, 1.0 - np.linspace(0, 1.5, STARS)),
    np.linspace(0.01, 0.3, STARS),
    np.full(STARS, 60.0),
    FOLD,
    star_keys(7, np.arange(STARS)),
)
"""Stars with parallaxes of both signs, one without a magnitude and one without a parallax."""


def predict(made, stored, block, rows):
    pixels = Normalised(*(values[rows] for values in stored))
    return made.predict_pixels(pixels, block.native_velocity[rows], TARGETS.take(rows))


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], name)


@pytest.fixture(scope="module")
def everything(made, stored, block):
    return predict(made, stored, block, np.arange(STARS))


# Blocks


@pytest.mark.parametrize("rows", [np.random.default_rng(1).permutation(STARS), np.array([17]), np.arange(64, 130)])
def test_a_star_depends_neither_on_its_block_nor_on_its_neighbours(made, stored, block, everything, rows):
    found = predict(made, stored, block, rows)
    assert_equal(found, {name: values[rows] for name, values in everything.items()})


def test_a_star_is_predicted_by_the_networks_of_its_fold(made, stored, block, everything):
    assert np.isfinite(np.delete(everything["LABEL"], 5)).all()
    inputs = made.encode(stored.flux, stored.sigma, stored.bad).coefficients / made.scale
    labels = np.asarray(made.networks.label.labels(inputs)).mean(1)
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


def test_spectra_unlike_those_of_the_training_are_flagged(made):
    block = spectra(4, seed=3, snr=300.0)
    ramp = 1 + 0.3 * np.sin(block.arms["B"].wavelength / 3)
    arms = {**block.arms, "B": Arm.cleaned(SMALL["B"], block.arms["B"].flux * ramp, None, block.arms["B"].bad)}
    strange = Spectra(block.row, arms, block.velocity, block.observed_velocity)
    for given, expected in ((block, 0), (strange, Flag.OUTSIDE_DOMAIN)):
        found = made.predict_spectra(given, TARGETS.take(slice(4))._replace(magnitude=np.full(4, 15.0)))
        assert (found["FLAGS"] & Flag.OUTSIDE_DOMAIN == expected).all()


# The folder


def test_a_saved_model_predicts_the_same(made, stored, block, everything, tmp_path):
    made.save(tmp_path / "model", PROVENANCE)
    loaded = load_model(tmp_path / "model")
    assert_equal(predict(loaded, stored, block, np.arange(STARS)), everything)
    assert loaded.settings == made.settings
    assert loaded.domain.limits == made.domain.limits
    np.testing.assert_array_equal(loaded.domain.reference, made.domain.reference)
    assert loaded.card == made.card
    made.save(tmp_path / "again", PROVENANCE)
    for path in (tmp_path / "model").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_a_damaged_model_says_so(made, tmp_path):
    made.save(tmp_path / "model", PROVENANCE)
    content = read_json(tmp_path / "model" / "model.json")
    write_json(tmp_path / "model" / "model.json", {**content, "settings": {}})
    with pytest.raises(ProductError, match=r"model\.json is not a model of this version"):
        load_model(tmp_path / "model")
    (tmp_path / "model" / "basis.npz").write_bytes(b"")
    with pytest.raises(ProductError, match=r"basis\.npz cannot be read"):
        load_model(tmp_path / "model")
    with pytest.raises(ProductError, match=r"model\.json is missing"):
        load_model(tmp_path / "nowhere")


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
    made.save(tmp_path / "model", PROVENANCE)
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
    table, plain = read_table(tmp_path / "out.parquet"), made.predict(**arrays)
    # The catalogue keeps some of it in single precision; random draws are named by TARGETID, SURVEY, ... there.
    for name, values in (("M_G_NN", plain["M_G_NN"]), ("DIST", plain["DIST"]), ("DISTMOD", plain["DISTMOD"])):
        np.testing.assert_allclose(table[name], values, rtol=1e-6, err_msg=name)
    np.testing.assert_allclose(table["CHI2_RECONSTRUCTION"], plain["CHI2_RECONSTRUCTION"], rtol=1e-5)
    ratio = table["M_G_NN_ERR"] / plain["M_G_NN_ERR"]
    assert 0.2 < ratio.min() < ratio.max() < 5


def test_the_unit_of_flux_is_arbitrary(made, arrays):
    other = {**arrays, "flux": arrays["flux"] * 2.0**200, "ivar": arrays["ivar"] / 2.0**400}
    assert_equal(made.predict(**other), made.predict(**arrays))


def test_flux_alone(made, arrays):
    full = made.predict(**arrays)
    bare = made.predict(ONE, arrays["flux"], vrad=arrays["vrad"])
    np.testing.assert_array_equal(bare["M_G_NN"], full["M_G_NN"])
    assert (bare["FLAGS"] == Flag.NO_ERROR_SPECTRUM | Flag.NO_MAGNITUDE | Flag.NO_EBV).all()
    for name in ("DIST", "DISTERR", "M_G_NN_ERR", "CHI2_RECONSTRUCTION"):
        assert np.isnan(bare[name]).all(), name


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
    found = _plain_spectra(ONE, np.ones((2, len(ONE))), None, velocity, "vacuum", "rest")
    np.testing.assert_array_equal(found.velocity, 0)
    np.testing.assert_array_equal(found.observed_velocity, velocity)
    unknown = _plain_spectra(ONE, np.ones((2, len(ONE))), None, None, "vacuum", "rest")
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
    assert made.coverage(blue) == ["arm R is missing"]
    assert made.coverage(block) == []


def test_parameters_outside_the_range_are_flagged(made, arrays):
    found = made.predict(**{**arrays, "teff": np.where(np.arange(10) < 3, 9000.0, np.nan)})
    assert (found["FLAGS"] & Flag.OUTSIDE_PARAMETERS > 0).tolist() == [True] * 3 + [False] * 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength": ONE[::-1]}, "775 steps that do not increase"),
        ({"wavelength": ONE[:-1]}, "776 increasing values"),
        ({"ivar": np.ones((3, 776))}, r"ivar: expected shape \(10, 776\)"),
        ({"vrad": None}, "vrad: expected radial velocities"),
        ({"vrad": np.zeros(3)}, r"vrad: expected one number, or 10, found shape \(3,\)"),
        ({"ebv": np.zeros(11)}, r"ebv: expected one number, or 10"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(made, arrays, change, message):
    with pytest.raises(InputError, match=message):
        made.predict(**{**arrays, **change})
