"""Print how well runs know the true magnitudes of the same stars, by S/N and log g, as Markdown.

    .venv/bin/python tools/scores.py RUN [OTHER-RUN ...]
    .venv/bin/python tools/scores.py RUN [OTHER-RUN ...] --snr 15 --snr 50

Held-out stars that took no part in the recalibration, and that every run predicts. Where no truth is known, stars of a
precise parallax have the magnitude that it gives. The score is the mean of ln p of the true magnitude, where p is the
mixture's distribution, or the Gaussian of M_G_NN and M_G_NN_ERR of a run without one; the scatter of M_G_NN is robust.
Differences of the score are those from the first run. With `--snr` the spectra are read again, noise is added until
they have that S/N per pixel, and p is the Gaussian.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from closure_tables import table
from missing_pixels import noisy_predictions, true_magnitudes
from scipy.special import logsumexp

from specdis.arrays import Array, Bool, Float64, Int64, ranges
from specdis.calibration import Traits
from specdis.distances.targets import Targets
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.pipeline.config import config_of
from specdis.statistics import bootstrap_errors, robust_scatter
from specdis.storage import read_table
from specdis.stores.coefficients import CoefficientStore
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER
from specdis.validation import GIANT_LOGG

LEAST = -20.0
"""Smallest ln p that counts: one star that is out of the question must not decide a mean."""
CELLS = {"S/N < 20": (0.0, 20.0), "20-60": (20.0, 60.0), "> 60": (60.0, np.inf)}


class Scored(NamedTuple):
    """What became of some stars, shape (star,)."""

    identifier: tuple[tuple[int | str, ...], ...]
    giant: Bool
    snr: Float64
    error: Float64
    z: Float64
    log_p: Float64

    def take(self, rows: Int64) -> Scored:
        return Scored(tuple(self.identifier[row] for row in rows), *(values[rows] for values in self[1:]))


def gaussian(z: Float64, width: Float64) -> Float64:
    """Return ln p of errors of `z` widths."""
    return np.maximum(-0.5 * z**2 - np.log(width) - 0.5 * np.log(2 * np.pi), LEAST)


def mixture(model: Model, inputs: Array, targets: Targets, outside: Bool, true: Float64) -> Float64:
    """Return ln p of the true magnitudes by the recalibrated mixture."""
    found = np.empty(len(true))
    for rows in ranges(len(true), 4096):
        mine = targets.take(rows)
        traits = Traits(mine.snr, mine.feh, outside[rows])
        predicted = model.networks.mixture.held_out_mixture(inputs[rows], mine.fold.astype(np.int32))
        log_weight, mean, sigma = (
            np.asarray(values, np.float64) for values in model.calibration.apply(predicted, traits).pooled()
        )
        each = log_weight - 0.5 * ((true[rows, None] - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
        found[rows] = np.maximum(logsumexp(each, axis=1), LEAST)
    return found


def scored(run: Path) -> Scored:
    """Return held-out stars with the numbers that the run stored."""
    paths, config, model = RunPaths(run), config_of(run), load_model(RunPaths(run).model)
    stars, true = true_magnitudes(config)
    found = read_table(paths.distances, ["M_G_NN", "M_G_NN_ERR", "CALIBRATION"])
    use = (
        stars["SELECTED"] & stars["HELD_OUT"] & ~found["CALIBRATION"] & np.isfinite(true) & np.isfinite(found["M_G_NN"])
    )
    rows = np.flatnonzero(use)
    error, width, snr = (
        np.asarray(values[rows], np.float64) for values in (found["M_G_NN"] - true, found["M_G_NN_ERR"], stars["SN"])
    )
    if config.network.kind == "mixture":
        store = CoefficientStore.open(paths.coefficients)
        scaled = store.inputs(rows)
        outside = model.domain.outside(store.coefficients_of(rows), store.fit(rows))
        targets = model.targets_of({name: values[rows] for name, values in stars.items()})
        log_p = mixture(model, model.inputs_of(scaled, targets.bands), targets, outside, true[rows])
    else:
        log_p = gaussian(error / width, width)
    return Scored(identifiers(stars, rows), stars["LOGG"][rows] < GIANT_LOGG, snr, error, error / width, log_p)


def scored_with_noise(run: Path, snr: float, most: int) -> Scored:
    """Return held-out stars predicted once more with noise added."""
    model = load_model(RunPaths(run).model)
    stars, true, found = noisy_predictions(config_of(run), model, most, snr)
    error, width = (np.asarray(values, np.float64) for values in (found["M_G_NN"] - true, found["M_G_NN_ERR"]))
    rows = np.flatnonzero(np.isfinite(error / width))
    whole = Scored(
        identifiers(stars, np.arange(len(true))),
        stars["LOGG"] < GIANT_LOGG,
        np.full(len(true), snr),
        error,
        error / width,
        gaussian(error / width, width),
    )
    return whole.take(rows)


def identifiers(stars: Mapping[str, Array], rows: Int64) -> tuple[tuple[int | str, ...], ...]:
    return tuple(zip(*(stars[name][rows].tolist() for name in IDENTIFIER), strict=True))


def of_the_same_stars(runs: list[Scored]) -> list[Scored]:
    """Return the stars that all runs have, in one order."""
    common = sorted(set.intersection(*({*one.identifier} for one in runs)))
    places = [{who: row for row, who in enumerate(one.identifier)} for one in runs]
    return [one.take(np.array([place[who] for who in common])) for one, place in zip(runs, places, strict=True)]


def with_error(values: Array, error: float, sign: str = "") -> str:
    return f"{values:{sign}.3f} ± {error:.3f}"


def lines(names: list[str], runs: list[Scored]) -> Iterator[list[str]]:
    """Yield a row for each run."""
    for name, one in zip(names, runs, strict=True):
        gain = one.log_p - runs[0].log_p
        row = [name, f"{len(one.error):,}"]
        row.append(with_error(one.log_p.mean(), one.log_p.std() / np.sqrt(len(gain))))
        row.append(with_error(gain.mean(), gain.std() / np.sqrt(len(gain)), "+") if one is not runs[0] else "–")
        for giant in (True, False):
            for low, high in CELLS.values():
                rows = (one.giant == giant) & (one.snr >= low) & (one.snr < high)
                if rows.sum() < 20:
                    row.append("–")
                    continue
                values = one.error[rows]
                err = bootstrap_errors({"scatter": robust_scatter}, values)["scatter"]
                row.append(
                    f"{with_error(robust_scatter(values), err)} ({100 * (np.abs(one.z[rows]) < 1).mean():.0f} %)"
                )
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--stars", type=int, default=400, help="with --snr, of each run")
    options = parser.parse_args()
    head = ["run", "stars", "score", "gain", *(f"{kind}, {cell}" for kind in ("giants", "dwarfs") for cell in CELLS)]
    print("Scatter in mag; in brackets the share within the quoted error.\n")
    for snr in options.snr or [None]:
        found = [scored(run) if snr is None else scored_with_noise(run, snr, options.stars) for run in options.runs]
        print(table(head, lines([str(run) for run in options.runs], of_the_same_stars(found))), end="\n\n")


if __name__ == "__main__":
    main()
