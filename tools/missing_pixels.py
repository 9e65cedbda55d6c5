"""Print what missing pixels do to the magnitudes of a finished run, as Markdown.

    .venv/bin/python tools/missing_pixels.py demo/run [--snr 15 --snr 50] [--stars 300]

Pixels of held-out stars are masked in their native spectra: blocks of 100 and 600 A, a whole arm, both ends. Each star
is predicted by networks that never saw it. Shift and flags are those against the same spectrum without the mask; z is
the error against the true magnitude, or against the magnitude of a precise parallax where no truth is known, in units
of the quoted one. Shares are those of stars that the mask did not flag. With `--snr` noise is added until the spectra
have that S/N per pixel.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from specdis.arrays import Array, Bool, Float64
from specdis.distances.targets import TARGET_COLUMNS, Targets
from specdis.flags import Flag
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.pipeline.config import Config, config_of
from specdis.pipeline.inputs import survey_of, truth_of
from specdis.statistics import robust_scatter
from specdis.storage import column_names, read_table
from specdis.stores.paths import RunPaths
from specdis.surveys import IDENTIFIER, Spectra, Stars
from specdis.validation import join
from specdis.validation.stars import PARALLAX_SNR

BLOCKS = {
    "none": (),
    **{f"{low}-{low + 100}": ((low, low + 100.0),) for low in (3800, 4000, 4300, 5100, 5500, 6500)},
    **{f"{low}-{low + 600}": ((low, low + 600.0),) for low in (3750, 4300, 4900, 5500, 6100, 6700)},
    "below 5780": ((0.0, 5780.0),),
    "above 5780": ((5780.0, np.inf),),
    "ends of 100 A": ((0.0, 3850.0), (7250.0, np.inf)),
}
"""Observed-frame ranges of wavelength that are masked, vacuum Angstrom."""
ADDED = Flag.OUTSIDE_DOMAIN | Flag.MANY_BAD_PIXELS


def true_magnitudes(config: Config) -> tuple[dict[str, Array], Float64]:
    """Return the columns of a run's sample, and true absolute magnitudes, or those of precise parallaxes without."""
    paths = RunPaths(config.run.directory)
    columns = read_table(paths.sample, column_names(paths.sample))
    known = truth_of(config, Stars({name: columns[name] for name in IDENTIFIER}))
    parallax, error = columns["PARALLAX_CORRECTED"], columns["PARALLAX_ERROR_USED"]
    if known is None:
        kpc = 1 / np.where(parallax > PARALLAX_SNR * error, parallax, np.nan)
    else:
        kpc = np.append(known["DIST_TRUE"], np.nan)[join(columns, known)]
    return columns, np.asarray(columns["G_0"] - 5 * np.log10(kpc) - 10)


def chosen_stars(config: Config, most: int, least_snr: float) -> tuple[Stars, Float64]:
    """Return held-out stars of the run, evenly spread, and their true absolute magnitudes."""
    columns, true = true_magnitudes(config)
    rows = np.flatnonzero(columns["SELECTED"] & columns["HELD_OUT"] & np.isfinite(true) & ~(columns["SN"] < least_snr))
    rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    return Stars({name: values[rows] for name, values in columns.items()}), true[rows]


def noisier(spectra: Spectra, snr: float | None, seed: int) -> Spectra:
    """Return the spectra with noise added until their median S/N per pixel is `snr`."""
    if snr is None:
        return spectra
    random = np.random.default_rng(seed)
    arms = {}
    for name, arm in spectra.arms.items():
        assert arm.ivar is not None
        level = np.median(np.abs(arm.flux), axis=1, keepdims=True) / snr
        ratio = np.abs(arm.flux) / np.median(np.abs(arm.flux), axis=1, keepdims=True)
        wanted = (level * np.sqrt(np.maximum(ratio, 0.05))) ** 2
        own = np.where(arm.bad, 0, 1 / np.where(arm.bad, 1, arm.ivar))
        added = np.maximum(wanted - own, 0)
        flux = arm.flux + np.sqrt(added) * random.standard_normal(arm.flux.shape)
        ivar = np.where(arm.bad, 0, 1 / np.where(arm.bad, 1, own + added))
        arms[name] = replace(arm, flux=flux.astype(np.float32), ivar=ivar.astype(np.float32))
    return replace(spectra, arms=arms)


def masked(spectra: Spectra, windows: tuple[tuple[float, float], ...]) -> Spectra:
    """Return the spectra without what lies in some ranges of wavelength."""
    arms = {}
    for name, arm in spectra.arms.items():
        inside = np.zeros(len(arm.wavelength), bool)
        for low, high in windows:
            inside |= (arm.wavelength >= low) & (arm.wavelength < high)
        bad = arm.bad | inside
        ivar = None if arm.ivar is None else np.where(bad, 0, arm.ivar)
        arms[name] = replace(arm, flux=np.where(bad, 0, arm.flux), ivar=ivar, bad=bad)
    return replace(spectra, arms=arms)


