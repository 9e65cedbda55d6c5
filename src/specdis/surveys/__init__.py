"""Readers of surveys: one module for each kind of files; all return the same `Stars` and `Spectra`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from specdis.errors import InputError
from specdis.gaia import Release
from specdis.settings import Settings
from specdis.surveys.base import IDENTIFIER, STAR_COLUMNS, Arm, Fault, Spectra, Stars, Survey

__all__ = [
    "IDENTIFIER",
    "STAR_COLUMNS",
    "Arm",
    "Fault",
    "Spectra",
    "Stars",
    "Survey",
    "SurveySettings",
    "open_file",
    "open_survey",
]


class SurveySettings(Settings):
    """Section [survey]: where the stars and their spectra are."""

    kind: Literal["desi", "table", "mock"]
    """`desi`: a catalogue mwsall-pix-*.fits and the spectra by HEALPix pixel. `table`: one FITS spectra table. `mock`:
    the universe of section [mock], without files."""
    catalogue: Path | None = None
    """The file mwsall-pix-*.fits; only for `desi`."""
    spectra: Path | None = None
    """For `desi` the folder `healpix` or the one that holds it, for `table` the file; not for `mock`."""
    spectra_kind: Literal["coadd", "spmod"] = "coadd"
    """Observed spectra, or the survey's own continuum-normalised ones at rest; only for `desi`."""
    gaia: Release = "dr3"
    """Gaia release of identifiers, positions and parallaxes; `dr3` for DESI DR1 and the mock."""
    truth: Path | None = None
    """True distances; without it, truth.parquet beside the catalogue, if there is one. Not for `mock`, which knows."""

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> SurveySettings:
        given = [name for name in ("catalogue", "spectra", "truth") if getattr(self, name) is not None]
        if self.kind == "mock" and given:
            raise ValueError(f"kind = 'mock' takes no {' or '.join(given)}: its stars are made from section [mock]")
        if self.kind == "mock" and self.gaia != "dr3":
            raise ValueError("kind = 'mock' takes gaia = 'dr3' only: it simulates that release")
        if self.kind != "mock" and self.spectra is None:
            raise ValueError(f"kind = '{self.kind}' needs spectra, the folder or file that holds them")
        if self.kind == "desi" and self.catalogue is None:
            raise ValueError("kind = 'desi' needs catalogue, the file mwsall-pix-*.fits")
        if self.kind == "table" and self.catalogue is not None:
            raise ValueError("kind = 'table' takes no catalogue: the table given by spectra holds its own stars")
        if self.kind != "desi" and self.spectra_kind != "coadd":
            raise ValueError(f"kind = '{self.kind}' takes no spectra_kind: that is for kind = 'desi'")
        return self

    @property
    def truth_file(self) -> Path | None:
        """The file with true distances: the configured one, else truth.parquet beside the stars, if there is one."""
        if self.truth is not None:
            return self.truth
        stars = self.catalogue or self.spectra
        beside = stars and stars.with_name("truth.parquet")
        return beside if beside and beside.is_file() else None

    @property
    def place(self) -> str:
        """Where the stars are, for messages."""
        return str(self.catalogue or self.spectra or "the section [mock]")


def open_survey(settings: SurveySettings) -> Survey:
    """Open the survey that a configuration names.

    Raises
    ------
    InputError
        When its files are missing or not what they should be.
    """
    assert settings.spectra is not None
    if settings.kind == "table":
        from specdis.surveys.table import TableSurvey

        return TableSurvey(settings.spectra)
    from specdis.surveys.desi import DesiSurvey

    assert settings.catalogue is not None
    return DesiSurvey(settings.catalogue, settings.spectra, settings.spectra_kind)


def open_file(path: Path) -> Survey:
    """Open a single file of spectra as a survey: a spectra table, or a coadd or spmod file of DESI.

    Raises
    ------
    InputError
        When the file is of another kind, or is damaged.
    """
    from specdis.surveys.desi import CoaddSurvey
    from specdis.surveys.fits import reading_fits
    from specdis.surveys.table import TableSurvey

    with reading_fits(path) as file:
        names = {hdu.get_extname() for hdu in file} - {""}
        empty = len(file) == 1 and not file[0].has_data()
    if "STARS" in names:
        return TableSurvey(path)
    if "RVTAB" in names and "GAIA" in names:
        raise InputError(
            path,
            expected="a file with spectra",
            found="a catalogue (RVTAB and GAIA)",
            remedy="Give the coadd files, or a configuration with survey.catalogue and survey.spectra.",
        )
    if "FIBERMAP" not in names and not empty:
        raise InputError(
            path,
            expected="a spectra table, with the HDUs STARS, WAVELENGTH and FLUX, or a coadd or spmod file of DESI",
            found=f"the HDUs {', '.join(sorted(names)) or 'without names'}",
            remedy="Write the spectra as a spectra table: see docs/formats.md.",
        )
    return CoaddSurvey(path)
