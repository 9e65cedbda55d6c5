"""The columns of the catalogue: Table 1 of the paper in its order, then what a user needs to trust a row.

This one table feeds both files, their units, UCDs and descriptions, the verification and the documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from specdis.flags import Flag
from specdis.network.settings import RELEASED

EXTENSION, MIXTURE, DRAWS = "SPECDIS", "MIXTURE", "DRAWS"
"""Tables of the FITS file: the catalogue, the Gaussians of every star, and random distances if they are wanted."""


@dataclass(frozen=True)
class Field:
    """Description of one column of a file.

    Parameters
    ----------
    name
        Name of the column.
    dtype
        Type as numpy writes it: `f8`, `i2`, `?`, `S7`.
    unit
        Unit in FITS spelling; empty where there is none.
    ucd
        Unified Content Descriptor (IVOA UCD1+).
    description
        One sentence.
    null
        Integer that stands for a missing value; missing floats are NaN, missing strings empty.
    """

    name: str
    dtype: str
    unit: str
    ucd: str
    description: str
    null: int | None = None


@dataclass(frozen=True)
class Column(Field):
    """A column of the catalogue: its field, and where its values come from.

    Parameters
    ----------
    source
        `table.NAME` of the column it is taken from, the table being `sample`, `distances` or `binaries`; empty where
        it is computed from others.
    missing
        When the value is missing; empty where it never is.
    allowed
        Smallest and largest value, both allowed.
    extension
        Its table in the FITS file, where each repeats the identifier of its rows.
    """

    source: str = ""
    missing: str = ""
    allowed: tuple[float, float] | None = None
    extension: str = EXTENSION

    @property
    def range(self) -> str:
        """What `allowed` says, in words; empty where every value is allowed."""
        if self.allowed is None:
            return ""
        low, high = self.allowed
        if high == np.inf:
            return "> 0" if low > 0 else ">= 0"
        return f"from {low:g} to {high:g}"


def _gaussians() -> tuple[Column, ...]:
    """Return the columns of the Gaussians that stand for a star's distribution of magnitude."""
    described = {
        "MIX_WEIGHT": (
            "",
            "stat.weight",
            "Fraction of Gaussian {} in the distribution of M_G by the mixture network",
            _FRACTION,
        ),
        "MIX_M_G": ("mag", "phys.magAbs;em.opt;stat.mean", "Mean of Gaussian {} in absolute G magnitude", None),
        "MIX_SIGMA": ("mag", "stat.stdev;phys.magAbs;em.opt", "Standard deviation of Gaussian {}", _POSITIVE),
    }
    return tuple(
        Column(f"{name}_{number}", "f4", unit, ucd, text.format(number), source=f"distances.{name}_{number}",
               missing=_NO_SPECTRUM, allowed=allowed, extension=MIXTURE)
        for name, (unit, ucd, text, allowed) in described.items()
        for number in range(1, RELEASED + 1)
    )  # fmt: skip


_POSITIVE = (float(np.finfo(np.float32).tiny), np.inf)
_NOT_NEGATIVE = (0.0, np.inf)
_FRACTION = (0.0, 1.0)
_LATITUDE = (-90.0, 90.0)

_NOT_GIVEN = "not in the survey"
_NO_LABEL = "no spectrum, or its predicted label <= 0"
_NO_DISTANCE = "M_G_NN or PHOT_G_MEAN_MAG is missing, or it would be beyond 10,000 kpc"
_NO_DRAWS = "no spectrum or no error spectrum"
_NO_ERROR = "no error spectrum, or a draw has a label <= 0"
_NO_ERROR_OF_LABEL = "or, by the label network, no error spectrum or a draw with a label <= 0"
_NO_QUANTILES = "DIST is missing, or, by the label network, no error spectrum"
_NO_BINARIES = "no spectrum, no parallax, or a model without a binary network"
_NO_BINARY_FLAG = f"M_G_NN_LABEL is missing, {_NO_BINARIES.removeprefix('no spectrum, ')}"
_NO_SPECTRUM = "no spectrum"
_NO_POSTERIOR = "no spectrum or PHOT_G_MEAN_MAG, no prior, or one that leaves no distance to the star"

