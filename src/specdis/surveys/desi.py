"""DESI: the Milky Way Survey's catalogue (mwsall) with its spectra by HEALPix pixel, and single coadd files.

Units and names are those of the files. The catalogue holds 13 GB: only the columns needed are read, in ranges of
rows. Spectra are joined by (TARGETID, SURVEY, PROGRAM, HEALPIX), never by position.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import fitsio
import numpy as np

from specdis.arrays import Array, Bool, Float64, Int64, ranges
from specdis.errors import InputError
from specdis.log import logger
from specdis.surveys.base import ROWS, STAR_COLUMNS, Fault, Spectra, Stars, Survey
from specdis.surveys.coadd import SpectraKind, fibres, read_spectra
from specdis.surveys.fits import FileError, NegativeVariances, Table, canonical, reading_fits
from specdis.surveys.values import NO_SOURCE, cleaned

LEGACY = tuple(f"{flux}_{band}" for band in ("G", "R", "Z", "W1", "W2") for flux in ("FLUX", "FLUX_IVAR"))
"""Fluxes of the Legacy Surveys and their inverse variances; 0 for targets from Gaia alone."""

_COLUMNS: Mapping[str, Sequence[str]] = {
    "RVTAB": (
        *("TARGETID", "SURVEY", "PROGRAM", "HEALPIX", "TARGET_RA", "TARGET_DEC"),
        *("VRAD", "RVS_WARN", "TEFF", "LOGG", "FEH", "ALPHAFE", "SN_B", "SN_R"),
    ),
    "SPTAB": ("TARGETID", "RV_ADOP"),
    "FIBERMAP": ("TARGETID", "EBV", *LEGACY),
    "GAIA": (
        *("SOURCE_ID", "RA", "DEC", "PMRA", "PMRA_ERROR", "PMDEC", "PMDEC_ERROR", "PARALLAX", "PARALLAX_ERROR"),
        *("PHOT_G_MEAN_MAG", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG", "RUWE", "PHOT_VARIABLE_FLAG"),
        *(f"PHOT_{band}_MEAN_FLUX_OVER_ERROR" for band in ("G", "BP", "RP")),
        *("ASTROMETRIC_PARAMS_SOLVED", "NU_EFF_USED_IN_ASTROMETRY", "PSEUDOCOLOUR", "ECL_LAT", "EBV"),
    ),
}

# Needed for the join, the rest frame or the label; without any other column a cut or a correction is left out.
_REQUIRED: Mapping[str, Sequence[str]] = {
    "RVTAB": ("TARGETID", "SURVEY", "PROGRAM", "HEALPIX", "VRAD"),
    "SPTAB": ("TARGETID", "RV_ADOP"),
    "FIBERMAP": ("TARGETID",),
    "GAIA": ("SOURCE_ID", "PARALLAX", "PARALLAX_ERROR", "PHOT_G_MEAN_MAG"),
}

_ALIGNED_WITHIN = 0.1
"""Largest separation of a target from its Gaia source, degrees; the fastest star moves a hundredth of this."""


class DesiSurvey(Survey):
    """The Milky Way Survey as released: one row per coadded spectrum.

    Parameters
    ----------
    catalogue
        The file mwsall-pix-*.fits. RVTAB, FIBERMAP and GAIA are needed, and SPTAB where `spectra_kind` is `spmod`.
    spectra
        The folder `healpix`, or the one that holds it.
    spectra_kind
        `coadd`: observed spectra. `spmod`: the survey's own normalised spectra, already at rest.

    Raises
    ------
    InputError
        When a file, an HDU or a column is missing or of the wrong type, or HDUs have different numbers of rows.
    """

    name = "desi"
    predicts_every_row = False

    def __init__(self, catalogue: Path, spectra: Path, spectra_kind: SpectraKind = "coadd") -> None:
        self.catalogue, self.spectra_kind = catalogue, spectra_kind
        self.healpix = spectra / "healpix" if (spectra / "healpix").is_dir() else spectra
        if not self.healpix.is_dir():
            raise InputError(
                self.healpix,
                expected="the folder healpix of the spectra, or the one that holds it",
                found="no folder",
                remedy="Correct survey.spectra.",
            )
        self.inputs: Sequence[Path] = [catalogue]
        self._hdus = ("RVTAB", "FIBERMAP", "GAIA", *(("SPTAB",) if spectra_kind == "spmod" else ()))
        with reading_fits(catalogue) as file:
            tables = self._tables(file)
            columns = {name for _, present in tables.values() for name in present}
            self._rows = len(tables["RVTAB"][0])
        self.columns = frozenset(columns & set(STAR_COLUMNS)) | ({"SN"} if {"SN_B", "SN_R"} <= columns else frozenset())

    def _tables(self, file: fitsio.FITS) -> dict[str, tuple[Table, tuple[str, ...]]]:
        """Check the tables and return them with the columns to read."""
        tables = {}
        for hdu in self._hdus:
            table = Table(self.catalogue, file, hdu)
            table.require(_REQUIRED[hdu])
            tables[hdu] = table, table.present(_COLUMNS[hdu])
        rows = {hdu: len(table) for hdu, (table, _) in tables.items()}
        if len(set(rows.values())) > 1 or not rows["RVTAB"]:
            raise InputError(
                self.catalogue,
                expected="HDUs that match row by row, with at least one row",
                found=", ".join(f"{hdu} with {count} rows" for hdu, count in rows.items()),
                remedy="Use the catalogue as released, or cut all its HDUs alike.",
            )
        return tables

    def parts(self, block: int = ROWS) -> Iterator[slice]:
        """Yield parts of `block` rows, or one part for a compressed file, which is unpacked at each opening."""
        yield from ranges(self._rows, self._rows if self.catalogue.suffix == ".gz" else block)

    def part(self, rows: slice) -> Stars:
        """Return some rows.

        Raises
        ------
        InputError
            When the HDUs are not aligned.
        """
        with reading_fits(self.catalogue) as file:
            tables = self._tables(file)
            data = {hdu: table.read(columns, rows) for hdu, (table, columns) in tables.items()}
            return self._canonical(data, rows)

    def _canonical(self, data: Mapping[str, Mapping[str, Array]], rows: slice) -> Stars:
        target, gaia = data["RVTAB"], data["GAIA"]
        source = gaia["SOURCE_ID"]
        unmatched = (source <= 0) | (source == NO_SOURCE)
        self._require_aligned(data, ~unmatched, rows)
        columns = {**target, **_without(gaia, unmatched), "EBV": reddening(data["FIBERMAP"], gaia, len(source))}
        columns |= {name: values for name, values in data["FIBERMAP"].items() if name in LEGACY}
        columns["SURVEY"], columns["PROGRAM"] = np.strings.lower(target["SURVEY"]), np.strings.lower(target["PROGRAM"])
        if "SPTAB" in data:
            columns["RV_ADOP"] = data["SPTAB"]["RV_ADOP"]
        known = {name: columns[name] for name in columns if name in (*self.columns, "RV_ADOP")}
        plausible, missing = cleaned(known, str(self.catalogue))
        stars = Stars(canonical(plausible), missing)
        return stars.replace(SN=(stars["SN_B"] + stars["SN_R"]) / 2) if "SN" in self.columns else stars

    def _require_aligned(self, data: Mapping[str, Mapping[str, Array]], matched: Bool, rows: slice) -> None:
        """Check that HDUs have equal identifiers; for GAIA, which has no TARGETID, compare positions."""
        target = data["RVTAB"]
        for hdu, columns in data.items():
            if "TARGETID" in columns and (other := columns["TARGETID"] != target["TARGETID"]).any():
                self._misaligned(hdu, f"another TARGETID in row {rows.start + int(np.argmax(other))}")
        if {"TARGET_RA", "TARGET_DEC"} <= set(target) and {"RA", "DEC"} <= set(data["GAIA"]):
            names = (("RVTAB", "TARGET_RA"), ("RVTAB", "TARGET_DEC"), ("GAIA", "RA"), ("GAIA", "DEC"))
            places = cleaned({name: data[hdu][name][matched] for hdu, name in names}, str(self.catalogue)).columns
            apart = _separation(*places.values())
            apart = apart[np.isfinite(apart)]
            if len(apart) and np.median(apart) > _ALIGNED_WITHIN:
                found = f"Gaia sources {np.median(apart):.1f} degrees (median) from their targets"
                self._misaligned("GAIA", f"{found} in rows {rows.start} to {rows.stop - 1}")

    def _misaligned(self, hdu: str, found: str) -> None:
        raise InputError(
            f"{self.catalogue}[{hdu}]",
            expected="the same targets as RVTAB, row by row",
            found=found,
            remedy="Use the catalogue as released: its HDUs must be sorted and cut alike.",
        )

    def files(self, stars: Stars) -> Sequence[Path]:
        """Return the files with the spectra of the given stars, existing or not."""
        return [path for path, _ in self._by_file(stars)]

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars, file by file; every row appears once, in a block or in a fault."""
        negative = NegativeVariances()
        for path, rows in self._by_file(stars):
            yield from read_spectra(path, self.spectra_kind, stars, rows, negative)
        negative.log()

    def _by_file(self, stars: Stars) -> Iterator[tuple[Path, Int64]]:
        """Yield each file with the rows of its stars."""
        for rows in _same(stars["SURVEY"], stars["PROGRAM"], stars["HEALPIX"]):
            survey, program = (stars[name][rows[0]].decode() for name in ("SURVEY", "PROGRAM"))
            yield self.path(survey, program, int(stars["HEALPIX"][rows[0]])), rows

    def path(self, survey: str, program: str, healpix: int) -> Path:
        """Return the file of one survey, programme and pixel: {survey}/{program}/{pixel // 100}/{pixel}/."""
        stem = "coadd" if self.spectra_kind == "coadd" else "spmod_coadd"
        folder = self.healpix / survey / program / str(healpix // 100) / str(healpix)
        return _compressed_or_not(folder / f"{stem}-{survey}-{program}-{healpix}.fits")


class CoaddSurvey(Survey):
    """A single coadd or spmod file, to predict its stars without a catalogue.

    Magnitudes are those of targeting, from Gaia DR2. The file has no DR3 source and no parallax error, so SOURCE_ID and
    PARALLAX are missing. Velocities and parameters come from the file rvtab_coadd-* in the same
    folder; without it, observed spectra cannot be brought to rest. Fibres that are not on targets are left out.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        When the file has no FIBERMAP, no target or several rows of one, or it or its rvtab file cannot be read.
    """

    name = "coadd"
    predicts_every_row = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.velocities = _compressed_or_not(path.with_name(f"rvtab_{path.name.removeprefix('spmod_')}"))
        self.inputs: Sequence[Path] = [path, *([self.velocities] if self.velocities.is_file() else [])]
        with reading_fits(path) as file:
            self.spectra_kind: SpectraKind = "spmod" if any(f"{arm}_MODEL" in file for arm in "BR") else "coadd"
            self._stars = self._read(file)
        self.columns = frozenset(self._stars.columns) & frozenset(STAR_COLUMNS)

    def _read(self, file: fitsio.FITS) -> Stars:
        fibermap = Table(self.path, file, "FIBERMAP")
        fibermap.require(["TARGETID"])
        data = fibermap.read(fibermap.present(("TARGETID", "TARGET_RA", "TARGET_DEC", "EBV", *LEGACY, *_TARGETING)))
        columns = {name: data[own] for name, own in (("RA", "TARGET_RA"), ("DEC", "TARGET_DEC")) if own in data}
        columns |= {name: data[own] for own, name in _TARGETING.items() if own in data}
        columns |= {name: data[name] for name in LEGACY if name in data}
        columns |= {"TARGETID": data["TARGETID"], "EBV": reddening(data, {}, len(data["TARGETID"]))}
        columns |= self._scores(file, data["TARGETID"]) | self._from_velocities(data["TARGETID"])
        columns |= self._group(file, len(data["TARGETID"]))
        chosen = Stars(columns).take(self._targets(fibermap)).columns
        plausible, missing = cleaned(chosen, str(self.path))
        return Stars(canonical(plausible), missing)

    def _targets(self, fibermap: Table) -> Bool:
        target = fibres(fibermap).target
        if not target.any():
            raise InputError(
                fibermap.place,
                expected="at least one fibre on a target (OBJTYPE = TGT)",
                found=f"none in {len(target)} rows",
                remedy="Leave this file out: it has no stars.",
            )
        values, count = np.unique(fibermap.read(["TARGETID"])["TARGETID"][target], return_counts=True)
        if (count > 1).any():
            raise InputError(
                fibermap.place,
                expected="one row per target",
                found=f"several for {np.sum(count > 1)} of {len(values)}, as if there were one row per exposure",
                remedy="Give the coadd (coadd-*.fits) in place of the single exposures (spectra-*.fits).",
            )
        if not target.all():
            logger.info(f"{self.path.name}: {np.sum(~target)} fibres of {len(target)} are not on targets: left out")
        return target

    def _group(self, file: fitsio.FITS, rows: int) -> dict[str, Array]:
        """Return SURVEY, PROGRAM and HEALPIX from the primary header, or else from the name of the file."""
        header = file[0].read_header()
        named = re.fullmatch(r"(?:spmod_)?coadd-(\w+)-(\w+)-(\d+)\.fits(?:\.gz)?", self.path.name)
        survey, program, healpix = named.groups() if named else ("", "", STAR_COLUMNS["HEALPIX"].missing)
        values = {
            "SURVEY": str(header.get("SURVEY", survey)).strip().lower().encode(),
            "PROGRAM": str(header.get("PROGRAM", program)).strip().lower().encode(),
            "HEALPIX": int(header.get("HPXPIXEL", healpix)),
        }
        return {name: np.full(rows, value) for name, value in values.items()}

    def _scores(self, file: fitsio.FITS, targets: Int64) -> dict[str, Array]:
        """Return the S/N of the arms, where the file has them for the same rows."""
        if "SCORES" not in file:
            return {}
        table = Table(self.path, file, "SCORES")
        names = {f"MEDIAN_COADD_SNR_{arm}": f"SN_{arm}" for arm in "BR"}
        data = table.read(table.present(["TARGETID", *names]))
        if not {"TARGETID", *names} <= set(data) or not np.array_equal(data["TARGETID"], targets):
            return {}
        columns = {name: data[own] for own, name in names.items()}
        return {**columns, "SN": (columns["SN_B"] + columns["SN_R"]) / 2}

    def _from_velocities(self, targets: Int64) -> dict[str, Array]:
        """Read velocities and parameters from the rvtab file; those of targets that it lacks are missing."""
        names = ("VRAD", "RVS_WARN", "TEFF", "LOGG", "FEH", "ALPHAFE")
        if not self.velocities.is_file():
            logger.warning(f"{self.path.name}: no velocities, because {self.velocities.name} is not beside it")
            return {}
        try:
            with reading_fits(self.velocities) as file:
                table = Table(self.velocities, file, "RVTAB")
                table.require(["TARGETID", "VRAD"])
                data = table.read(table.present(["TARGETID", *names]))
        except FileError as error:
            if error.fault != "empty-file":
                raise
            logger.warning(f"{self.path.name}: no velocities, because {self.velocities.name} is empty")
            return {}
        _, ours, theirs = np.intersect1d(targets, data.pop("TARGETID"), return_indices=True)
        columns = Stars({"TARGETID": targets})
        filled = {name: columns.get(name) for name in data}
        for name, values in data.items():
            filled[name][ours] = values[theirs]
        return filled

    def parts(self, block: int = ROWS) -> Iterator[slice]:
        """Yield the targets of the file, `block` at a time."""
        yield from ranges(len(self._stars), block)

    def part(self, rows: slice) -> Stars:
        """Return the targets of a part; the first part reports what counts as missing in the file."""
        return replace(self._stars.take(rows), missing={} if rows.start else self._stars.missing)

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars; every row appears once, in a block or in a fault."""
        negative = NegativeVariances()
        yield from read_spectra(self.path, self.spectra_kind, stars, np.arange(len(stars)), negative)
        negative.log()


def _compressed_or_not(path: Path) -> Path:
    """Return the path, or its variant with or without .gz if only that exists."""
    other = path.with_suffix("") if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    try:
        return other if other.exists() and not path.exists() else path
    except OSError:  # without permission for the folder: the reader reports it
        return path


_TARGETING = {
    "GAIA_PHOT_G_MEAN_MAG": "PHOT_G_MEAN_MAG",
    "GAIA_PHOT_BP_MEAN_MAG": "PHOT_BP_MEAN_MAG",
    "GAIA_PHOT_RP_MEAN_MAG": "PHOT_RP_MEAN_MAG",
}


def reddening(fibermap: Mapping[str, Array], gaia: Mapping[str, Array], rows: int) -> Float64:
    """Return E(B-V) of FIBERMAP, of GAIA where that has none, and NaN where neither has.

    Secondary and older targets hold 0, which counts as missing. A negative value without an alternative is kept, to be
    counted with the impossible values.
    """
    ebv = np.full(rows, np.nan)
    for columns in (gaia, fibermap):
        given = columns.get("EBV", ebv)
        known = np.isfinite(given) & (given > 0)
        odd = (given < 0) | np.isinf(given)
        ebv = np.where(known | (odd & np.isnan(ebv)), given, ebv)
    return ebv


def _without(gaia: Mapping[str, Array], unmatched: Bool) -> dict[str, Array]:
    """Return the columns of GAIA with every value missing where there is no Gaia source."""
    columns = canonical(gaia)
    for name, values in columns.items():
        values[unmatched] = STAR_COLUMNS[name].missing
    return columns


def _separation(ra: Float64, dec: Float64, other_ra: Float64, other_dec: Float64) -> Float64:
    """Return angles between positions, all in degrees (haversine, exact at any distance)."""
    half_dec, half_ra = np.radians(other_dec - dec) / 2, np.radians(other_ra - ra) / 2
    chord = np.sin(half_dec) ** 2 + np.cos(np.radians(dec)) * np.cos(np.radians(other_dec)) * np.sin(half_ra) ** 2
    return np.asarray(np.degrees(2 * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))))


def _same(*keys: Array) -> list[Int64]:
    """Return the rows of each distinct combination of keys, in order of first appearance, rows increasing."""
    order = np.lexsort(keys)
    different = np.zeros(max(len(order) - 1, 0), bool)
    for key in keys:
        different |= key[order][1:] != key[order][:-1]
    groups = [group for group in np.split(order, np.flatnonzero(different) + 1) if len(group)]
    return sorted(groups, key=lambda group: int(group[0]))
