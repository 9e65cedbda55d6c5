"""What every reader returns: stars as columns, spectra as blocks of native pixels in vacuum."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from specdis.arrays import Array, Bool, Float32, Float64, Int64

ROWS = 10_000
"""Rows of a catalogue read at a time."""


class StarColumn(NamedTuple):
    """One quantity of a star; a missing float is NaN, a missing string empty."""

    dtype: str
    unit: str
    description: str
    missing: float | int | bytes | bool = np.nan


PHOTOMETRY: Mapping[str, StarColumn] = {
    "PHOT_G_MEAN_FLUX_OVER_ERROR": StarColumn("f4", "", "Gaia mean G flux over its error"),
    "PHOT_BP_MEAN_FLUX_OVER_ERROR": StarColumn("f4", "", "Gaia mean BP flux over its error"),
    "PHOT_RP_MEAN_FLUX_OVER_ERROR": StarColumn("f4", "", "Gaia mean RP flux over its error"),
    "FLUX_G": StarColumn("f4", "nanomaggy", "Legacy Survey flux in g"),
    "FLUX_R": StarColumn("f4", "nanomaggy", "Legacy Survey flux in r"),
    "FLUX_Z": StarColumn("f4", "nanomaggy", "Legacy Survey flux in z"),
    "FLUX_W1": StarColumn("f4", "nanomaggy", "WISE flux in W1, on the AB system"),
    "FLUX_W2": StarColumn("f4", "nanomaggy", "WISE flux in W2, on the AB system"),
    "FLUX_IVAR_G": StarColumn("f4", "nanomaggy-2", "Inverse variance of FLUX_G"),
    "FLUX_IVAR_R": StarColumn("f4", "nanomaggy-2", "Inverse variance of FLUX_R"),
    "FLUX_IVAR_Z": StarColumn("f4", "nanomaggy-2", "Inverse variance of FLUX_Z"),
    "FLUX_IVAR_W1": StarColumn("f4", "nanomaggy-2", "Inverse variance of FLUX_W1"),
    "FLUX_IVAR_W2": StarColumn("f4", "nanomaggy-2", "Inverse variance of FLUX_W2"),
    "J_M": StarColumn("f4", "mag", "2MASS J magnitude"),
    "H_M": StarColumn("f4", "mag", "2MASS H magnitude"),
    "KS_M": StarColumn("f4", "mag", "2MASS Ks magnitude"),
    "J_MSIGCOM": StarColumn("f4", "mag", "Uncertainty of J_M"),
    "H_MSIGCOM": StarColumn("f4", "mag", "Uncertainty of H_M"),
    "KS_MSIGCOM": StarColumn("f4", "mag", "Uncertainty of KS_M"),
}
"""Columns for colours, of `STAR_COLUMNS` too; a sample has those that its survey has."""

# One list for every survey, the mock and the tests. Names are DESI's and Gaia's own.
STAR_COLUMNS: Mapping[str, StarColumn] = {
    "TARGETID": StarColumn("i8", "", "DESI target identifier", 0),
    "SURVEY": StarColumn("S7", "", "DESI survey: main, sv1, sv2, sv3, special, cmx", b""),
    "PROGRAM": StarColumn("S6", "", "DESI programme: bright, backup, dark, other", b""),
    "HEALPIX": StarColumn("i8", "", "HEALPix pixel, nside 64, nested", -1),
    "SOURCE_ID": StarColumn("i8", "", "Gaia source identifier, of the release `survey.gaia`; 0 without a match", 0),
    "RA": StarColumn("f8", "deg", "Gaia right ascension"),
    "DEC": StarColumn("f8", "deg", "Gaia declination"),
    "PMRA": StarColumn("f8", "mas yr-1", "Gaia proper motion in right ascension, times cos(dec)"),
    "PMRA_ERROR": StarColumn("f4", "mas yr-1", "Uncertainty of PMRA"),
    "PMDEC": StarColumn("f8", "mas yr-1", "Gaia proper motion in declination"),
    "PMDEC_ERROR": StarColumn("f4", "mas yr-1", "Uncertainty of PMDEC"),
    "PARALLAX": StarColumn("f8", "mas", "Gaia parallax, before zero-point correction"),
    "PARALLAX_ERROR": StarColumn("f4", "mas", "Uncertainty of PARALLAX"),
    "PHOT_G_MEAN_MAG": StarColumn("f4", "mag", "Gaia mean G magnitude"),
    "PHOT_BP_MEAN_MAG": StarColumn("f4", "mag", "Gaia mean BP magnitude"),
    "PHOT_RP_MEAN_MAG": StarColumn("f4", "mag", "Gaia mean RP magnitude"),
    "RUWE": StarColumn("f4", "", "Gaia renormalised unit weight error"),
    "PHOT_VARIABLE_FLAG": StarColumn("S13", "", "Gaia variability: VARIABLE, CONSTANT, NOT_AVAILABLE", b""),
    "ASTROMETRIC_PARAMS_SOLVED": StarColumn("i2", "", "Gaia solution: 31 five, 95 six, 3 two parameters", 0),
    "NU_EFF_USED_IN_ASTROMETRY": StarColumn("f4", "um-1", "Gaia effective wavenumber"),
    "PSEUDOCOLOUR": StarColumn("f4", "um-1", "Gaia astrometric pseudocolour"),
    "ECL_LAT": StarColumn("f8", "deg", "Gaia ecliptic latitude"),
    "EBV": StarColumn("f4", "mag", "Reddening E(B-V) as the survey's file gives it"),
    "VRAD": StarColumn("f8", "km s-1", "Heliocentric radial velocity"),
    "RVS_WARN": StarColumn("i8", "", "Warning bits of the radial-velocity fit", 0),
    "TEFF": StarColumn("f4", "K", "Effective temperature"),
    "LOGG": StarColumn("f4", "dex", "Surface gravity, log10 of cm s-2"),
    "FEH": StarColumn("f4", "dex", "Iron abundance [Fe/H]"),
    "ALPHAFE": StarColumn("f4", "dex", "Alpha abundance [alpha/Fe]"),
    "SN_B": StarColumn("f4", "", "Median S/N per Angstrom^(1/2) of the B arm"),
    "SN_R": StarColumn("f4", "", "Median S/N per Angstrom^(1/2) of the R arm"),
    "SN": StarColumn("f4", "", "S/N of the spectrum: the mean of the B and R arms, or what the survey gives"),
    **PHOTOMETRY,
}

IDENTIFIER = ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX")


class Missing(NamedTuple):
    """A kind of value that counts as missing: its column and the reason."""

    place: str
    column: str
    reason: str


@dataclass(frozen=True)
class Stars:
    """Columns of one length, one row per coadded spectrum.

    Parameters
    ----------
    columns
        Name to array, shape (star,), native byte order. `IDENTIFIER` is always there; what a survey lacks is absent.
    missing
        Number of values that count as missing, by column and reason, among the rows as they were read; empty after
        `take`.
    """

    columns: Mapping[str, Array]
    missing: Mapping[Missing, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def get(self, name: str) -> Array:
        """Return a column of `STAR_COLUMNS`; where the survey lacks it, all its values are missing."""
        if name in self.columns:
            return self.columns[name]
        column = STAR_COLUMNS[name]
        return np.full(len(self), column.missing, dtype=column.dtype)

    def take(self, rows: Array | slice) -> Stars:
        """Select rows by an index, a mask or a slice."""
        return Stars({name: values[rows] for name, values in self.columns.items()})

    def replace(self, **columns: Array) -> Stars:
        """Return the stars with columns added or replaced."""
        return Stars({**self.columns, **columns}, self.missing)

    @staticmethod
    def concatenate(parts: Sequence[Stars]) -> Stars:
        """Join blocks that have the same columns, in order."""
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0].columns}
        return Stars(columns, sum((Counter(part.missing) for part in parts), Counter[Missing]()))


FLUX_LIMIT = 1e3
"""A pixel whose flux or error is larger than this many times the median of the spectrum's absolute flux is bad."""

