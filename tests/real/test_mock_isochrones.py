"""The mock's stars beside isochrones and stars that nobody simulated here: BaSTI-IAC and Hipparcos with Gaia DR3."""

from __future__ import annotations

import fitsio
import numpy as np
import pyarrow.parquet as pq
import pytest

from real_data import REAL
from specdis.mock.colours import intrinsic_colours
from specdis.mock.stars import SUN_M_BOL, bolometric_correction, isochrones, surface_gravity

BASTI = REAL / "isochrones" / "3000z132y264p00o0d0e0.isc_gaia-dr3-new"
HIPPARCOS = REAL / "hipparcos.parquet"
MILES = REAL / "miles.fits"


@pytest.fixture(scope="module")
def basti() -> dict[str, np.ndarray]:
    """[M/H] = -0.08, 3 Gyr, up to the tip of the giant branch."""
    if not BASTI.is_file():
        pytest.skip(f"{BASTI} is not there: set SPECDIS_REAL_DATA")
    names = ("mass", "mass_now", "log_l", "log_teff", "g", "bp", "rp", "g_rvs")
    table = dict(zip(names, np.loadtxt(BASTI).T, strict=True))
    tip = np.argmax(table["log_l"])
    return {name: values[: tip + 1] for name, values in table.items()} | {"teff": 10.0 ** table["log_teff"][: tip + 1]}


def _ours(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return log L and Teff of the mock's isochrone of the same age and metallicity between two phases."""
    tracks = isochrones()
    node = np.linspace(tracks.first_node[first], tracks.first_node[last] - 1, 400)
    log_luminosity, teff, _, _ = tracks.at(np.full(400, -0.08), np.full(400, 3.0), node)
    return log_luminosity, teff


def test_bolometric_corrections_and_colours_are_those_of_the_models(basti: dict[str, np.ndarray]) -> None:
    cool = basti["teff"] < 8000
    expected = SUN_M_BOL - 2.5 * basti["log_l"] - basti["g"]
    residual = bolometric_correction(basti["teff"]) - expected
    # one relation for all gravities: 0.06 mag at most among F to K stars, 0.25 mag among M stars
    warm = cool & (basti["teff"] > 4200)
    assert np.abs(residual[warm]).max() < 0.06
    assert np.abs(residual[cool & (basti["teff"] > 3400)]).max() < 0.25
    logg = surface_gravity(basti["mass_now"], basti["log_l"], basti["teff"])
    colour = intrinsic_colours(basti["teff"], logg, np.full(len(logg), -0.08))
    assert np.abs(colour["BP"] - colour["RP"] - basti["bp"] + basti["rp"])[warm].max() < 0.06
    assert np.abs(colour["RP"] - basti["rp"] + basti["g"])[warm].max() < 0.06


def test_the_main_sequence_lies_on_that_of_the_models(basti: dict[str, np.ndarray]) -> None:
    log_luminosity, teff = _ours(0, 1)
    below = slice(0, np.argmax(teff))  # the turn-off
    dwarfs = (basti["mass"] > 0.5) & (basti["mass"] < 1.10)
    ours = np.interp(basti["teff"][dwarfs], teff[below], log_luminosity[below])
    # analytic tracks against computed ones: 0.1 in log L is 0.25 mag
    assert np.abs(ours - basti["log_l"][dwarfs]).max() < 0.10


def test_the_giant_branch_lies_on_that_of_the_models(basti: dict[str, np.ndarray]) -> None:
    log_luminosity, teff = _ours(2, 3)
    giants = (basti["log_l"] > 1.0) & (basti["log_l"] < 3.2) & (basti["teff"] < 5300)
    assert np.abs(np.interp(basti["log_l"][giants], log_luminosity, teff) - basti["teff"][giants]).max() < 130.0


def test_gravities_are_those_of_the_models(basti: dict[str, np.ndarray]) -> None:
    ours = surface_gravity(basti["mass_now"], basti["log_l"], basti["teff"])
    radius = np.sqrt(10 ** basti["log_l"]) * (5772.0 / basti["teff"]) ** 2
    np.testing.assert_allclose(ours, 4.438 + np.log10(basti["mass_now"] / radius**2), atol=1e-6)


def test_the_red_clump_is_as_bright_as_that_of_hipparcos() -> None:
    if not HIPPARCOS.is_file():
        pytest.skip(f"{HIPPARCOS} is not there: set SPECDIS_REAL_DATA")
    table = pq.read_table(HIPPARCOS, columns=["plx_dr3", "g", "bp", "rp"])
    parallax, g, bp, rp = (table[name].to_numpy() for name in ("plx_dr3", "g", "bp", "rp"))
    near = (parallax > 5.0) & (bp - rp > 1.05) & (bp - rp < 1.4)
    magnitude = g[near] + 5.0 * np.log10(parallax[near] / 100.0)
    clump = magnitude[(magnitude > -0.3) & (magnitude < 1.2)]
    assert len(clump) > 150
    log_luminosity, teff = _ours(3, 4)
    ours = np.median(SUN_M_BOL - 2.5 * log_luminosity - bolometric_correction(teff))
    # giants of the branch and of other ages lie around it
    assert ours == pytest.approx(np.median(clump), abs=0.15)


def test_colours_are_those_of_library_stars_in_gaia() -> None:
    if not (HIPPARCOS.is_file() and MILES.is_file()):
        pytest.skip(f"{HIPPARCOS} or {MILES} is not there: set SPECDIS_REAL_DATA")
    stars = fitsio.read(str(MILES), ext="STARS")
    table = pq.read_table(HIPPARCOS, columns=["hip", "g", "bp", "rp"])
    hip, g, bp, rp = (table[name].to_numpy() for name in ("hip", "g", "bp", "rp"))
    _, ours, theirs = np.intersect1d(np.where(stars["HIP"] > 0, stars["HIP"], -1), hip, return_indices=True)
    stars, bp_rp = stars[ours], (bp - rp)[theirs]
    known = np.isfinite([bp_rp, stars["TEFF"], stars["LOGG"], stars["FEH"]]).all(axis=0)
    known &= (stars["EBV"] < 0.1) & (g[theirs] > 4)  # brighter ones saturate
    stars, bp_rp = stars[known], bp_rp[known] - 1.2 * stars["EBV"][known]
    colour = intrinsic_colours(*(stars[name].astype(float) for name in ("TEFF", "LOGG", "FEH")))
    apart = bp_rp - (colour["BP"] - colour["RP"])
    assert len(apart) > 100
    # errors of 60 to 100 K in the stars' Teff are 0.03 to 0.05 mag, of 20 to 60 stars in a group
    giants, hot = stars["LOGG"] < 3.5, stars["TEFF"] > 6000
    for rows in (giants & ~hot, ~giants & ~hot, hot):
        assert rows.sum() > 15
        assert np.abs(np.median(apart[rows])) < 0.03
        assert np.percentile(np.abs(apart[rows]), 68) < 0.07
