"""Attacks by the files of a survey: names that are commands, wavelengths of another kind, files that change."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

import desi_files
import table_files
from attacks.process import Attack, refused, specdis, stops
from specdis.fitsfiles import opened
from specdis.pipeline.config import config_of
from specdis.pipeline.stages import STAGES
from specdis.pipeline.staleness import StageStatus, stage_statuses
from specdis.storage import read_json
from specdis.surveys import open_file

STARS = 60


def _table(path: Path, stars: int = STARS, **instead: Any) -> Path:
    """Write a table, some of its HDUs replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return table_files.write(path, {**table_files.table(stars), **instead})


def _read(path: Path) -> int:
    """Read all stars and spectra of a file; return how many stars there are."""
    survey = open_file(path)
    count = 0
    for stars in survey.stars():
        count += len(stars)
        for _ in survey.spectra(stars):
            pass
    return count


# Names that are commands to cfitsio


def _named(name: str) -> Attack:
    def attack(folder: Path) -> str:
        plain = _table(folder / "plain.fits")
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        shutil.copy(plain, path)
        assert _read(path) == STARS
        return "read under its own name"

    return attack


def cfits_filter(folder: Path) -> str:
    _table(folder / "a.fits")
    filtered = _table(folder / "b.fits", 7).rename(folder / "a.fits[STARS][PARALLAX>1.0]")
    assert _read(filtered) == 7, "another file was read"
    filtered.unlink()
    return refused(lambda: _read(filtered), "expected a file, found none")


def cfits_write(folder: Path) -> str:
    _table(folder / "a.fits")
    planted = folder / "planted"
    said = refused(lambda: _read(Path(f"{folder}/a.fits({planted})")), "expected a file, found none")
    try:
        with opened(Path(f"{folder}/a.fits({planted})")):
            raise AssertionError("opened")
    except OSError:
        pass
    assert not planted.exists(), "a file was written"
    return said


# Wavelengths


def _wavelengths(change: Callable[[np.ndarray], object], expected: str = "bad.fits[WAVELENGTH]") -> Attack:
    """Return an attack by wavelengths, which `check` has to name and `run` to refuse."""

    def attack(folder: Path) -> str:
        changed = np.asarray(change(table_files.WAVELENGTH.copy()), np.float64)
        config = table_files.write_config(_table(folder / "bad.fits", WAVELENGTH=changed))
        ended, said = specdis("check", config)
        assert ended == 1, said
        assert expected in said, said
        return stops("run", config, "--to", "spectra", expected=expected)

    return attack