_FLUX_MAX = 1e18
"""The sum of squares of larger fluxes overflows single precision."""


@dataclass(frozen=True)
class Arm:
    """Native pixels of one arm for a block of stars.

    Parameters
    ----------
    wavelength
        Vacuum wavelength in Angstrom, increasing, shape (pixel,).
    flux
        Flux, or flux over continuum where `Spectra.normalised`; shape (star, pixel), 0 where bad.
    ivar
        Inverse variance of `flux`, shape (star, pixel), 0 where bad; None where the survey has no errors.
    bad
        True where a pixel must not be used, shape (star, pixel).
    native
        Observed-frame wavelengths of the detector's pixels, where `wavelength` is a resampling of them.
    """

    wavelength: Float64
    flux: Float32
    ivar: Float32 | None
    bad: Bool
    native: Float64 | None = None

    @property
    def native_wavelength(self) -> Float64:
        """Wavelengths of the detector's pixels, which have independent noise, Angstrom, shape (native pixel,)."""
        return self.wavelength if self.native is None else self.native

    @classmethod
    def cleaned(cls, wavelength: Float64, flux: Array, ivar: Array | None, masked: Bool) -> Arm:
        """Make an arm from the arrays of a survey; find its bad pixels and set them to 0.

        A pixel is bad if the survey masks it, if its flux is not finite, if there are errors and its inverse variance
        is not finite and positive, or if its flux or error is absurd for the spectrum.
        """
        with np.errstate(over="ignore"):
            flux = flux.astype(np.float32)
            ivar = None if ivar is None else ivar.astype(np.float32)
        bad = masked | ~np.isfinite(flux)
        if ivar is not None:
            bad |= ~(np.isfinite(ivar) & (ivar > 0))
        arm = cls(wavelength, flux, ivar, bad)
        bad |= arm.absurd()
        if ivar is not None:
            ivar[bad] = 0
        flux[bad] = 0
        return arm

    def absurd(self) -> Bool:
        """Find further pixels with an absurd flux or error for their spectrum, shape (star, pixel).

        Such a pixel would dominate the continuum around it, the mean and the norm. The measure is the median absolute
        flux of the good pixels, which is robust against a few pixels; no stellar line comes near the limit.
        """
        size = np.where(self.bad, np.float32(0), np.abs(self.flux))
        count = np.count_nonzero(size, axis=1)
        place = np.minimum(size.shape[1] - count + count // 2, size.shape[1] - 1)
        limit = np.float32(FLUX_LIMIT) * np.take_along_axis(np.sort(size, axis=1), place[:, None], axis=1)
        found = (size > limit) | (size > np.float32(_FLUX_MAX))
        if self.ivar is not None:
            with np.errstate(over="ignore", under="ignore"):
                too_uncertain = np.sqrt(self.ivar, where=~self.bad, out=np.ones_like(self.ivar)) * limit < 1
            # Without any flux there is no scale to compare errors with.
            found |= too_uncertain & (limit > 0)
        return np.asarray(found & ~self.bad)

    def take(self, rows: Array) -> Arm:
        """Select stars by an index or a mask."""
        ivar = None if self.ivar is None else self.ivar[rows]
        return replace(self, flux=self.flux[rows], ivar=ivar, bad=self.bad[rows])


def flux_unit(flux: Array) -> Float64:
    """Return the power of two nearest to the mean flux of each star; divided by it, any flux fits single precision.

    The mean is taken over the logarithm of absolute values. Division by a power of two is exact.

    Parameters
    ----------
    flux
        Flux of a block of stars, shape (star, pixel).

    Returns
    -------
    ndarray of float64, shape (star, 1)
    """
    size = np.abs(flux)
    used = np.isfinite(size) & (size > 0)
    exponent = np.log2(size, out=np.zeros(flux.shape), where=used)
    mean = exponent.sum(axis=1, keepdims=True) / np.maximum(used.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.exp2(np.round(mean)))


@dataclass(frozen=True)
class Spectra:
    """Spectra of some of the requested stars.

    Parameters
    ----------
    row
        Row of each spectrum in the requested `Stars`, shape (star,).
    arms
        Name to arm; an arm that a file lacks is absent.
    velocity
        Radial velocity in km/s that takes `wavelength` to the rest frame, shape (star,); 0 where it is at rest, NaN
        where it is not known.
    observed_velocity
        Velocity in km/s with which the rest frame was reached, shape (star,): equal to `velocity` for observed
        spectra, and what the survey applied for spectra that come at rest. NaN where it is not known.
    normalised
        True where the flux is already divided by the continuum.
    """

    row: Int64
    arms: Mapping[str, Arm]
    velocity: Float64
    observed_velocity: Float64
    normalised: bool = False

    def __len__(self) -> int:
        return len(self.row)

    @property
    def native_velocity(self) -> Float64:
        """Velocity in km/s between the detector's pixels and the rest frame, shape (star,)."""
        resampled = any(arm.native is not None for arm in self.arms.values())
        return self.observed_velocity if resampled else self.velocity

    def take(self, chosen: Array) -> Spectra:
        """Select spectra by an index or a mask."""
        arms = {name: arm.take(chosen) for name, arm in self.arms.items()}
        return Spectra(self.row[chosen], arms, self.velocity[chosen], self.observed_velocity[chosen], self.normalised)


@dataclass(frozen=True)
class Fault:
    """Spectra that could not be read, with the reason: logged, counted and named, never dropped silently.

    Parameters
    ----------
    name
        Short name of the kind of fault, the same for all of its kind: `missing-file`, `unreadable-file`, ...
    place
        File, HDU or column.
    message
        What is wrong and what to do.
    row
        Rows of the requested `Stars` that are lost by it, shape (star,).
    """

    name: str
    place: str
    message: str
    row: Int64


class Survey(Protocol):
    """A survey's files, read in blocks.

    Attributes
    ----------
    name
        Short name for logs and provenance.
    columns
        Names of `STAR_COLUMNS` that the files hold; a cut on any other is not applied, and this is reported.
    predicts_every_row
        True where rows outside the selection are predicted too unless the configuration says otherwise.
    inputs
        Files whose size and date show that the survey changed.
    """

    name: str
    columns: frozenset[str]
    predicts_every_row: bool
    inputs: Sequence[Path]

    def parts(self, block: int = ROWS) -> Iterator[Any]:
        """Yield parts of `block` rows, in file order, as objects that can be pickled."""
        ...

    def part(self, rows: Any) -> Stars:
        """Read the rows of one part, only the needed columns."""
        ...

    def stars(self, block: int = ROWS) -> Iterator[Stars]:
        """Yield all rows in file order, `block` rows at a time."""
        return map(self.part, self.parts(block))

    def files(self, stars: Stars) -> Sequence[Path]:  # noqa: ARG002
        """Return the files, besides `inputs`, with the spectra of the given stars, existing or not."""
        return ()

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars, file by file; every row appears once, in a block or in a fault."""
        ...
