"""Clusters, dwarf galaxies and the Sagittarius stream in the mock, against what is published of them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import CartesianDifferential, Galactocentric, Latitude, Longitude, SkyCoord
from astropy_healpix.core import lonlat_to_healpix

from specdis.mock.galaxy import stream_velocity, universe
from specdis.mock.settings import MockSettings
from specdis.mock.sky import system_pixels
from specdis.mock.systems import TRACK, stream_coordinates, stream_density, stream_place
from specdis.references import TABLE_A1

MODULI = {
    **{"NGC 6218": 13.542, "NGC 6205": 14.352, "NGC 5904": 14.369, "NGC 6341": 14.647, "NGC 5272": 15.038},
    **{"NGC 7078": 15.149, "NGC 7089": 15.340, "NGC 5466": 16.037, "NGC 5053": 16.220, "NGC 5024": 16.336},
    **{"Pal 5": 16.706, "NGC 5634": 17.071, "NGC 2419": 19.734, "Draco": 19.398, "Sextans": 19.831},
}
"""Distance moduli in mag: Baumgardt & Vasiliev (2021) and, of the dwarfs, Pace et al. (2022)."""


@pytest.fixture(scope="module")
def stars() -> dict[str, np.ndarray]:
    return universe(MockSettings())


@pytest.mark.parametrize("system", TABLE_A1, ids=lambda system: system.name)
def test_members_are_at_the_published_distance_and_move_with_their_system(stars, system) -> None:
    mine = stars["COMPONENT"] == system.name.encode()
    assert mine.sum() >= 30
    modulus = 5 * np.log10(stars["DIST"][mine]) + 10
    # members scatter by 0.5 % in distance, 0.011 mag: the mean of 30 is good to 0.002 mag, allowed 4 sigma
    assert modulus.mean() == pytest.approx(MODULI[system.name], abs=0.008)
    sigma = 4 / np.sqrt(mine.sum())
    assert stars["VRAD"][mine].mean() == pytest.approx(system.vrad, abs=sigma * system.dispersion)
    scatter = system.dispersion / (4.740471 * system.distance)
    assert stars["PMRA"][mine].mean() == pytest.approx(system.pmra, abs=sigma * scatter)
    assert stars["PMDEC"][mine].mean() == pytest.approx(system.pmdec, abs=sigma * scatter)
    # the population leaves the range of metallicities at -2.9
    assert stars["FEH"][mine].mean() == pytest.approx(system.feh, abs=sigma * system.feh_scatter + 0.03)


def test_members_lie_in_the_pixel_of_their_system(stars) -> None:
    for system, pixel in zip(TABLE_A1, system_pixels(), strict=True):
        assert (stars["HEALPIX"][stars["COMPONENT"] == system.name.encode()] == pixel).all()


def test_half_of_the_members_lie_within_the_half_light_radius() -> None:
    """Of clusters whose pixel holds a circle of seven radii, so that 2 % of a Plummer profile are drawn inwards."""
    stars = universe(MockSettings(stars=20_000, stars_per_file=200))
    within, members = [], 0
    for system, pixel in zip(TABLE_A1, system_pixels(), strict=True):
        angle, away = np.linspace(0, 2 * np.pi, 60), 7 * system.radius / 60
        ra = system.ra + away * np.cos(angle) / np.cos(np.radians(system.dec))
        circle = Longitude(ra, "deg"), Latitude(system.dec + away * np.sin(angle), "deg")
        if (lonlat_to_healpix(*circle, 64, order="nested") == pixel).all():
            mine = stars["COMPONENT"] == system.name.encode()
            east = (stars["RA"][mine] - system.ra) * np.cos(np.radians(system.dec))
            within.append(np.hypot(east, stars["DEC"][mine] - system.dec) * 60 < system.radius)
            members += mine.sum()
    assert members > 400
    # a binomial share, 4 sigma; the profile in space, taken for that on the sky, has a third within the radius
    assert np.mean(np.concatenate(within)) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(members))


def test_without_members_there_are_none() -> None:
    stars = universe(MockSettings(member_fraction=0.0, stars=3000))
    assert not np.isin(stars["COMPONENT"], [system.name.encode() for system in TABLE_A1]).any()


def test_the_stream_s_frame_has_its_published_origin_and_pole() -> None:
    lam, beta = stream_coordinates(np.array([284.03877, 123.64740]), np.array([-29.00408, -59.52178]))
    np.testing.assert_allclose([lam[0], beta[0], beta[1]], [0.0, 0.0, 90.0], atol=1e-4)
    # places on the track of Antoja et al. (2020)
    ra, dec = stream_place(np.array([-75.0, 50.0, 125.0]))
    np.testing.assert_allclose(ra, [5.28067, 233.68010, 165.77164], atol=1e-4)
    np.testing.assert_allclose(dec, [-15.62205, -11.39837, 23.58177], atol=1e-4)
    lam, beta = stream_coordinates(ra, dec)
    np.testing.assert_allclose(lam, [-75.0, 50.0, 125.0], atol=1e-5)
    np.testing.assert_allclose(beta, 0.0, atol=1e-5)


def test_the_stream_lies_on_its_track_and_nowhere_else(stars) -> None:
    mine = stars["COMPONENT"] == b"sgr"
    assert mine.sum() > 50
    lam, beta = stream_coordinates(stars["RA"][mine], stars["DEC"][mine])
    assert np.abs(lam).max() < 140.5
    assert np.abs(beta).max() < 5 * 4.0
    ratio = stars["DIST"][mine] / np.interp(lam, TRACK[:, 0], TRACK[:, 1])
    # 8 % about the track; a magnitude limit and steps of 5 % in distance make it a little lopsided
    assert np.median(ratio) == pytest.approx(1.0, abs=0.06)
    assert 0.05 < ratio.std() < 0.12


def test_the_stream_s_density_falls_across_and_along_the_line_of_sight() -> None:
    ra, dec = stream_place(np.array([50.0]))
    density = stream_density(ra, dec, np.array([49.19, 49.19 * 1.08, 49.19 * 1.16]))
    np.testing.assert_allclose(density[0], np.exp([0.0, -0.5, -2.0]), rtol=1e-3)
    assert stream_density(*stream_place(np.array([150.0])), np.array([20.0])).max() == 0.0


def test_the_stream_moves_along_its_track() -> None:
    node, kpc, pmra, pmdec = TRACK.T
    sky = SkyCoord(
        *stream_place(node) * units.deg,
        distance=kpc * units.kpc,
        pm_ra_cosdec=pmra * units.mas / units.yr,
        pm_dec=pmdec * units.mas / units.yr,
        radial_velocity=stream_velocity(node) * units.km / units.s,
    )
    sun = CartesianDifferential([11.1, 245.8, 7.8] * units.km / units.s)
    galaxy = sky.transform_to(Galactocentric(galcen_distance=8.2 * units.kpc, z_sun=20 * units.pc, galcen_v_sun=sun))
    place, velocity = galaxy.cartesian.xyz.to_value("kpc"), galaxy.velocity.d_xyz.to_value("km/s")
    along = np.gradient(place, node, axis=1)
    cosine = np.sum(along * velocity, axis=0) / np.linalg.norm(along, axis=0) / np.linalg.norm(velocity, axis=0)
    # proper motions of 0.1 mas/yr across the track at 30 kpc are 14 km/s of 200 to 300; the ends are the least certain
    assert np.median(cosine) > 0.97
    assert cosine.min() > 0.8