def _one(place: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda wavelength: np.where(np.arange(len(wavelength)) == place % len(wavelength), value, wavelength)


# Sizes, columns, identifiers


def gzbomb_named_fits(folder: Path) -> str:
    path = folder / "s.fits"
    with gzip.open(path, "wb", compresslevel=1) as packed:
        packed.write(_table(folder / "plain.fits").read_bytes())
        zeros = bytes(1 << 24)
        for _ in range(6 * 64):  # 6 GB
            packed.write(zeros)
    assert path.stat().st_size < 1 << 25
    return refused(lambda: _read(path), "1 GiB in memory")


def tiled_bomb(folder: Path) -> str:
    """Change the dimensions that a tile-compressed image claims to have."""
    hdus = desi_files.coadd(desi_files.targets(4))
    path = desi_files.write(folder / "coadd.fits", hdus, compressed=("B_MASK", "R_MASK"))
    content = path.read_bytes()
    for key in (b"ZNAXIS1 =", b"ZNAXIS2 ="):
        place = content.index(key) + 10
        path.write_bytes(content[:place] + b"       2000000000" + content[place + 17 :])
        assert _faults(path), f"read with {key.decode()} 2e9"
    return "faults"


def _faults(path: Path) -> list[str]:
    """Return the faults of a file's spectra, or why it is refused."""
    try:
        survey = open_file(path)
        return [found.name for stars in survey.stars() for found in survey.spectra(stars) if hasattr(found, "name")]
    except Exception as error:
        if type(error).__module__.startswith("specdis"):
            return [str(error)]
        raise


def dup_case(folder: Path) -> str:
    hdus = table_files.table(STARS)
    hdus["STARS"]["PARALLAZ"] = np.full(STARS, -1.0)
    path = table_files.write(folder / "s.fits", hdus)
    path.write_bytes(path.read_bytes().replace(b"PARALLAZ", b"parallax"))
    return refused(lambda: _read(path), "PARALLAX and parallax. Rename one of them")


def tzero_u64id(folder: Path) -> str:
    hdus = table_files.table(STARS)
    path = table_files.write(folder / "s.fits", hdus)
    place = 1 + list(hdus["STARS"]).index("SOURCE_ID")
    for name, value in ((f"TSCAL{place}", 1), (f"TZERO{place}", 1 << 63)):
        fits.setval(path, name, value=value, ext=("STARS", 1))
    return refused(lambda: _read(path), "60 rows without one")


# Files that are closed, mended, changed or missing


def _desi(folder: Path) -> Path:
    """Write a survey of one coadd; return its configuration."""
    desi_files.write(folder / "mwsall.fits", desi_files.catalogue())
    targets = desi_files.catalogue()["RVTAB"]["TARGETID"]
    for pixel in np.unique(desi_files.catalogue()["RVTAB"]["HEALPIX"]):
        coadd = desi_files.coadd_path(folder / "survey", healpix=int(pixel))
        desi_files.write(coadd, desi_files.coadd(targets))
    path = folder / "desi.toml"
    survey = '[survey]\nkind = "desi"\ncatalogue = "mwsall.fits"\nspectra = "survey"\n'
    cuts = '[sample]\nebv_max = 10.0\nruwe_max = "none"\nn_folds = 2\n'
    path.write_text(f'[run]\nname = "desi"\ndirectory = "run"\n{survey}{cuts}')
    return path


def _coadd(folder: Path) -> Path:
    return next(folder.glob("survey/**/coadd-*.fits"))


def _spectra(config: Path) -> dict[str, Any]:
    """Run to the stage `spectra`; return the faults that it counted."""
    ended, said = specdis("run", config, "--to", "spectra")
    assert ended == 0, said
    counts: dict[str, Any] = read_json(config.parent / "run" / "manifest.json")["stages"]["spectra"]["fault_counts"]
    return counts


def mended(folder: Path) -> str:
    config = _desi(folder)
    coadd = _coadd(folder)
    content = coadd.read_bytes()
    _keep_one_good(folder, coadd)
    coadd.write_bytes(content[: len(content) // 2])
    assert "unreadable-file" in _spectra(config)
    coadd.write_bytes(content)
    assert _spectra(config) == {}, "the mended file was not read again"
    return "read again"


def _keep_one_good(folder: Path, coadd: Path) -> None:
    """Move half of the stars to a second pixel, so that some are left when the coadd is spoilt."""
    other = int(coadd.stem.rpartition("-")[2]) + 1
    hdus = desi_files.catalogue()
    hdus["RVTAB"]["HEALPIX"][::2] = other
    if "HEALPIX" in (hdus["FIBERMAP"].dtype.names or ()):
        hdus["FIBERMAP"]["HEALPIX"][::2] = other
    desi_files.write(folder / "mwsall.fits", hdus)
    second = desi_files.coadd_path(folder / "survey", healpix=other)
    second.parent.mkdir(parents=True)
    shutil.copy(coadd, second)


def _status(folder: Path) -> dict[str, StageStatus]:
    return {stage.name: stage for stage in stage_statuses(config_of(folder / "run"), STAGES)}


def _stale(change: Callable[[Path], object], stage: str, expected: str) -> Attack:
    """Return an attack by a change after a run; the stage that read it has to be stale, with a reason."""

    def attack(folder: Path) -> str:
        config = _desi(folder)
        _spectra(config)
        change(folder)
        reasons = " ".join(_status(folder)[stage].reasons)
        assert expected in reasons, f"said '{reasons}', expected '{expected}'"
        return reasons

    return attack


def _change_coadd(folder: Path) -> None:
    path = _coadd(folder)
    content = bytearray(path.read_bytes())
    content[-3000] ^= 255
    path.write_bytes(bytes(content))


def catalogue_of_equal_size_and_date(folder: Path) -> str:
    """Show what docs/faults.md says: content that changes while size and date stay is not seen, nor can it be."""
    config = _desi(folder)
    _spectra(config)
    path = folder / "mwsall.fits"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-3000] ^= 255
    path.write_bytes(bytes(content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert _status(folder)["sample"].state == "fresh"
    return "not seen"


def pixel_folder_closed(folder: Path) -> str:
    config = _desi(folder)
    coadd = _coadd(folder)
    _keep_one_good(folder, coadd)
    coadd.parent.chmod(0)
    try:
        assert "closed-file" in (counts := _spectra(config)), counts
    finally:
        coadd.parent.chmod(0o755)
    return "counted as closed-file"


def mock600(folder: Path) -> str:
    """Read every list of a mock survey that has too few stars for members."""
    from specdis.mock.settings import MockSettings
    from specdis.mock.survey import write_mock
    from specdis.references import References, ReferencesSettings

    write_mock(folder / "survey", MockSettings(stars=600))
    read = References(ReferencesSettings(directory=folder / "survey"), "dr3")
    read.members()
    assert not read.unread, read.unread[0]
    return "all lists are read"


ROWS: dict[str, Attack] = {
    "cfits_filter": cfits_filter,
    "cfits_write": cfits_write,
    "survey/fn_brackets": _named("survey [v2]/s.fits"),
    "survey/fn_plus1": _named("s.fits+1"),
    "survey/fn_trailing_space": _named("s.fits "),
    "survey/wl_micron": _wavelengths(lambda wavelength: wavelength / 1e4),
    "survey/wl_gap_1e9": _wavelengths(_one(-1, 1e9)),
    "survey/wl_1e30": _wavelengths(_one(-1, 1e30)),
    "units/check_micron": _wavelengths(lambda wavelength: wavelength / 1e4, "which look like micron"),
    "units/check_nm": _wavelengths(lambda wavelength: wavelength / 10, "which look like nm"),
    "units/check_hz": _wavelengths(lambda wavelength: np.sort(2.998e18 / wavelength), "which look like Hz"),
    "survey/gzbomb_named_fits": gzbomb_named_fits,
    "survey/dup_case": dup_case,
    "survey/tzero_u64id": tzero_u64id,
    "mended/after_mending": mended,
    "stale/coadd_content_changed_new_mtime": _stale(_change_coadd, "spectra", "changed"),
    "stale/coadd_deleted": _stale(lambda folder: _coadd(folder).unlink(), "spectra", "changed"),
    "stale/catalogue_changed_same_size_mtime": catalogue_of_equal_size_and_date,
    "perm/pixel_folder_closed": pixel_folder_closed,
    "mock600_unread": mock600,
}
MORE: dict[str, Attack] = {"survey/tiled_bomb": tiled_bomb}
