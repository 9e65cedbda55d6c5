"""The mock survey without files: the stars and spectra of `survey.write_mock`, computed when read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from specdis.arrays import Array, Bool, ranges
from specdis.mock import imaging, observation, sky, targets
from specdis.mock.settings import MockSettings
from specdis.surveys.base import IDENTIFIER, ROWS, STAR_COLUMNS, Arm, Fault, Spectra, Stars, Survey
from specdis.surveys.coadd import with_good_pixels

_ARMS = ("B", "R")  # the Z arm is not used
_BLOCK = 512  # spectra computed at a time
_UNOBSERVED = {f"{band}_{kind}" for band in ("J", "H", "KS") for kind in ("M", "MSIGCOM")}  # by 2MASS
_MEASURED = ("VRAD", "RVS_WARN", "TEFF", "LOGG", "FEH", "ALPHAFE")


class MockSurvey(Survey):
    """Any number of mock stars, each computed from its identifier at every request.

    Parameters
    ----------
    settings
        Section `[mock]`.
    """

    name = "mock"
    predicts_every_row = False

    def __init__(self, settings: MockSettings) -> None:
        self.settings = settings
        self.inputs: Sequence[Path] = () if settings.library is None else (settings.library,)
        self.columns = frozenset(STAR_COLUMNS) - _UNOBSERVED

    def parts(self, block: int = ROWS) -> Iterator[Stars]:
        """Yield the identifiers of all spectra file by file, `block` at a time."""
        yield from map(Stars, _in_blocks(targets.identifiers(self.settings), block))

    def part(self, rows: Stars) -> Stars:
        """Return all columns of the spectra with these identifiers."""
        return Stars.concatenate([self._stars(rows.take(part)) for part in ranges(len(rows), _BLOCK)])

    def _stars(self, named: Stars) -> Stars:
        """Return all columns of some spectra, which are computed to measure their S/N."""
        rows, catalogue = targets.observed(self.settings, named.columns)
        snr = observation.signal_to_noise(observation.observe(rows, self.settings, _ARMS))
        measured = observation.rvs(rows, snr, self.settings)
        columns = {**named.columns, "SURVEY": np.full(len(named), sky.SURVEY), "EBV": rows["EBV"]}
        columns |= {name: rows[name] for name in STAR_COLUMNS.keys() & imaging.FLUX_COLUMNS}
        columns |= {name: measured[name] for name in _MEASURED}
        columns |= {f"SN_{arm}": values for arm, values in snr.items()}
        gaia = (STAR_COLUMNS.keys() & catalogue.keys()) - columns.keys()
        columns |= {name: _where(catalogue["MATCHED"], name, catalogue[name]) for name in gaia}
        columns = {name: values.astype(STAR_COLUMNS[name].dtype) for name, values in columns.items()}
        columns["SN"] = (columns["SN_B"] + columns["SN_R"]) / 2
        return Stars({**columns, **targets.parent_id(self.settings, rows)})

    def spectra(self, stars: Stars) -> Iterator[Spectra | Fault]:
        """Yield the spectra of the given stars in their order; every row appears once, in a block or in a fault."""
        for part in ranges(len(stars), _BLOCK):
            block = stars.take(part)
            rows, _ = targets.observed(self.settings, block.columns)
            arms = {
                name: Arm.cleaned(arm.wavelength, arm.flux, arm.ivar, arm.mask != 0)
                for name, arm in observation.observe(rows, self.settings, _ARMS).items()
            }
            velocity = block["VRAD"].astype(np.float64)
            yield from with_good_pixels(self.name, Spectra(np.arange(part.start, part.stop), arms, velocity, velocity))

    def truth(self, stars: Stars) -> dict[str, Array]:
        """Return the columns of truth.parquet for the given stars."""
        parts = []
        for part in ranges(len(stars), _BLOCK):
            rows, catalogue = targets.observed(self.settings, stars.take(part).columns)
            parts.append(targets.truth_columns(self.settings, rows, catalogue))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _where(matched: Bool, name: str, values: Array) -> Array:
    return np.where(matched, values, np.array(STAR_COLUMNS[name].missing, STAR_COLUMNS[name].dtype))


def _in_blocks(files: Iterator[dict[str, Array]], block: int) -> Iterator[dict[str, Array]]:
    """Yield the rows of the files in blocks of equal size, the last one smaller."""
    held = Stars({name: np.zeros(0, STAR_COLUMNS[name].dtype) for name in IDENTIFIER if name != "SURVEY"})
    for file in files:
        held = Stars.concatenate([held, Stars(file)])
        while len(held) >= block:
            yield dict(held.take(slice(block)).columns)
            held = held.take(slice(block, None))
    if len(held):
        yield dict(held.columns)
