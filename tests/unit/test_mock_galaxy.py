"""The mock's galaxy: where its stars are, how bright, how fast."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude, SkyCoord
from astropy_healpix.core import healpix_to_lonlat, lonlat_to_healpix

from specdis.mock import gaia, galaxy, sky
from specdis.mock.draws import Draws
from specdis.mock.galaxy import universe
from specdis.mock.settings import MockSettings
from specdis.mock.sky import PROGRAMMES, footprint, system_pixels, true_reddening
from specdis.mock.structure import BHB, COMPONENTS, HALO, RRL, density, populations
from specdis.mock.systems import stream_coordinates
from specdis.photometry import PhotometrySettings, corrected

EDGES = [0, 1, 2, 5, 10, 20, 40, 70, 100, 150, 250]


@pytest.fixture(scope="module")
def stars() -> dict[str, np.ndarray]:
    return universe(MockSettings())


def test_every_distance_bin_has_stars(stars: dict[str, np.ndarray]) -> None:
    count, _ = np.histogram(stars["DIST"], EDGES)
    assert count.sum() == 10_000
    assert count.min() >= 80


def test_shares_are_those_asked_for(stars: dict[str, np.ndarray]) -> None:
    settings = MockSettings()
    assert np.mean(stars["PROGRAM"] == b"backup") == settings.backup_fraction
    assert np.mean(stars["PROGRAM"] == b"dark") == settings.dark_fraction
    # away from the stream and from the systems the shares are plain; binomial shares of 4,000 stars, 4 sigma
    _, beta = stream_coordinates(stars["RA"], stars["DEC"])
    field = (np.abs(beta) > 16) & ~np.isin(stars["HEALPIX"], system_pixels()) & (stars["PROGRAM"] != b"dark")
    assert field.sum() > 3_500
    halo = settings.halo_fraction + settings.distant_fraction
    assert np.mean(stars["COMPONENT"][field] == b"halo") == pytest.approx(halo, abs=0.03)
    assert np.mean(stars["COMPONENT"][field] == b"bhb") == pytest.approx(settings.bhb_fraction, abs=0.01)
    assert np.mean(stars["COMPONENT"][field] == b"rrl") == pytest.approx(settings.rrlyrae_fraction, abs=0.007)
    assert set(stars["COMPONENT"][field]) == {b"thin", b"thick", b"halo", b"bhb", b"rrl"}
    assert set(stars["COMPONENT"]) == {component.name for component in COMPONENTS}


def test_apparent_magnitudes_lie_within_the_limits(stars: dict[str, np.ndarray]) -> None:
    bright = stars["M_G_PRIMARY"] + 5 * np.log10(stars["DIST"]) + 10 + 2.3 * stars["EBV_IN_FRONT"]
    for programme in PROGRAMMES:
        mine = bright[stars["PROGRAM"] == programme.name]
        # steps of distance are 0.11 mag; half a step where a programme sees the very brightest giants, and there what
        # dust differs between a star and the centre of its pixel: 0.03 mag at |b| = 6 degrees
        assert mine.min() > programme.bright - 0.09
        assert mine.max() < programme.faint + 0.09


def test_dust_in_front_is_the_integral_of_a_layer() -> None:
    distance, sine = np.geomspace(0.01, 100, 50), np.array([[0.9], [-0.3]])
    found = sky.dust_in_front(0.1, distance, sine)
    path = np.linspace(0, 1, 20_001)[:, None, None] * distance
    density = np.exp(-path * np.abs(sine) / 0.1)
    column = np.trapezoid(density, path, axis=0)
    np.testing.assert_allclose(found, column * np.abs(sine) / 0.1, rtol=1e-3)
    np.testing.assert_array_equal(sky.dust_in_front(0.0, distance, sine), np.ones((2, 50)))


def test_near_stars_of_a_dust_layer_are_flagged_where_their_extinction_is_wrong() -> None:
    """The pipeline's flag against the mock's truth, with distances as good as predicted ones: 15 per cent."""
    settings = MockSettings(dust_height=0.1, stars=20_000, ebv_error=0.0, ebv_error_floor=0.0)
    stars = universe(settings)
    catalogue = gaia.observed_by_gaia(stars, settings)
    measured = catalogue | {"TEFF": stars["TEFF"]}
    columns = corrected(measured, PhotometrySettings())
    wrong = columns["A_G"] - gaia.true_extinction(stars["TEFF"], stars["EBV_IN_FRONT"], "G")
    assert wrong.min() > -2e-3
    modulus = 5 * np.log10(stars["DIST"]) - wrong + 0.15 * 2.17 * Draws(1, (stars["SOURCE_ID"],)).normal("error")
    flagged = 10 ** (modulus / 5) < columns["INSIDE_DUST_WITHIN"]
    far_off = wrong > 0.05
    assert 0.003 < far_off.mean() < 0.2
    assert flagged[far_off].mean() > 0.9
    assert flagged[~far_off].mean() < 0.02
    # A false alarm is a star that is wrong by little less, not one without dust behind it.
    assert np.median(wrong[flagged & ~far_off]) > 0.02


def test_identifiers_name_one_star_and_its_pixel(stars: dict[str, np.ndarray]) -> None:
    assert len(np.unique(stars["SOURCE_ID"])) == len(stars["SOURCE_ID"])
    np.testing.assert_array_equal(stars["SOURCE_ID"] >> 47, stars["HEALPIX"])


def test_positions_lie_in_the_pixels_that_identifiers_name(stars: dict[str, np.ndarray]) -> None:
    ra, dec = Longitude(stars["RA"], "deg"), Latitude(stars["DEC"], "deg")
    for nside, bit in ((64, 47), (4096, 35)):
        np.testing.assert_array_equal(lonlat_to_healpix(ra, dec, nside, order="nested"), stars["SOURCE_ID"] >> bit)


def test_files_hold_a_hundred_stars_or_more(stars: dict[str, np.ndarray]) -> None:
    for program in (b"bright", b"backup", b"dark"):
        _, count = np.unique(stars["HEALPIX"][stars["PROGRAM"] == program], return_counts=True)
        assert count.min() >= 80
    plan = footprint(MockSettings())
    assert len(np.intersect1d(plan[b"bright"][1], plan[b"backup"][1])) > 10


def test_a_star_does_not_depend_on_the_others(stars: dict[str, np.ndarray]) -> None:
    fewer = universe(MockSettings(stars=2000))
    _, one, other = np.intersect1d(fewer["SOURCE_ID"], stars["SOURCE_ID"], return_indices=True)
    assert len(one) == 2000
    for name in stars:
        np.testing.assert_array_equal(fewer[name][one], stars[name][other])


def test_another_seed_makes_another_universe(stars: dict[str, np.ndarray]) -> None:
    other = universe(MockSettings(stars=2000, seed=2))
    # identifiers are places: stars of one number in one pixel of both fall into one of 4096 smaller ones by chance
    assert np.isin(other["SOURCE_ID"], stars["SOURCE_ID"]).mean() < 0.01


def test_densities_are_those_published() -> None:
    sun = density(MockSettings(), np.array(8.2), np.array(0.0))
    np.testing.assert_allclose(sun, [1.0, 0.12, 0.005])
    thin, _, halo = density(MockSettings(), np.array([8.2, 8.2, 54.0, 108.0]), np.array([0.3, 0.6, 0.0, 0.0]))
    assert thin[0] / thin[1] == pytest.approx(np.e)
    assert halo[2] / halo[3] == pytest.approx(2.0**4.6)


def test_integrals_of_the_densities_are_those_of_their_formulas() -> None:
    height, radius = np.linspace(-30, 30, 6001), 0.02 * np.arange(1, 4001)
    thin, thick, _ = density(MockSettings(), np.full(6001, 8.2), height)
    # stars per area at the Sun: twice the scale height
    assert np.trapezoid(thin, height) == pytest.approx(0.6, rel=1e-4)
    assert np.trapezoid(thick, height) == pytest.approx(0.12 * 1.8, rel=1e-4)
    # all of a thin disc's plane: 2 pi h^2 exp(R_sun / h)
    plane = np.trapezoid(2 * np.pi * radius * density(MockSettings(), radius, np.zeros(4000))[0], radius)
    assert plane == pytest.approx(2 * np.pi * 2.6**2 * np.exp(8.2 / 2.6), rel=1e-4)
    # stars of a broken power law between 10 and 27 kpc and from there to 54 along its plane, by the antiderivative
    halo = density(MockSettings(), radius, np.zeros(4000))[2] * radius**2
    inner, outer = (np.trapezoid(halo[here], radius[here]) for here in (slice(499, 1350), slice(1349, 2700)))
    assert inner == pytest.approx(0.005 * 8.2**2.3 * (27**0.7 - 10**0.7) / 0.7, rel=1e-4)
    assert outer == pytest.approx(0.005 * 8.2**2.3 * 27**2.3 * (27**-1.6 - 54**-1.6) / 1.6, rel=1e-4)


def test_distances_follow_density_times_volume() -> None:
    """Where every star is seen, distances of the halo follow the integral along the line of sight, done anew here."""
    programme = PROGRAMMES[0]._replace(bright=-100.0, faint=100.0)
    settings = MockSettings(
        halo_fraction=1.0,
        distant_fraction=0.0,
        bhb_fraction=0.0,
        rrlyrae_fraction=0.0,
        stream_fraction=0.0,
        member_fraction=0.0,
    )
    pixel = np.full(20_000, 12_345)
    draws = Draws(1, (np.arange(20_000),))
    members = populations(settings)
    component, found = galaxy.components_and_distances(settings, programme, members, pixel, draws)
    assert (component == HALO).all()
    place = SkyCoord(*healpix_to_lonlat(12_345, 64, order="nested")).galactic
    away = np.geomspace(0.05, 250, 20_001)
    x, y, z = place.cartesian.xyz.value[:, None] * away + np.array([[-8.2], [0.0], [0.02]])
    reach = np.sqrt(x**2 + y**2 + (z / 0.59) ** 2)
    weight = np.where(reach < 27, reach**-2.3, 27**2.3 * reach**-4.6) * away**2
    cumulative = np.append(0, np.cumsum((weight[1:] + weight[:-1]) / 2 * np.diff(away)))
    for edge in (5.0, 10.0, 20.0, 40.0, 70.0, 150.0):
        expected = np.interp(edge, away, cumulative / cumulative[-1])
        # a binomial share, 4 sigma, and a density that is constant within steps of 5 % in distance
        tolerance = 4 * np.sqrt(expected * (1 - expected) / 20_000) + 0.002
        assert np.mean(found < edge) == pytest.approx(expected, abs=tolerance)


def test_the_density_of_the_halo_follows_its_settings() -> None:
    settings = MockSettings(halo_slopes=(2.0, 4.0, 6.0), halo_breaks=(16.0, 76.0), halo_flattening=0.8)
    radius = np.array([8.0, 16.0, 32.0, 64.0, 152.0, 304.0])
    halo = density(settings, radius, np.zeros(6))[2]
    assert halo[0] / halo[1] == pytest.approx(2.0**2)
    assert halo[2] / halo[3] == pytest.approx(2.0**4)
    assert halo[4] / halo[5] == pytest.approx(2.0**6)
    # as dense on the axis at 0.8 times the distance
    np.testing.assert_allclose(density(settings, np.zeros(6), 0.8 * radius)[2], halo)


def test_abundances_of_the_halo_follow_its_settings() -> None:
    usual, other = (populations(each) for each in (MockSettings(), MockSettings(halo_feh=-1.2, halo_feh_scatter=0.3)))
    assert other[HALO].columns["FEH"].std() / usual[HALO].columns["FEH"].std() == pytest.approx(2 / 3, abs=0.03)
    for place in (HALO, BHB, RRL):
        apart = other[place].columns["FEH"].mean() - usual[place].columns["FEH"].mean()
        assert apart == pytest.approx(0.3, abs=0.06)  # those seen on the horizontal branch depend on [Fe/H] a little


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"halo_slopes": (2.3,)}, "found 1 slopes and 1 breaks"),
        ({"halo_slopes": (2.0, 3.0, 4.0), "halo_breaks": (30.0, 20.0)}, "positive and increase"),
    ],
)
def test_a_halo_without_meaning_is_refused(wrong: dict[str, tuple[float, ...]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MockSettings(**wrong)


def test_rr_lyrae_stars_are_horizontal_branch_stars_in_the_gap() -> None:
    settings = MockSettings(rrlyrae_fraction=0.2)
    stars = universe(settings)
    mine = stars["PULSATING"]
    np.testing.assert_array_equal(mine, stars["COMPONENT"] == b"rrl")
    assert stars["TEFF"][mine].min() >= 6000
    assert stars["TEFF"][mine].max() <= 7400
    # M_G = 0.32 [Fe/H] + 1.11 with a scatter of 0.17 mag (Muraveva et al. 2018, MNRAS 481, 1195); zero points published
    # since then differ by 0.1 mag
    every = populations(settings)[RRL]
    apart = every.columns["M_G"] - (0.32 * every.columns["FEH"] + 1.11)
    order, weight = np.argsort(apart), np.diff(every.number)
    assert apart[order][np.searchsorted(np.cumsum(weight[order]), 0.5)] == pytest.approx(0.0, abs=0.17)
    # known variables: most of them, few of the others
    flag = gaia.observed_by_gaia(stars, settings)["PHOT_VARIABLE_FLAG"] == b"VARIABLE"
    assert flag[mine].mean() == pytest.approx(0.7, abs=0.06)
    assert flag[~mine].mean() < 0.03


def test_velocities_are_those_of_the_components(stars: dict[str, np.ndarray]) -> None:
    for name, low, high in ((b"thin", 15, 45), (b"thick", 40, 75), (b"halo", 110, 190)):
        mine = stars["COMPONENT"] == name
        assert low < stars["VRAD"][mine].std() < high
        across = 4.740471 * stars["DIST"][mine] * np.hypot(stars["PMRA"], stars["PMDEC"])[mine]
        assert low < np.median(across) < 2.5 * high


def test_the_sun_moves_towards_its_apex() -> None:
    halo = {"halo_fraction": 0.9, "distant_fraction": 0.1, "bhb_fraction": 0.0, "rrlyrae_fraction": 0.0}
    stars = universe(MockSettings(stars=20_000, **halo, stream_fraction=0.0, member_fraction=0.0))
    ra, dec = np.radians(stars["RA"]), np.radians(stars["DEC"])
    towards = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    motion = np.linalg.lstsq(towards.T, -stars["VRAD"], rcond=None)[0]
    # the halo hardly rotates, so that the Sun moves at 236 km/s towards l = 90, b = 0: RA 318.0, Dec 48.3
    # 20,000 stars of 130 km/s on half a sky: 3 km/s in each axis, allowed 6 sigma
    apex = np.radians([318.0, 48.3])
    direction = [np.cos(apex[1]) * np.cos(apex[0]), np.cos(apex[1]) * np.sin(apex[0]), np.sin(apex[1])]
    assert motion @ direction == pytest.approx(236.0, abs=20.0)


def test_dust_is_that_of_high_latitudes() -> None:
    pixel = np.arange(100_000)
    latitude = np.degrees(np.arcsin(sine := np.linspace(np.sin(np.radians(20)), 1, 100_000)))
    ebv = true_reddening(1, pixel, sine)
    # raw SFD98 has medians 0.042 and 0.033 at |b| > 20 and 30, and 95th percentiles 0.19 and 0.12
    for limit, median, high in ((20, 0.042, 0.19), (30, 0.033, 0.123)):
        np.testing.assert_allclose(np.percentile(ebv[latitude > limit], [50, 95]), [median, high], rtol=0.3)


def test_fractions_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="together exceed 1"):
        MockSettings(halo_fraction=0.7, distant_fraction=0.4)
    with pytest.raises(ValueError, match="leave no star"):
        MockSettings(backup_fraction=0.7, dark_fraction=0.3)


def test_blue_horizontal_branch_stars_are_hot_giants_to_100_kpc(stars: dict[str, np.ndarray]) -> None:
    blue = stars["COMPONENT"] == b"bhb"
    assert stars["TEFF"][blue].min() > 7400
    assert ((stars["LOGG"][blue] > 2.8) & (stars["LOGG"][blue] < 4.0)).all()
    # M_G of blue horizontal-branch stars is 0.4 to 0.8 and fainter at the hot end (Deason et al. 2011, Eq. 7)
    assert np.median(stars["M_G"][blue]) == pytest.approx(0.6, abs=0.2)
    assert stars["DIST"][blue].max() > 90
    assert np.mean(stars["COMPONENT"][stars["PROGRAM"] == b"dark"] == b"bhb") > 0.3


def test_a_survey_too_small_for_a_dark_file_has_none() -> None:
    assert b"dark" not in universe(MockSettings(stars=2000))["PROGRAM"]
