"""The mock's colours beside relations measured on real stars, and its photometry's errors."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.mock import gaia, imaging
from specdis.mock.colours import absolute_magnitudes, band_offset, intrinsic_colours
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings
from specdis.mock.sky import map_reddening
from specdis.mock.stars import total_metallicity
from specdis.mock.structure import COMPONENTS, populations
from specdis.mock.targets import identifiers, observed

Table = dict[str, np.ndarray]

# Casagrande et al. (2021, MNRAS 507, 2684), Gaia DR3, BP - RP: coefficients of 1, C, C^2, C^3, C^5, log g, log g C,
# log g C^2, log g C^3, log g C^5, [Fe/H], [Fe/H] C, [Fe/H] C^2, [Fe/H] C^3 and [Fe/H] log g C
_CASAGRANDE = (
    *(7980.8845, -4138.3457, 1264.9366, -130.4388, 0.0, 285.8393, -324.2196, 106.8511, -4.9825, 0.0),
    *(4.5138, -203.7774, 126.6981, -14.7442, 40.7376),
)


def _casagrande(colour: np.ndarray, logg: np.ndarray, feh: np.ndarray) -> np.ndarray:
    """Return Teff from BP - RP."""
    c = colour
    terms = [np.ones_like(c), c, c**2, c**3, c**5]
    terms += [logg * term for term in terms] + [feh * term for term in terms[:4]] + [feh * logg * c]
    return np.asarray(sum(a * term for a, term in zip(_CASAGRANDE, terms, strict=True)))


@pytest.mark.parametrize("component", [b"thin", b"thick", b"halo"])
def test_bp_rp_is_that_of_stars_with_infrared_flux_temperatures(component: bytes) -> None:
    names = [each.name for each in COMPONENTS]
    stars = populations(MockSettings())[names.index(component)].columns
    colour = intrinsic_colours(stars["TEFF"], stars["LOGG"], total_metallicity(stars["FEH"], stars["ALPHAFE"]))
    wrong = _casagrande(colour["BP"] - colour["RP"], stars["LOGG"], stars["FEH"]) / stars["TEFF"] - 1
    giants, dwarfs = (stars["LOGG"] < 3.5) & (stars["TEFF"] > 4000), (stars["LOGG"] > 3.5) & (stars["TEFF"] > 5000)
    for rows in (giants, dwarfs):
        # the relation's stars scatter by 1 % (50 to 60 K), and scales of temperature differ by as much
        chosen = rows & (stars["TEFF"] < 8000)
        assert np.mean(np.abs(wrong[chosen]) < 0.02) > 0.95
        assert np.abs(np.median(wrong[chosen])) < 0.01


def test_the_sun_has_its_own_colours() -> None:
    # Willmer (2018, ApJS 236, 47): g - r, r - i and r - z of the Sun are 0.39, 0.12 and 0.14 for Pan-STARRS, which by
    # the terms of legacysurvey.org is 0.44 and 0.12 for DECam; BP - RP: Casagrande & VandenBerg (2018); W1 - W2 is
    # near 0 in Vega magnitudes, so near 2.699 - 3.339 in AB ones (Jarrett et al. 2011)
    sun = intrinsic_colours(np.array([5772.0]), np.array([4.438]), np.zeros(1))
    pairs = (("g", "r"), ("r", "z"), ("BP", "RP"), ("W1", "W2"))
    colour = {pair: sun[pair[0]][0] - sun[pair[1]][0] for pair in pairs}
    assert colour["g", "r"] == pytest.approx(0.44, abs=0.02)
    assert colour["r", "z"] == pytest.approx(0.12, abs=0.02)
    assert colour["BP", "RP"] == pytest.approx(0.82, abs=0.02)
    assert colour["W1", "W2"] == pytest.approx(-0.64, abs=0.03)


def test_colours_of_giants_depend_on_metallicity_and_gravity_and_bands_differ() -> None:
    teff, logg = np.full(4, 4800.0), np.array([2.2, 2.2, 2.2, 4.5])
    found = intrinsic_colours(teff, logg, np.array([-2.0, -1.0, 0.0, 0.0]))
    bp_rp = found["BP"] - found["RP"]
    # 0.01 to 0.05 mag per dex at fixed Teff (Casagrande et al. 2021; Mucciarelli et al. 2021), more among metals
    assert 0.0 < bp_rp[1] - bp_rp[0] < 0.03
    assert 0.02 < bp_rp[2] - bp_rp[1] < 0.06
    g_r, w = found["g"] - found["r"], found["W1"] - found["W2"]
    assert g_r[2] - g_r[1] > 1.5 * (bp_rp[2] - bp_rp[1])  # blue lines
    assert w[2] - w[1] < -0.03  # carbon monoxide in W2
    assert w[3] - w[2] > 0.01  # and less of it in dwarf stars


def test_colours_are_smooth_and_known_from_the_coolest_companion_to_the_hottest_star() -> None:
    teff = np.geomspace(2700.0, 12500.0, 4000)
    for logg in (0.5, 3.0, 4.8):
        for values in intrinsic_colours(teff, np.full(4000, logg), np.full(4000, -1.3)).values():
            assert np.isfinite(values).all()
            assert np.abs(np.diff(values)).max() < 0.01


def test_a_companion_adds_its_light_in_every_band() -> None:
    twin: Table = {name: np.array([value, value]) for name, value in (("TEFF", 5000.0), ("LOGG", 4.5), ("FEH", -0.5))}
    twin |= {"ALPHAFE": np.zeros(2), "M_G_PRIMARY": np.full(2, 6.0), "MASS_RATIO": np.array([1.0, np.nan])}
    twin |= {f"{name}_COMPANION": twin[name] for name in ("TEFF", "LOGG")} | {"M_G_COMPANION": np.full(2, 6.0)}
    for magnitude in absolute_magnitudes(twin).values():
        assert magnitude[1] - magnitude[0] == pytest.approx(2.5 * np.log10(2.0))


def test_magnitudes_scatter_about_the_truth_as_they_claim() -> None:
    settings = MockSettings(stars=20_000, band_scatter=0.0)
    stars = universe(settings)
    true, catalogue = absolute_magnitudes(stars), gaia.observed_by_gaia(stars, settings)
    imaged = imaging.observed_by_imaging(stars, settings)
    modulus = 5 * np.log10(stars["DIST"] / 0.01)
    for band in ("BP", "RP"):
        dust = gaia.true_extinction(stars["TEFF"], stars["EBV_IN_FRONT"], band)
        error = 2.5 / np.log(10) / catalogue[f"PHOT_{band}_MEAN_FLUX_OVER_ERROR"]
        off = catalogue[f"PHOT_{band}_MEAN_MAG"] - true[band] - modulus - dust - band_offset(settings, band)
        assert np.std(off / error) == pytest.approx(1.0, abs=0.03)
    for band, law in {"g": 3.214, "r": 2.165, "z": 1.211, "W1": 0.184, "W2": 0.113}.items():
        flux, ivar = imaged[f"FLUX_{band.upper()}"], imaged[f"FLUX_IVAR_{band.upper()}"]
        expected = true[band] + modulus + law * stars["EBV_IN_FRONT"] + band_offset(settings, band)
        pull = ((flux - 10 ** (0.4 * (22.5 - expected))) * np.sqrt(ivar))[ivar > 0]
        assert len(pull) > 5_000
        assert np.std(pull) == pytest.approx(1.0, abs=0.03)


def test_magnitudes_scatter_more_than_they_claim_and_zero_points_are_off() -> None:
    settings = MockSettings(stars=20_000, band_scatter=0.02, band_zero_point=0.03)
    stars = universe(settings)
    exact = MockSettings(stars=20_000, band_scatter=0.0, band_zero_point=0.0)
    offsets = []
    for band in ("G", "R", "Z"):
        flux, clean = (imaging.observed_by_imaging(stars, chosen)[f"FLUX_{band}"] for chosen in (settings, exact))
        bright = clean > 10.0  # 20 mag: noise is 1 mmag
        off = -2.5 * np.log10(flux[bright] / clean[bright])
        assert np.std(off) == pytest.approx(0.02, rel=0.05)
        offsets.append(np.median(off))
    assert np.ptp(offsets) > 0.005  # drawn for each band
    np.testing.assert_allclose(offsets, [band_offset(settings, band) for band in "grz"], atol=0.001)


def test_the_dust_map_is_wrong_by_what_its_settings_say() -> None:
    settings = MockSettings(ebv_error=0.16, ebv_error_floor=0.01)
    place = np.arange(20_000)
    for true in (0.05, 0.3):
        error = map_reddening(settings, place << 41, np.full(20_000, true)) - true
        assert error.mean() == pytest.approx(0.0, abs=4 * error.std() / 141)
        assert error.std() == pytest.approx(np.hypot(0.16 * true, 0.01), rel=0.03)
    # neighbours within the map's resolution share its error
    near = map_reddening(settings, (np.array([7, 7, 8]) << 41) | np.array([1, 999, 1]), np.full(3, 0.3))
    assert near[0] == near[1] != near[2]


def test_stars_without_imaging_have_neither_flux_nor_variance() -> None:
    settings = MockSettings(stars=6_000)
    parts = list(identifiers(settings))
    targets = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    rows, catalogue = observed(settings, targets)
    backup = rows["PROGRAM"] == b"backup"
    for band in imaging.LEGACY_BANDS:
        flux, ivar = rows[f"FLUX_{band.upper()}"], rows[f"FLUX_IVAR_{band.upper()}"]
        assert not flux[backup].any()
        assert not ivar[backup].any()
        np.testing.assert_array_equal(flux == 0, ivar == 0)
        assert 0.97 < np.mean(ivar[~backup & (rows["PHOT_G_MEAN_MAG"] > 17.5)] > 0) < 1.0
    # saturated at 15: a star of z = 15 is red and has G above 15.5
    assert (22.5 - 2.5 * np.log10(rows["FLUX_Z"][rows["FLUX_Z"] > 0]) > 14.9).all()
    assert np.std(rows["EBV"] - catalogue["EBV"]) == 0
