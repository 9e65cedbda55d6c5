"""The verb `ablate`: the effect of undoing each of the paper's choices on bias and scatter.

Every variant is a run that starts from the products of the full method and recomputes only the stale ones.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from specdis import validation
from specdis.arrays import Array, Bool, Float64
from specdis.catalogue import read_columns
from specdis.errors import InputError
from specdis.log import logger
from specdis.pipeline.config import Config
from specdis.pipeline.inputs import references_of, truth_of
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.statistics import Estimate, paired_difference, robust_scatter
from specdis.storage import read_table, remove, write_json, write_text
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER
from specdis.validation.halo import HALO_EDGES

BINS = (1.0, *HALO_EDGES)
"""Edges of true distance in kpc for which the table gives the bias."""

_RESAMPLES = 200
_FEWEST = 50  # stars of a cell


class Variant(NamedTuple):
    """One change of the full method."""

    name: str
    settings: Mapping[str, Any]


FULL = Variant("the full method", {})
VARIANTS = (
    FULL,
    Variant("trained on parallax S/N > 5 only", {"sample.train_parallax_snr_min": 5.0}),
    Variant("trained on parallax S/N > 10 only", {"sample.train_parallax_snr_min": 10.0}),
    Variant("trained without negative parallaxes", {"sample.train_drop_negative": True}),
    Variant("10 components", {"components.n_components": 10}),
    Variant("30 components", {"components.n_components": 30}),
    Variant("100 components", {"components.n_components": 100}),
    Variant("300 components", {"components.n_components": 300}),
    Variant("1000 components", {"components.n_components": 1000}),
    Variant("raw pixels instead of components", {"components.kind": "pixels"}),
    Variant("missing pixels as zeros", {"spectra.missing": "zeros"}),
    Variant("all pixels alike", {"spectra.weights": "none"}),
    Variant("without the logarithm of Eq. 1", {"spectra.signed_log": False}),
    Variant("labels that stay positive", {"network.label.output": "exp"}),
    Variant("the spectrum alone", {"network.colours": []}),
    Variant("colours alone", {"network.spectrum": False}),
    Variant("the floor: trained on true magnitudes", {"training.labels": "truth"}),
    Variant("without anchors", {"anchors.use": "none"}),
    Variant("anchors in the training alone", {"anchors.use": "training"}),
    Variant("anchors in the recalibration alone", {"anchors.use": "calibration"}),
    Variant("anchors in both", {"anchors.use": "both"}),
    Variant("robust loss", {"network.label.loss": "robust", "network.label.intrinsic_scatter": 0.1}),
    Variant(
        "robust loss, labels that stay positive",
        {"network.label.loss": "robust", "network.label.intrinsic_scatter": 0.1, "network.label.output": "exp"},
    ),
)


def run_ablations(path: Path, overrides: Sequence[str] = (), variants: Sequence[Variant] = VARIANTS) -> Path:
    """Run the variants of a configuration and write the table that compares them.

    Parameters
    ----------
    path
        The configuration: the full method.
    overrides
        `section.key=value`, as for `specdis run`.
    variants
        The variants; the first is the reference for the others.

    Returns
    -------
    Path
        RUN/ablations/ablation.md; the same numbers are in ablation.json beside it.

    Raises
    ------
    SpecdisError
        When a run fails, or leaves too few stars to compare.
    """
    # The table does not use errors: two draws are the minimum.
    common = [*overrides, "distances.n_draws=2"]
    full = Config.load(path, common)
    folder = full.run.directory / "ablations"
    compared: Deviations | None = None
    residuals: dict[str, Float64] = {}
    trainable: dict[str, int] = {}
    for variant in (one for one in variants if applies(one, full)):
        directory = folder / _slug(variant.name)
        changes = [f"{key}={json.dumps(value)}" for key, value in variant.settings.items()]
        config = Config.load(path, [*common, *changes, f"run.directory={json.dumps(str(directory))}"])
        if variant.settings and config.model_dump(exclude={"run"}) == full.model_dump(exclude={"run"}):
            logger.info("ablation: %s is the full method", variant.name)
            continue
        if residuals and not directory.exists():
            _start_from(folder / _slug(variants[0].name), directory)
        logger.info("ablation: %s", variant.name)
        run_stages(config, STAGES, last="catalogue")
        errors = _errors(config)
        compared = compared or errors
        residuals[variant.name] = errors.of(compared.stars)
        trainable[variant.name] = int(read_table(RunPaths(directory).sample, ["TRAINABLE"])["TRAINABLE"].sum())
    assert compared is not None
    rows = [_row(name, residuals, trainable[name], compared.cells, full.run.seed) for name in residuals]
    write_json(folder / "ablation.json", rows)
    write_text(folder / "ablation.md", table(rows))
    return folder / "ablation.md"


def applies(variant: Variant, full: Config) -> bool:
    """Tell whether a variant means anything: colours without the spectrum, the truth and anchors must be known."""
    needs = {
        "anchors.use": bool(references_of(full).members()),
        "network.spectrum": bool(full.network.colours),
        "training.labels": full.survey.kind == "mock" or full.survey.truth_file is not None,
    }
    lacking = [key for key in variant.settings if not needs.get(key, True)]
    if lacking:
        logger.info("ablation: %s is left out: the configuration has no %s", variant.name, _LACKING[lacking[0]])
    return not lacking


_LACKING = {
    "anchors.use": "lists of stars of known distance",
    "network.spectrum": "colours",
    "training.labels": "true distances",
}


def _slug(name: str) -> str:
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name.lower()).split())


def _start_from(source: Path, directory: Path) -> None:
    """Start a run with the products of another one, as hard links if the file system supports them.

    Stages write under a temporary name and rename, so that none writes into a shared file.
    """
    unfinished = directory.with_name(f"{directory.name}.partial")
    remove(unfinished)
    shutil.copytree(source, unfinished, copy_function=_link, ignore=shutil.ignore_patterns(".lock", "log.txt"))
    os.replace(unfinished, directory)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Deviations(NamedTuple):
    """Errors of the held-out stars of a run.

    Parameters
    ----------
    stars
        `IDENTIFIER`, each of shape (star,).
    error
        Predicted minus true distance modulus in mag, shape (star,).
    cells
        Stars in each cell of the table.
    """

    stars: dict[str, Array]
    error: Float64
    cells: dict[str, Bool]

    def of(self, stars: Mapping[str, Array]) -> Float64:
        """Return the errors of given stars; a run with a smaller training set holds out more stars."""
        return np.append(self.error, np.nan)[validation.join(stars, self.stars)]


def _errors(config: Config) -> Deviations:
    """Compare a run with the truth if known; else compare stars of precise parallax with M_G_GEO."""
    paths = RunPaths(config.run.directory)
    columns = read_columns(paths.catalogue, validation.VALIDATION_COLUMNS)
    known = truth_of(config, paths)
    if known is None:
        chosen = validation.has_reference_magnitude(columns) & columns["SELECTED"]
        error = -validation.residual_magnitude(columns)
        cells = {}
    else:
        distance = validation.true_distance(columns, known)
        chosen = columns["HELD_OUT"] & columns["SELECTED"] & np.isfinite(distance)
        error = 5.0 * np.log10(columns["DIST"] / distance)
        bins = validation.cells(distance[chosen], BINS)
        cells = {f"{low:g}-{high:g} kpc": inside for low, high, inside in bins}
        cells |= _kinds(columns["SN"][chosen], validation.is_giant(columns)[chosen])
    if np.count_nonzero(chosen) < _FEWEST:
        raise InputError(
            config.run.directory,
            expected=f"at least {_FEWEST} held-out stars with a true distance or a precise parallax",
            found=str(np.count_nonzero(chosen)),
            remedy="Use more stars: these are too few to show a difference.",
        )
    stars = {name: values[chosen] for name, values in read_table(paths.sample, IDENTIFIER).items()}
    return Deviations(stars, error[chosen], {"all": np.ones(int(chosen.sum()), bool)} | cells)


def _kinds(snr: Float64, giant: Bool) -> dict[str, Bool]:
    """Return the stars of each kind and range of S/N, shape (star,)."""
    ranges_of_snr = {"S/N < 20": snr < 20, "S/N 20-60": (snr >= 20) & (snr < 60), "S/N > 60": snr >= 60}
    return {
        f"{kind}, {name}": of_kind & inside
        for kind, of_kind in (("giants", giant), ("dwarf stars", ~giant))
        for name, inside in ranges_of_snr.items()
    }


def _row(
    name: str, residuals: Mapping[str, Float64], trainable: int, groups: Mapping[str, Bool], seed: int
) -> dict[str, Any]:
    """Compare a variant with the full method for stars with a distance in both."""
    error, full = residuals[name], next(iter(residuals.values()))
    both = np.isfinite(error) & np.isfinite(full)
    cells = {}
    for cell, inside in groups.items():
        rows = inside & both
        if np.count_nonzero(rows) >= _FEWEST:
            cells[cell] = {
                "n": int(np.count_nonzero(rows)),
                "median_mag": float(np.median(error[rows])),
                "scatter_mag": float(robust_scatter(error[rows])),
                "scatter_difference_mag": _difference(robust_scatter, error[rows], full[rows], seed)._asdict(),
                "median_difference_mag": _difference(_median, error[rows], full[rows], seed)._asdict(),
            }
    return {"name": name, "trainable": trainable, "without_distance": int(np.sum(~np.isfinite(error))), "cells": cells}


def _difference(statistic: Any, one: Float64, other: Float64, seed: int) -> Estimate:
    return paired_difference(statistic, one, other, seed=seed, purpose="ablation", resamples=_RESAMPLES)


def _median(values: Array) -> Any:
    return np.median(values, axis=-1)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the comparison as Markdown.

    Parameters
    ----------
    rows
        One per variant: name, trainable and without_distance (stars), and cells, which hold medians and scatters in mag
        and their differences from the first row's.
    """
    names = list(rows[0]["cells"])
    bins = [name for name in names if name.endswith("kpc")]
    kinds = [name for name in names if "S/N" in name]
    head = ["", "trainable", "no distance", "scatter", "its change", "bias", *(f"bias, {name}" for name in bins)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        every = row["cells"]["all"]
        change = every["scatter_difference_mag"]
        cells = [row["name"], f"{row['trainable']:,}", f"{row['without_distance']:,}", f"{every['scatter_mag']:.3f}"]
        cells += ["" if row is rows[0] else f"{change['value']:+.3f} ± {change['error']:.3f}"]
        cells += [_bias(row["cells"].get(name), row is rows[0]) for name in ("all", *bins)]
        lines.append("| " + " | ".join(cells) + " |")
    if kinds:
        lines += ["", "Scatter in mag, and its change:", ""]
        lines += ["| | " + " | ".join(kinds) + " |", "|" + "---|" * (len(kinds) + 1)]
        for row in rows:
            cells = [row["name"], *(_scatter(row["cells"].get(name), row is rows[0]) for name in kinds)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _scatter(cell: Mapping[str, Any] | None, is_first: bool) -> str:
    if cell is None:
        return "–"
    change = cell["scatter_difference_mag"]
    return f"{cell['scatter_mag']:.3f}" + ("" if is_first else f" ({change['value']:+.3f} ± {change['error']:.3f})")


def _bias(cell: Mapping[str, Any] | None, is_first: bool) -> str:
    if cell is None:
        return "–"
    change = cell["median_difference_mag"]
    return f"{cell['median_mag']:+.3f}" + ("" if is_first else f" ({change['value']:+.3f} ± {change['error']:.3f})")
