"""Rival catalogues of distances, matched with ours star by star (sections 4.4 and 4.5, appendix C)."""

from __future__ import annotations

import numpy as np

from specdis.arrays import Array
from specdis.references.matching import SurveyStars, find_rows
from specdis.references.quantities import Quantities
from specdis.references.settings import ReferenceFile
from specdis.references.tables import ListColumns, ReferenceTable

RIVAL_COLUMNS = ("PHOT_G_MEAN_MAG", "A_G")
"""Columns of the catalogue, besides those to match by, that turn a rival's absolute magnitudes into distances."""


def open_rival(file: ReferenceFile) -> Quantities:
    """Open a rival catalogue that has identifiers or positions to match by.

    Raises
    ------
    InputError
        When it cannot be read or has neither.
    """
    quantities = Quantities(ReferenceTable.open(file.path, file.columns.values()), file.columns, file.gaia)
    quantities.require_identifier()
    return quantities


def match_rival(file: ReferenceFile, stars: ListColumns, targets: SurveyStars, radius: float) -> ListColumns:
    """Return the stars of a rival catalogue that are also in ours.

    Parameters
    ----------
    file
        The rival catalogue.
    stars
        `RIVAL_COLUMNS` of our catalogue, shape (star,).
    targets
        Our stars, to be found.
    radius
        Largest separation of a match on the sky, arcsec.

    Returns
    -------
    dict
        ROW in our catalogue, DIST_RIVAL and DISTERR_RIVAL (kpc, the latter NaN where the rival gives none), shape
        (match,). Of repeated stars of the rival the first row counts.

    Raises
    ------
    InputError
        When the rival catalogue cannot be read, or lacks identifiers and positions, or distances.
    """
    quantities = open_rival(file)
    columns = quantities.read("SOURCE_ID", "TARGETID", "RA", "DEC")
    epoch = quantities.epoch if file.epoch is None else file.epoch
    row = find_rows(columns, epoch, file.model_copy(update={"gaia": quantities.release}), targets, radius)
    distance, error = quantities.distance(_magnitudes(row, stars))
    use = np.flatnonzero((row >= 0) & np.isfinite(distance))
    _, first = np.unique(row[use], return_index=True)
    use = use[first]
    return {"ROW": row[use], "DIST_RIVAL": distance[use], "DISTERR_RIVAL": error[use]}


def _magnitudes(row: Array, stars: ListColumns) -> Array:
    """Return G without extinction of the matched star, NaN where there is none, shape (row,)."""
    apparent = np.append(np.asarray(stars["PHOT_G_MEAN_MAG"] - stars["A_G"], dtype=np.float64), np.nan)
    return np.asarray(apparent[row])
