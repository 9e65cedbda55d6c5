"""Quantities of stars for the validation, and definitions of samples."""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array, Bool, Columns, Float64, Int64
from specdis.binaries import GIANT_LOGG
from specdis.errors import InputError
from specdis.flags import Flag
from specdis.surveys.base import IDENTIFIER

PARALLAX_SNR = 10.0
"""Corrected parallax over its error, as the run uses it, above which M_G_GEO is a reference (section 4.1)."""
PRECISE = 0.25
"""Relative error of the distances that the paper recommends for use (sections 4.2 and 4.3)."""
PRECISE_MAG = 0.5
"""Error of the distance modulus in mag below which members count as precise (section 4.2)."""
FAR = 15.0
"""Distance in kpc beyond which a star counts as far (section 4.3.1)."""

R_SUN = 8.122
"""Distance of the Sun from the Galactic centre in kpc (GRAVITY collaboration 2018, A&A 615, L15)."""

# From ICRS to Galactic Cartesian coordinates: Hipparcos catalogue, volume 1, section 1.5.3
_TO_GALACTIC = np.array(
    [
        [-0.0548755604162154, -0.8734370902348850, -0.4838350155487132],
        [0.4941094278755837, -0.4448296299600112, 0.7469822444972189],
        [-0.8676661490190047, -0.1980763734312015, 0.4559837761750669],
    ]
)


def corrected_parallax(catalogue: Columns) -> Float64:
    """Return PARALLAX - PARALLAX_ZPC in mas, uncorrected where no zero point is defined, shape (star,)."""
    return np.asarray(catalogue["PARALLAX"] - np.nan_to_num(catalogue["PARALLAX_ZPC"]), dtype=np.float64)


def parallax_snr(catalogue: Columns) -> Float64:
    """Return the corrected parallax over its error as the run uses it, NaN where there is none, shape (star,)."""
    error = np.asarray(catalogue["PARALLAX_ERR_USED"], dtype=np.float64)
    return np.asarray(corrected_parallax(catalogue) / np.where(error > 0, error, np.nan))


def has_reference_magnitude(catalogue: Columns, snr_min: float = PARALLAX_SNR) -> Bool:
    """Tell which held-out stars have a parallax precise enough for M_G_GEO to be a reference, shape (star,)."""
    return np.asarray(catalogue["HELD_OUT"] & (parallax_snr(catalogue) > snr_min))


def informs(width: Array, error: Array) -> Bool:
    """Tell which measured parallaxes are more precise than the predicted ones, shape (star,).

    Parameters
    ----------
    width, error
        Quoted error of the predicted parallax, and that of the measured one, mas, shape (star,).
    """
    return np.asarray(np.asarray(width) > error)


def residual_magnitude(catalogue: Columns) -> Float64:
    """Return M_G_NN - M_G_GEO in mag (Fig. 3), NaN where either is missing, shape (star,)."""
    return np.asarray(catalogue["M_G_NN"] - catalogue["M_G_GEO"], dtype=np.float64)


def is_giant(catalogue: Columns) -> Bool:
    """Tell which stars have log g below `GIANT_LOGG`, shape (star,)."""
    return np.asarray(catalogue["LOGG"] < GIANT_LOGG)


def relative_error(catalogue: Columns) -> Float64:
    """Return DISTERR / DIST, shape (star,).

    Infinite where DISTERR is null because the label, or that of a draw, is not positive: such a distance has no upper
    bound, and a median without it would be too small for distant giants. NaN where no error was measured.
    """
    not_positive = (catalogue["FLAGS"] & (Flag.LABEL_NOT_POSITIVE | Flag.DRAW_NOT_POSITIVE)) != 0
    unbounded = not_positive & np.isnan(catalogue["DISTERR"])
    return np.where(unbounded, np.inf, catalogue["DISTERR"] / np.asarray(catalogue["DIST"], dtype=np.float64))


def modulus(distance: Array) -> Float64:
    """Return 5 log10(distance / kpc) + 10 in mag, NaN where the distance is missing or not positive, any shape."""
    known = np.asarray(distance, dtype=np.float64)
    return 5.0 * np.log10(np.where(known > 0.0, known, np.nan)) + 10.0


def galactocentric_distance(ra: Array, dec: Array, distance: Array) -> Float64:
    """Return distances from the Galactic centre, `R_SUN` away at l = b = 0, in kpc, shape (star,).

    Parameters
    ----------
    ra, dec
        Degrees, shape (star,).
    distance
        Heliocentric, kpc, shape (star,).
    """
    a, d = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    x, y, z = _TO_GALACTIC @ np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)]) * distance
    return np.asarray(np.sqrt((x - R_SUN) ** 2 + y**2 + z**2))


def true_distance(stars: Columns, truth: Columns) -> Float64:
    """Return DIST_TRUE in kpc of each star, NaN where unknown, shape (star,)."""
    row = join(stars, truth)
    return np.append(np.asarray(truth["DIST_TRUE"], dtype=np.float64), np.nan)[row]


def join(stars: Columns, reference: Columns) -> Int64:
    """Find each star in a reference by `IDENTIFIER`.

    Returns
    -------
    ndarray of int64, shape (star,)
        Row of the star in `reference`, -1 if absent.

    Raises
    ------
    InputError
        When two rows of the reference have one identifier.
    """
    count = len(stars["TARGETID"])
    code = np.zeros(count + len(reference["TARGETID"]), dtype=np.int64)
    for name in IDENTIFIER:
        _, value = np.unique(np.concatenate([stars[name], reference[name]]), return_inverse=True)
        _, code = np.unique(code * (value.max(initial=0) + 1) + value, return_inverse=True)
    wanted, known = code[:count], code[count:]
    row_of = np.full(len(code), -1, dtype=np.int64)
    row_of[known] = np.arange(len(known))
    if np.any(row_of[known] != np.arange(len(known))):
        repeated = len(known) - len(np.unique(known))
        raise InputError(
            "the truth",
            expected="one row per TARGETID, SURVEY, PROGRAM and HEALPIX",
            found=f"{repeated} repeated rows",
            remedy="Remove the repeated rows.",
        )
    return row_of[wanted]