# fmt: off
_COLUMNS: tuple[Column, ...] = (
    # Table 1 of the paper, in its order.
    Column("TARGETID", "i8", "", "meta.id;meta.main", "DESI target identifier", source="sample.TARGETID"),
    Column("SOURCE_ID", "i8", "", "meta.id.cross", "Gaia source identifier, of the release GAIA of the header", 0,
           source="sample.SOURCE_ID", missing="no Gaia match"),
    Column("RA", "f8", "deg", "pos.eq.ra;meta.main", "Gaia right ascension",
           source="sample.RA", missing=_NOT_GIVEN, allowed=(0.0, 360.0)),
    Column("DEC", "f8", "deg", "pos.eq.dec;meta.main", "Gaia declination",
           source="sample.DEC", missing=_NOT_GIVEN, allowed=_LATITUDE),
    Column("PMRA", "f8", "mas yr-1", "pos.pm;pos.eq.ra", "Gaia proper motion in right ascension, times cos(DEC)",
           source="sample.PMRA", missing=_NOT_GIVEN),
    Column("PMRA_ERR", "f4", "mas yr-1", "stat.error;pos.pm;pos.eq.ra", "Uncertainty of PMRA",
           source="sample.PMRA_ERROR", missing=_NOT_GIVEN, allowed=_NOT_NEGATIVE),
    Column("PMDEC", "f8", "mas yr-1", "pos.pm;pos.eq.dec", "Gaia proper motion in declination",
           source="sample.PMDEC", missing=_NOT_GIVEN),
    Column("PMDEC_ERR", "f4", "mas yr-1", "stat.error;pos.pm;pos.eq.dec", "Uncertainty of PMDEC",
           source="sample.PMDEC_ERROR", missing=_NOT_GIVEN, allowed=_NOT_NEGATIVE),
    Column("VRAD", "f8", "km s-1", "spect.dopplerVeloc.opt", "Heliocentric radial velocity",
           source="sample.VRAD", missing=_NOT_GIVEN),
    Column("DIST", "f8", "kpc", "pos.distance;pos.heliocentric",
           "Heliocentric distance from M_G_NN, PHOT_G_MEAN_MAG and A_G",
           source="distances.DIST", missing=_NO_DISTANCE, allowed=_POSITIVE),
    Column("DISTERR", "f4", "kpc", "stat.error;pos.distance;pos.heliocentric", "Uncertainty of DIST",
           source="distances.DISTERR", missing=f"DIST is missing, {_NO_ERROR_OF_LABEL}", allowed=_NOT_NEGATIVE),
    Column("M_G_NN", "f8", "mag", "phys.magAbs;em.opt", "Absolute G magnitude predicted from the spectrum",
           source="distances.M_G_NN", missing=_NO_LABEL),
    Column("M_G_GEO", "f8", "mag", "phys.magAbs;em.opt",
           "Absolute G magnitude from the corrected parallax, PHOT_G_MEAN_MAG and A_G",
           missing="the corrected parallax is <= 0 or missing, or PHOT_G_MEAN_MAG is missing"),
    Column("PARALLAX", "f8", "mas", "pos.parallax.trig", "Gaia parallax, before zero-point correction",
           source="sample.PARALLAX", missing=_NOT_GIVEN),
    Column("PARALLAX_ERR", "f4", "mas", "stat.error;pos.parallax.trig", "Uncertainty of PARALLAX as published",
           source="sample.PARALLAX_ERROR", missing=_NOT_GIVEN),
    Column("PARALLAX_ZPC", "f8", "mas", "arith.zp;pos.parallax.trig",
           "Parallax zero point, with what the run fitted of it; corrected parallax = PARALLAX - PARALLAX_ZPC",
           source="sample.PARALLAX_ZPC", missing="not defined for the star, whose parallax is left as published"),
    Column("EBV", "f4", "mag", "phot.color.excess",
           "Reddening E(B-V) used: the survey's value times EBVSCALE of the header",
           source="sample.EBV_SCALED", missing=_NOT_GIVEN),
    Column("A_G", "f4", "mag", "phys.absorption;em.opt", "Extinction in G used; 0 where EBV is missing",
           source="sample.A_G"),
    Column("RUWE", "f4", "", "stat.fit.goodness", "Gaia renormalised unit weight error",
           source="sample.RUWE", missing=_NOT_GIVEN, allowed=_POSITIVE),
    Column("APS", "i2", "", "meta.code", "Gaia ASTROMETRIC_PARAMS_SOLVED: 31 five, 95 six, 3 two parameters", 0,
           source="sample.ASTROMETRIC_PARAMS_SOLVED", missing=_NOT_GIVEN),
    Column("NEUIA", "f4", "um-1", "em.wavenumber", "Gaia NU_EFF_USED_IN_ASTROMETRY",
           source="sample.NU_EFF_USED_IN_ASTROMETRY", missing="APS is not 31"),
    Column("P_COLOUR", "f4", "um-1", "em.wavenumber", "Gaia PSEUDOCOLOUR",
           source="sample.PSEUDOCOLOUR", missing="APS is not 95"),
    Column("ECL_LAT", "f8", "deg", "pos.ecliptic.lat", "Gaia ecliptic latitude",
           source="sample.ECL_LAT", missing=_NOT_GIVEN, allowed=_LATITUDE),
    Column("BINARY_FLAG", "i2", "", "meta.code.multip",
           "0 binary: BINARY_POSSIBILITY above the run's threshold and M_G_NN_LABEL > M_G_GEO; 1 single star", -1,
           source="binaries.BINARY_FLAG", missing=_NO_BINARY_FLAG, allowed=(0, 1)),
    Column("BINARY_POSSIBILITY", "f4", "", "stat.probability",
           "Probability that the star is a binary, from spectrum, magnitude and parallax",
           source="binaries.BINARY_POSSIBILITY", missing=_NO_BINARIES, allowed=_FRACTION),
    # The spectrum, and the survey's parameters of the star.
    Column("SURVEY", "S7", "", "meta.dataset", "DESI survey: main, sv1, sv2, sv3, special, cmx",
           source="sample.SURVEY", missing=_NOT_GIVEN),
    Column("PROGRAM", "S6", "", "meta.code;obs", "DESI programme: bright, backup, dark, other",
           source="sample.PROGRAM", missing=_NOT_GIVEN),
    Column("HEALPIX", "i8", "", "pos.healpix", "HEALPix pixel of the spectrum's file, nside 64, nested", -1,
           source="sample.HEALPIX", missing=_NOT_GIVEN, allowed=(0, 12 * 64**2 - 1)),
    Column("SN", "f4", "", "stat.snr", "S/N of the spectrum: the mean of SN_B and SN_R, or what the survey gives",
           source="sample.SN", missing=_NOT_GIVEN),
    Column("SN_B", "f4", "", "stat.snr;em.opt.B", "Median S/N per Angstrom^(1/2) of the B arm",
           source="sample.SN_B", missing=_NOT_GIVEN),
    Column("SN_R", "f4", "", "stat.snr;em.opt.R", "Median S/N per Angstrom^(1/2) of the R arm",
           source="sample.SN_R", missing=_NOT_GIVEN),
    Column("TEFF", "f4", "K", "phys.temperature.effective", "Effective temperature",
           source="sample.TEFF", missing=_NOT_GIVEN),
    Column("LOGG", "f4", "", "phys.gravity", "Surface gravity, log10 of cm s-2",
           source="sample.LOGG", missing=_NOT_GIVEN),
    Column("FEH", "f4", "", "phys.abund.Fe", "Iron abundance [Fe/H] in dex", source="sample.FEH", missing=_NOT_GIVEN),
    Column("ALPHAFE", "f4", "", "phys.abund", "Alpha abundance [alpha/Fe] in dex",
           source="sample.ALPHAFE", missing=_NOT_GIVEN),
    Column("PHOT_G_MEAN_MAG", "f4", "mag", "phot.mag;em.opt", "Gaia mean G magnitude",
           source="sample.PHOT_G_MEAN_MAG", missing=_NOT_GIVEN),
    Column("PHOT_BP_MEAN_MAG", "f4", "mag", "phot.mag;em.opt.B", "Gaia mean BP magnitude",
           source="sample.PHOT_BP_MEAN_MAG", missing=_NOT_GIVEN),
    Column("PHOT_RP_MEAN_MAG", "f4", "mag", "phot.mag;em.opt.R", "Gaia mean RP magnitude",
           source="sample.PHOT_RP_MEAN_MAG", missing=_NOT_GIVEN),
    # Errors, quantiles, quality.
    Column("M_G_NN_ERR", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Uncertainty of M_G_NN: noise and training in quadrature, or half of 16 to 84 % by the mixture network",
           source="distances.M_G_NN_ERR", missing=f"M_G_NN is missing, {_NO_ERROR_OF_LABEL}", allowed=_NOT_NEGATIVE),
    Column("M_G_NN_ERR_NOISE", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Uncertainty of M_G_NN from the noise of the spectrum: scatter of equally likely spectra",
           source="distances.M_G_NN_ERR_NOISE", allowed=_NOT_NEGATIVE,
           missing="M_G_NN is missing, no error spectrum, or, by the label network, a draw with a label <= 0"),
    Column("M_G_NN_ERR_TRAINING", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Uncertainty of M_G_NN from training: scatter between networks of different seeds",
           source="distances.M_G_NN_ERR_TRAINING", missing="M_G_NN is missing, a single seed, or one's label <= 0",
           allowed=_NOT_NEGATIVE),
    Column("A_G_ERR", "f4", "mag", "stat.error;phys.absorption;em.opt",
           "Uncertainty of A_G from that of EBV, part of that of DIST; 0 where EBV is missing",
           source="sample.A_G_ERR", allowed=_NOT_NEGATIVE),
    Column("M_G_GEO_ERR", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Uncertainty of M_G_GEO, from PARALLAX_ERR_USED",
           missing="M_G_GEO is missing, or PARALLAX_ERR_USED is not positive", allowed=_NOT_NEGATIVE),
    Column("PARALLAX_ERR_USED", "f4", "mas", "stat.error;pos.parallax.trig",
           "Uncertainty of PARALLAX that the run uses: as published, or larger by a recipe and by what the run fitted",
           source="sample.PARALLAX_ERROR_USED", missing=_NOT_GIVEN),
    Column("DISTMOD", "f8", "mag", "phot.mag.distMod", "Distance modulus 5 log10(DIST) + 10",
           source="distances.DISTMOD", missing="DIST is missing"),
    Column("DISTMOD_ERR", "f4", "mag", "stat.error;phot.mag.distMod", "Uncertainty of DISTMOD",
           source="distances.DISTMOD_ERR", missing=f"DIST is missing, {_NO_ERROR_OF_LABEL}", allowed=_NOT_NEGATIVE),
    Column("DIST_05", "f8", "kpc", "pos.distance;stat.percentile",
           "5 per cent quantile of the distance: the mixture's, or of draws and training, a label <= 0 being infinite",
           source="distances.DIST_05", missing=_NO_QUANTILES, allowed=_POSITIVE),
    Column("DIST_16", "f8", "kpc", "pos.distance;stat.percentile",
           "16 per cent quantile of the distance, as DIST_05", source="distances.DIST_16", missing=_NO_QUANTILES,
           allowed=_POSITIVE),
    Column("DIST_50", "f8", "kpc", "pos.distance;stat.median", "Median of the distance, as DIST_05",
           source="distances.DIST_50", missing=_NO_QUANTILES, allowed=_POSITIVE),
    Column("DIST_84", "f8", "kpc", "pos.distance;stat.percentile",
           "84 per cent quantile of the distance, as DIST_05", source="distances.DIST_84", missing=_NO_QUANTILES,
           allowed=_POSITIVE),
    Column("DIST_95", "f8", "kpc", "pos.distance;stat.percentile",
           "95 per cent quantile of the distance, as DIST_05", source="distances.DIST_95", missing=_NO_QUANTILES,
           allowed=_POSITIVE),
    Column("DIST_POST", "f8", "kpc", "pos.distance;stat.median",
           "Median distance by the mixture network and the density of stars that PRIOR of the header names",
           source="distances.DIST_POST", missing=_NO_POSTERIOR, allowed=_POSITIVE),
    Column("DISTERR_POST", "f4", "kpc", "stat.error;pos.distance",
           "Half of 16 to 84 per cent of that distance", source="distances.DISTERR_POST", missing=_NO_POSTERIOR,
           allowed=_NOT_NEGATIVE),
    *(
        Column(f"DIST_POST_{level}", "f8", "kpc", "pos.distance;stat.percentile",
               f"{int(level)} per cent quantile of that distance", source=f"distances.DIST_POST_{level}",
               missing=_NO_POSTERIOR, allowed=_POSITIVE)
        for level in ("05", "16", "84", "95")
    ),
    Column("FRACTION_UNBOUND", "f4", "", "stat.probability",
           "Fraction of the draws whose label, averaged over the networks, is <= 0",
           source="distances.FRACTION_UNBOUND", missing=_NO_DRAWS, allowed=_FRACTION),
    Column("PROB_GIANT", "f4", "", "stat.probability",
           "Probability that M_G < 3.5, a giant or an equally bright hot star, by the mixture network",
           source="distances.PROB_GIANT", missing=_NO_SPECTRUM, allowed=_FRACTION),
    # The results of both networks; those of one of them are also in the columns without suffix.
    Column("DIST_LABEL", "f8", "kpc", "pos.distance;pos.heliocentric",
           "Distance by the label network, trained with LOSS of the header; chi2 is the paper's",
           source="distances.DIST_LABEL", missing="M_G_NN_LABEL or PHOT_G_MEAN_MAG is missing", allowed=_POSITIVE),
    Column("DISTERR_LABEL", "f4", "kpc", "stat.error;pos.distance;pos.heliocentric",
           "Uncertainty of DIST_LABEL as in the paper: noise and training in quadrature",
           source="distances.DISTERR_LABEL", missing=f"DIST_LABEL is missing, {_NO_ERROR}", allowed=_NOT_NEGATIVE),
    Column("M_G_NN_LABEL", "f8", "mag", "phys.magAbs;em.opt", "Absolute G magnitude by the label network",
           source="distances.M_G_NN_LABEL", missing=_NO_LABEL),
    Column("M_G_NN_ERR_LABEL", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Uncertainty of M_G_NN_LABEL as in the paper: noise and training in quadrature",
           source="distances.M_G_NN_ERR_LABEL", missing=f"M_G_NN_LABEL is missing, {_NO_ERROR}", allowed=_NOT_NEGATIVE),
    Column("DIST_MIX", "f8", "kpc", "pos.distance;pos.heliocentric",
           "Median distance by the mixture network", source="distances.DIST_MIX",
           missing="no spectrum, or PHOT_G_MEAN_MAG is missing", allowed=_POSITIVE),
    Column("DISTERR_MIX", "f4", "kpc", "stat.error;pos.distance;pos.heliocentric",
           "Half of 16 to 84 per cent of the distance by the mixture network", source="distances.DISTERR_MIX",
           missing="DIST_MIX is missing", allowed=_NOT_NEGATIVE),
    Column("M_G_NN_MIX", "f8", "mag", "phys.magAbs;em.opt", "Median absolute G magnitude by the mixture network",
           source="distances.M_G_NN_MIX", missing=_NO_SPECTRUM),
    Column("M_G_NN_ERR_MIX", "f4", "mag", "stat.error;phys.magAbs;em.opt",
           "Half of 16 to 84 per cent of the magnitude by the mixture network", source="distances.M_G_NN_ERR_MIX",
           missing=_NO_SPECTRUM, allowed=_NOT_NEGATIVE),
    Column("MIX_SHIFT", "f4", "mag", "phys.magAbs;arith.diff",
           "Shift of the mixture network's magnitudes by recalibration", source="distances.MIX_SHIFT",
           missing=_NO_SPECTRUM),
    Column("MIX_STRETCH", "f4", "", "arith.factor",
           "Factor by which recalibration widens the mixture network's distribution", source="distances.MIX_STRETCH",
           missing=_NO_SPECTRUM, allowed=_POSITIVE),
    Column("HELD_OUT", "?", "", "meta.code",
           "True where no network that predicted the star was trained on it; False if that is unknown",
           source="sample.HELD_OUT"),
    Column("CALIBRATION", "?", "", "meta.code",
           "True where the star was used for recalibration",
           source="distances.CALIBRATION"),
    Column("SELECTED", "?", "", "meta.code",
           "True where the row passes every cut of the sample and is the one selected for its star",
           source="sample.SELECTED"),
    Column("CHI2_RECONSTRUCTION", "f4", "", "stat.fit.chi2",
           "Reduced chi-square of the spectrum reconstructed from its components",
           source="distances.CHI2_RECONSTRUCTION", missing=_NO_DRAWS, allowed=_NOT_NEGATIVE),
    Column("FRACTION_BAD", "f4", "", "meta.code.qual", "Fraction of the spectrum's pixels that are bad",
           source="distances.FRACTION_BAD", missing="no spectrum", allowed=_FRACTION),
    Column("FLAGS", "i4", "", "meta.code.qual", "Sum of the bits that the header lists as FLAG0, FLAG1, ...",
           allowed=(0, 2 * max(Flag) - 1)),
    *_gaussians(),
)
# fmt: on

COLUMNS: Mapping[str, Column] = MappingProxyType({column.name: column for column in _COLUMNS})
"""Name to column, in the order of the files."""
OPTIONAL: Mapping[str, Column] = MappingProxyType(
    {
        "DISTMOD_POST_DRAWS": Column(
            "DISTMOD_POST_DRAWS",
            "f2",
            "mag",
            "phot.mag.distMod",
            "Random distance moduli from the distribution of DIST_POST; half precision, in FITS as float32",
            missing=_NO_POSTERIOR,
            extension=DRAWS,
        )
    }
)
"""Columns that a catalogue has on request, after the others; each row holds equally many numbers."""


def columns_among(names: Iterable[str]) -> dict[str, Column]:
    """Return `COLUMNS`, and of `OPTIONAL` those that are among the names."""
    there = {*names}
    return {**COLUMNS, **{name: column for name, column in OPTIONAL.items() if name in there}}
