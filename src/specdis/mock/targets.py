"""Targets: identifiers of the survey's spectra, which determine the stars."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specdis.arrays import Array, Columns, Int64
from specdis.mock import gaia, galaxy, imaging, library, observation, sky
from specdis.mock.draws import Draws
from specdis.mock.settings import MockSettings

_EXPOSURE = 180.0  # s
_MAGNITUDES = ("PHOT_G_MEAN_MAG", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG")
_DARK, _REPEATED = 20, 21
"""Bits of TARGETID beside the star's running number: dark programme, and second spectrum of a bright star."""
_BRIGHT = next(place for place, programme in enumerate(sky.PROGRAMMES) if programme.name == b"bright")


def identifiers(settings: MockSettings) -> Iterator[dict[str, Array]]:
    """Yield PROGRAM, HEALPIX and TARGETID of the spectra, file by file, each of shape (star,).

    Some stars of the bright programme are also targets of the backup programme, with another TARGETID.
    """
    plan = sky.footprint(settings)
    stars, pixels = plan[b"bright"]
    bright_stars = dict(zip(pixels.tolist(), _stars_per_pixel(stars, len(pixels)).tolist(), strict=True))
    for program, (stars, pixels) in plan.items():
        for pixel, count in zip(pixels, _stars_per_pixel(stars, len(pixels)), strict=True):
            number, repeated = np.arange(count), np.zeros(count, bool)
            if program == b"backup":
                again = _repeats(settings, pixel, bright_stars.get(int(pixel), 0))
                number, repeated = np.append(number, again), np.append(repeated, np.ones(len(again), bool))
            yield {
                "PROGRAM": np.full(len(number), program),
                "HEALPIX": np.full(len(number), pixel),
                "TARGETID": _target_id(program, pixel, number, repeated),
            }


def _stars_per_pixel(stars: int, pixels: int) -> Int64:
    """Return the number of stars in each pixel of a programme, dealt out in turn."""
    return stars // max(pixels, 1) + (np.arange(pixels) < stars % max(pixels, 1))


def _repeats(settings: MockSettings, pixel: int, stars: int) -> Int64:
    """Return the running numbers of the bright stars in a pixel with a second spectrum."""
    number = np.arange(stars)
    draws = Draws(settings.seed, (np.full(stars, _BRIGHT), np.full(stars, pixel), number))
    return number[draws.uniform("repeat") < settings.repeat_fraction]


def _target_id(program: bytes, pixel: int, number: Int64, repeated: Array) -> Int64:
    """Encode TARGETID as desitarget does: 22 bits of object, 20 of brick, 16 of release, the mock bit, Gaia's release.

    The brick is the HEALPix pixel. Targets of the backup programme come from Gaia, the others from the ninth data
    release of the imaging surveys.
    """
    source = 2 << 60 if program == b"backup" else 9010 << 42
    return np.asarray(
        source | (1 << 58) | (pixel << 22) | number | repeated << _REPEATED | (program == b"dark") << _DARK
    )


def is_repeat(target_id: Int64) -> Array:
    """Tell which spectra are the second of their star, shape (star,)."""
    return np.asarray((target_id >> _REPEATED) & 1, bool)


def observed(settings: MockSettings, targets: Columns) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draw the stars behind spectra.

    Parameters
    ----------
    settings
        Section `[mock]`.
    targets
        PROGRAM, HEALPIX and TARGETID from `identifiers`, in any order and number.

    Returns
    -------
    rows : dict of ndarray, shape (star,)
        The columns of `galaxy.draw_population`, with EBV as the map has it; PROGRAM and TARGETID of the spectrum,
        apparent magnitudes, true A_G (mag), PARALLAX (mas), EXPTIME (s), and the columns of
        `imaging.observed_by_imaging`.
    catalogue : dict of ndarray, shape (star,)
        The columns of `gaia.observed_by_gaia`.
    """
    target_id = targets["TARGETID"]
    branch = np.select([targets["PROGRAM"] == programme.name for programme in sky.PROGRAMMES], [0, 1, 2])
    branch = np.where(is_repeat(target_id), _BRIGHT, branch)
    stars = galaxy.draw_population(settings, branch, targets["HEALPIX"], target_id & ((1 << _DARK) - 1))
    catalogue = gaia.observed_by_gaia(stars, settings)
    rows = stars | {name: catalogue[name] for name in ("PARALLAX", "EBV", *_MAGNITUDES)}
    rows |= {"A_G": gaia.true_extinction(stars["TEFF"], stars["EBV_IN_FRONT"], "G")}
    rows |= {"PROGRAM": targets["PROGRAM"], "TARGETID": target_id}
    imaged = targets["PROGRAM"] != b"backup"
    rows |= {
        name: np.where(imaged, values, 0.0) for name, values in imaging.observed_by_imaging(stars, settings).items()
    }
    rows["EXPTIME"] = _EXPOSURE * observation.exposure(rows, settings)
    return rows, catalogue


def truth_columns(settings: MockSettings, rows: Columns, catalogue: Columns) -> dict[str, Array]:
    """Return the columns of truth.parquet, one row per spectrum; SOURCE_ID is 0 without a Gaia match.

    `rows` and `catalogue` are those of `observed`.
    """
    n = len(rows["TARGETID"])
    return {
        "TARGETID": rows["TARGETID"],
        "SURVEY": np.full(n, sky.SURVEY),
        "PROGRAM": rows["PROGRAM"],
        "HEALPIX": rows["HEALPIX"],
        "SOURCE_ID": np.where(catalogue["MATCHED"], rows["SOURCE_ID"], 0),
        **parent_id(settings, rows),
        "DIST_TRUE": rows["DIST"],
        "M_G_TRUE": rows["M_G"],
        "A_G_TRUE": rows["A_G"],
        "M_G_PRIMARY_TRUE": rows["M_G_PRIMARY"],
        "BINARY_TRUE": np.isfinite(rows["MASS_RATIO"]),
        "MASS_RATIO": rows["MASS_RATIO"],
        "SPURIOUS_TRUE": catalogue["SPURIOUS"],
        "COMPONENT": rows["COMPONENT"],
        **{f"{name}_TRUE": rows[name] for name in ("TEFF", "LOGG", "FEH", "ALPHAFE", "VRAD")},
    }


def parent_id(settings: MockSettings, rows: Columns) -> dict[str, Int64]:
    """Return PARENT_ID, the identifier of the real star that each clones, if a library is given."""
    if settings.library is None:
        return {}
    return {"PARENT_ID": library.load(settings.library).identifier[rows["PARENT"]]}
