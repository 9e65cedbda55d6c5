"""The whole mock survey: stars, Gaia's catalogue, spectra and truth, written file by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from specdis import __version__
from specdis.arrays import Array, Int64
from specdis.errors import InputError
from specdis.log import Progress, logger
from specdis.mock import files, members, observation, rivals, sky, spmod, targets
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings
from specdis.storage import Provenance, digest, file_digest, read_json, remove, write_json, write_table

CATALOGUE = "mwsall-pix-mock.fits"
TRUTH = "truth.parquet"
MEMBERS_FOLDER = "members"
RIVALS_FOLDER = "rivals"
SUMMARY = "mock.json"

_DISTANCE_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0, 150.0, 250.0)  # kpc
_SKY_FIBRES = 2  # in each file


def write_mock(directory: Path, settings: MockSettings) -> dict[str, Any]:
    """Write a mock survey in DESI's formats, unless the folder already holds the same one.

    Parameters
    ----------
    directory
        Receives mwsall-pix-mock.fits, healpix/, truth.parquet, members/, rivals/ and mock.json, a summary.
    settings
        Section `[mock]`.

    Returns
    -------
    dict
        Content of mock.json: settings, numbers of stars, spectra and files, stars per distance, share of negative
        parallaxes, quantiles of S/N.

    Raises
    ------
    InputError
        When the folder cannot be written, or holds the spectra of another survey.
    """
    library = None if settings.library is None else file_digest(settings.library)
    key = digest([settings.model_dump(mode="json"), library, __version__])
    if _holds(directory, key):
        logger.info(f"{directory} holds this mock survey already")
        return dict(read_json(directory / SUMMARY))
    write_json(directory / SUMMARY, {"key": None})  # distinguishes an interrupted mock from another survey
    for stale in ("healpix", CATALOGUE, TRUTH, MEMBERS_FOLDER, RIVALS_FOLDER):
        remove(directory / stale)

    rows, gaia = targets.observed(settings, _in_no_order(settings))
    snr = _write_coadds(directory, rows, settings)
    rvs = observation.rvs(rows, snr, settings)
    files.write_star_tables(directory / CATALOGUE, rows, gaia, rvs, snr)
    members.write_members(directory / MEMBERS_FOLDER, rows, gaia, rvs, snr, settings.seed)
    rivals.write_rivals(directory / RIVALS_FOLDER, rows, gaia, settings.seed)
    truth = targets.truth_columns(settings, rows, gaia)
    write_table(directory / TRUTH, Provenance("truth", key, settings.seed), truth)
    summary = {"key": key, "settings": settings.model_dump(mode="json"), **_summary(rows, gaia, snr)}
    write_json(directory / SUMMARY, summary)
    return summary


def _holds(directory: Path, key: str) -> bool:
    """Tell whether the folder holds the survey of this key; refuse a folder with spectra of another origin."""
    if (directory / SUMMARY).is_file():
        return bool(read_json(directory / SUMMARY).get("key") == key)
    if (directory / "healpix").exists():
        raise InputError(
            directory / "healpix",
            expected="an empty folder or an earlier mock survey",
            found=f"spectra without {SUMMARY}",
            remedy="Choose another folder: the mock would replace these spectra.",
        )
    return False


def _in_no_order(settings: MockSettings) -> dict[str, Array]:
    """Return the identifiers of all spectra, in an order unrelated to the sky."""
    parts = list(targets.identifiers(settings))
    named = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(Draws(settings.seed, (named["TARGETID"],)).uniform("order"), kind="stable")
    return {name: values[order] for name, values in named.items()}


def _write_coadds(directory: Path, rows: dict[str, Array], settings: MockSettings) -> dict[str, Array]:
    """Write the spectra, file by file; return the S/N of each by arm, shape (star,)."""
    snr = {arm: np.zeros(len(rows["TARGETID"])) for arm in observation.ALL_ARMS}
    order = np.lexsort((rows["TARGETID"], rows["HEALPIX"], rows["PROGRAM"]))
    place = np.stack([rows["HEALPIX"], _programme(rows)])[:, order]
    progress = Progress("mock", len(order))
    for spectra in np.split(order, np.flatnonzero(np.any(np.diff(place), axis=0)) + 1):
        targets = _with_sky({name: values[spectra] for name, values in rows.items()})
        arms = observation.observe(targets, settings)
        measured = observation.signal_to_noise(arms)
        path = files.coadd_path(directory, targets["PROGRAM"][0].decode(), int(targets["HEALPIX"][0]))
        files.write_coadd(path, targets, arms, measured, resolution=settings.resolution)
        rvs = observation.rvs(targets, measured, settings)
        stars, found, signal = ({name: x[_SKY_FIBRES:] for name, x in of.items()} for of in (targets, rvs, measured))
        files.write_velocities(path.with_name(f"rvtab_{path.name}"), stars, found, signal)
        if settings.spmod:
            beside = path.with_name(f"spmod_{path.name}")
            spmod.write_spmod(beside, {**targets, "VRAD": rvs["VRAD"]}, arms, measured)
        for arm, values in measured.items():
            snr[arm][spectra] = values[_SKY_FIBRES:]
        progress.advance(len(spectra))
    progress.close()
    return snr


def _with_sky(rows: dict[str, Array]) -> dict[str, Array]:
    """Return the targets of one file, preceded by fibres on empty sky."""
    sky = {name: np.repeat(values[:1], _SKY_FIBRES) for name, values in rows.items()}
    sky["TARGETID"] = -(10 * rows["HEALPIX"][0] + _SKY_FIBRES * _programme(rows)[0] + np.arange(_SKY_FIBRES)) - 1
    sky["PHOT_G_MEAN_MAG"] = np.full(_SKY_FIBRES, np.inf)
    return {name: np.concatenate([sky[name], values]) for name, values in rows.items()}


def _programme(rows: dict[str, Array]) -> Int64:
    """Return the place of each row's programme in `sky.PROGRAMMES`."""
    return np.asarray(sum(k * (rows["PROGRAM"] == programme.name) for k, programme in enumerate(sky.PROGRAMMES)))


def _summary(rows: dict[str, Array], gaia: dict[str, Array], snr: dict[str, Array]) -> dict[str, Any]:
    """Return the numbers that characterise the survey."""
    once = ~targets.is_repeat(rows["TARGETID"])
    count, _ = np.histogram(rows["DIST"][once], _DISTANCE_EDGES)
    solved = once & np.isfinite(gaia["PARALLAX"])
    parallax, error = gaia["PARALLAX"][solved], gaia["PARALLAX_ERROR"][solved]
    mean = 0.5 * (snr["B"] + snr["R"])
    return {
        "stars": int(np.sum(once)),
        "spectra": len(mean),
        "files": len(np.unique(np.stack([rows["HEALPIX"], _programme(rows)]), axis=1).T),
        "giants": int(np.sum(rows["LOGG"][once] < 3.5)),
        "distance_edges_kpc": list(_DISTANCE_EDGES),
        "stars_per_distance": count.tolist(),
        "negative_parallaxes": float(np.mean(parallax < 0.0)),
        "parallax_snr_above_10": float(np.mean(parallax > 10.0 * error)),
        "snr_16_50_84": np.percentile(mean, [16, 50, 84]).tolist(),
    }
