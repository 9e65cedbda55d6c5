"""Real spectra: MILES, LAMOST and a DESI coadd read through the same code as everything else."""

from __future__ import annotations

from pathlib import Path

import fitsio
import numpy as np
import pytest

import desi_files as fake
from real_data import REAL, needs_real_data
from specdis.surveys import Spectra, open_file
from specdis.surveys.coadd import ARMS
from specdis.surveys.desi import CoaddSurvey, DesiSurvey
from specdis.surveys.layout import NATIVE_GRID
from specdis.surveys.table import ARM, TableSurvey

DESI = REAL / "desi" / "coadd-special-dark-27247.fits"

pytestmark = needs_real_data


def test_miles_reads_as_a_table_in_air_at_rest_without_errors() -> None:
    survey = open_file(REAL / "miles.fits")
    assert isinstance(survey, TableSurvey)
    [stars] = survey.stars()
    assert len(stars) == 984
    assert stars["USE"].sum() == 827
    assert np.bincount(stars["FOLD"][stars["USE"]]).min() > 100
    assert {"VRAD", "RUWE"}.isdisjoint(survey.columns)
    [spectra] = survey.spectra(stars)
    assert isinstance(spectra, Spectra)
    arm = spectra.arms[ARM]
    assert arm.flux.shape == (984, 4300)
    # Air to vacuum at 3540.5 and 7409.6 A.
    np.testing.assert_allclose(arm.wavelength[[0, -1]], [3541.512, 7411.641], atol=2e-3)
    assert spectra.velocity.tolist() == [0] * 984
    assert np.isnan(spectra.observed_velocity).all()
    ratio = np.abs(arm.flux) * np.sqrt(arm.ivar)
    np.testing.assert_allclose(ratio[~arm.bad], 100, rtol=1e-5)  # S/N is 100 throughout
    assert arm.bad.mean() < 1e-5
    # The hydrogen line of a hot star stands at its vacuum wavelength, 6564.61 A.
    hot = np.flatnonzero((stars["TEFF"] > 8500) & (stars["TEFF"] < 10_500))
    window = (arm.wavelength > 6550) & (arm.wavelength < 6580)
    profile = (arm.flux[hot][:, window] / np.median(arm.flux[hot][:, window], axis=1, keepdims=True)).mean(axis=0)
    depth = (profile.max() - profile) ** 2
    assert np.sum(arm.wavelength[window] * depth) / depth.sum() == pytest.approx(6564.61, abs=0.5)


def test_lamost_reads_with_masks_errors_and_velocities() -> None:
    survey = open_file(REAL / "lamost.fits")
    [stars] = survey.stars()
    assert len(stars) == 25
    np.testing.assert_allclose(stars["SN"], (stars["SN_G"] + stars["SN_R"]) / 2, rtol=1e-6)
    assert np.isnan(stars["PHOT_G_MEAN_MAG"]).all()
    [spectra] = survey.spectra(stars)
    assert isinstance(spectra, Spectra)
    arm = spectra.arms[ARM]
    stored = {name: fitsio.read(str(REAL / "lamost.fits"), ext=name) for name in ("FLUX", "IVAR", "MASK")}
    np.testing.assert_array_equal(arm.bad, (stored["MASK"] != 0) | (stored["IVAR"] <= 0))
    good = ~arm.bad
    np.testing.assert_allclose(
        (arm.flux * np.sqrt(arm.ivar))[good], (stored["FLUX"] * np.sqrt(stored["IVAR"]))[good], rtol=1e-5
    )
    np.testing.assert_array_equal(spectra.velocity, stars["VRAD"])
    assert arm.wavelength[0] == pytest.approx(3699.985, abs=1e-3)  # as stored: it is a vacuum wavelength


def check_coadd(spectra: object) -> None:
    assert isinstance(spectra, Spectra)
    assert spectra.row.tolist() == [0]
    for name in ARMS:
        arm = spectra.arms[name]
        np.testing.assert_allclose(arm.wavelength, NATIVE_GRID[name].wavelength(), atol=1e-6)
        np.testing.assert_array_equal(arm.flux, fitsio.read(str(DESI), ext=f"{name}_FLUX"))
        np.testing.assert_array_equal(arm.ivar, fitsio.read(str(DESI), ext=f"{name}_IVAR"))
        assert not arm.bad.any()


def test_a_real_coadd_reads_by_itself() -> None:
    survey = open_file(DESI)
    assert isinstance(survey, CoaddSurvey)
    [stars] = survey.stars()
    assert stars["TARGETID"].tolist() == [39089837499744649]
    assert (stars["SURVEY"][0], stars["PROGRAM"][0], stars["HEALPIX"][0]) == (b"special", b"dark", 27247)
    assert stars["SN"][0] == pytest.approx(0.761, abs=1e-3)
    [spectra] = survey.spectra(stars)
    check_coadd(spectra)
    assert np.isnan(spectra.velocity).all()


def test_a_real_coadd_reads_through_the_catalogue(tmp_path: Path) -> None:
    hdus = fake.catalogue(2)
    for hdu in ("RVTAB", "FIBERMAP"):
        hdus[hdu]["TARGETID"][1] = 39089837499744649
    hdus["RVTAB"]["SURVEY"], hdus["RVTAB"]["PROGRAM"], hdus["RVTAB"]["HEALPIX"] = b"special", b"dark", 27247
    link = fake.coadd_path(tmp_path, "special", "dark", 27247)
    link.parent.mkdir(parents=True)
    link.symlink_to(DESI)
    survey = DesiSurvey(fake.write(tmp_path / "mwsall.fits", hdus), tmp_path)
    [stars] = survey.stars()
    [spectra] = survey.spectra(stars.take(slice(1, 2)))
    check_coadd(spectra)
    assert spectra.velocity.tolist() == [-10]