def predicted(model: Model, blocks: list[Spectra], targets: Targets, stars: int) -> dict[str, Array]:
    """Predict spectra file by file; return columns in the order of the stars, NaN where there was no spectrum."""
    columns: dict[str, Array] = {}
    for spectra in blocks:
        found = model.predict_spectra(spectra, targets.take(spectra.row))
        for name, values in found.items():
            column = columns.setdefault(name, np.full(stars, np.nan if values.dtype.kind == "f" else 0, values.dtype))
            column[spectra.row] = values
    return columns


def joined(blocks: list[Spectra]) -> list[Spectra]:
    """Return the spectra of files that have the same arms and pixels as one block."""
    first = blocks[0]
    same = [block for block in blocks if {*block.arms} == {*first.arms}]
    if len(same) < len(blocks) or any(
        len(block.arms[name].wavelength) != len(arm.wavelength) for block in same for name, arm in first.arms.items()
    ):
        return blocks
    arms = {}
    for name, arm in first.arms.items():
        parts = [block.arms[name] for block in same]
        ivar = None if arm.ivar is None else np.concatenate([part.ivar for part in parts])
        flux, bad = (np.concatenate([getattr(part, what) for part in parts]) for what in ("flux", "bad"))
        arms[name] = replace(arm, flux=flux, ivar=ivar, bad=bad)
    rows, velocity, observed = (
        np.concatenate([getattr(block, what) for block in same]) for what in ("row", "velocity", "observed_velocity")
    )
    return [Spectra(rows, arms, velocity, observed, first.normalised)]


def spectra_of(config: Config, stars: Stars, snr: float | None) -> list[Spectra]:
    """Read the spectra of some stars of a run, with noise added down to an S/N."""
    blocks = [found for found in survey_of(config).spectra(stars) if isinstance(found, Spectra)]
    return [noisier(spectra, snr, 1) for spectra in joined(blocks)]


def noisy_predictions(
    config: Config, model: Model, most: int, snr: float
) -> tuple[dict[str, Array], Float64, dict[str, Array]]:
    """Return columns of held-out stars of a run, their true magnitudes, and predictions from noisier spectra."""
    stars, true = chosen_stars(config, most, snr)
    found = predicted(model, spectra_of(config, stars, snr), model.targets_of(stars.columns), len(stars))
    return stars.columns, true, found


def table(model: Model, config: Config, most: int, snr: float | None) -> Iterator[str]:
    """Yield the lines of the table."""
    stars, true = chosen_stars(config, most, 20.0 if snr is None else 0.0)
    blocks = spectra_of(config, stars, snr)
    targets = model.targets_of(stars.columns)
    assert {*TARGET_COLUMNS} <= {*stars.columns}
    whole = predicted(model, blocks, targets, len(stars))
    yield f"{len(stars)} stars, " + ("as they are" if snr is None else f"S/N {snr:g} per pixel")
    yield ""
    yield "| masked, A | median shift | scatter | shift > 3 errors | z > 3 | z scatter | quoted error | flagged more |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, windows in BLOCKS.items():
        found = (
            whole
            if not windows
            else predicted(model, [masked(block, windows) for block in blocks], targets, len(stars))
        )
        shift = found["M_G_NN"] - whole["M_G_NN"]
        z = (found["M_G_NN"] - true) / found["M_G_NN_ERR"]
        moved = np.abs(shift) > 3 * found["M_G_NN_ERR"]
        flagged = (found["FLAGS"] & ADDED != 0) & (whole["FLAGS"] & ADDED == 0)
        known = np.isfinite(z)
        yield (
            f"| {name} | {np.nanmedian(shift):+.3f} | {robust_scatter(shift[np.isfinite(shift)]):.3f} | "
            f"{100 * share(moved, ~flagged):.1f} % | {100 * share(np.abs(z) > 3, known & ~flagged):.1f} % | "
            f"{robust_scatter(z[known]):.2f} | {np.nanmedian(found['M_G_NN_ERR']):.2f} | {100 * flagged.mean():.0f} % |"
        )


def share(rows: Bool, among: Bool) -> float:
    """Return the share of rows among others."""
    return float((rows & among).sum() / max(among.sum(), 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--snr", type=float, action="append")
    parser.add_argument("--stars", type=int, default=300)
    options = parser.parse_args()
    config, model = config_of(options.run), load_model(RunPaths(options.run).model)
    for snr in options.snr or [None]:
        print("\n".join(table(model, config, options.stars, snr)), end="\n\n")


if __name__ == "__main__":
    main()
