"""Numbers quoted in the paper, with those of a run, in the paper's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from specdis.references import TABLE_A1
from specdis.validation.measures import cell_name

_BY_SNR = {
    "scatter": (0.48, 0.26, 0.24, 0.22),
    "error": (0.23, 0.19, 0.11, 0.07),
    "giant_error": (0.58, 0.38, 0.16, 0.08),
}
_STARS = 4_000_000.0  # of the paper's catalogue, to which its counts refer


class PaperRow(NamedTuple):
    """One number of the paper and the same number of a run.

    Parameters
    ----------
    section
        Section of the paper.
    quantity
        Description.
    unit
        `mag`, `kpc`, `share`, or `stars` for counts.
    here, here_err
        Value of the run and its standard error; NaN if the run has none.
    paper
        Value of the paper.
    robust, half_width
        If `here` is a standard deviation, which a few outliers can dominate: 1.4826 times the median absolute
        deviation, and half of the range from 16 to 84 per cent, in the same unit; else NaN.
    """

    section: str
    quantity: str
    unit: str
    here: float
    here_err: float
    paper: float
    robust: float = np.nan
    half_width: float = np.nan


def beside_the_paper(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers of sections 2.5, 4.1 to 4.5, 5 and Table A1 with the paper's own.

    Parameters
    ----------
    measured
        The other metrics.
    """
    external = measured.get("external")
    rows = (*_external(external), *_internal(measured["internal"]), *_known(external), *_population(measured))
    binaries = _binaries(measured.get("binaries"))
    return [row._asdict() for row in (*rows, *binaries, *_table_a1(measured.get("external")))]


def _row(section: str, quantity: str, unit: str, block: Mapping[str, Any] | None, key: str, paper: float) -> PaperRow:
    block = block or {}
    return PaperRow(section, quantity, unit, block.get(key, np.nan), block.get(f"{key}_err", np.nan), paper)


def _spread(
    section: str, quantity: str, block: Mapping[str, Any] | None, paper: float, *, as_distance: bool = False
) -> PaperRow:
    """Return the paper's 1-sigma scatter, a standard deviation, with two measures that are robust against outliers."""
    found, unit, factor = block or {}, "mag", 1.0
    if as_distance:
        unit, factor = "share", np.log(10.0) / 5.0
    keys = ("std_mag", "std_mag_err", "scatter_mag", "q16_mag", "q84_mag")
    std, error, robust, low, high = (factor * found.get(key, np.nan) for key in keys)
    return PaperRow(section, quantity, unit, std, error, paper, robust, 0.5 * (high - low))


def _by_snr(
    section: str, quantity: str, unit: str, block: Mapping[str, Any], key: str, paper: str
) -> Iterator[PaperRow]:
    for here, there in zip(block["by_snr"], _BY_SNR[paper], strict=True):
        cell = cell_name("S/N", here["snr_min"], here["snr_max"])
        yield _row(section, f"{quantity}, {cell}", unit, here, key, there)


def _internal(internal: Mapping[str, Any]) -> Iterator[PaperRow]:
    training = "training error: standard deviation of the difference between two networks"
    yield _row("3.3.2", training, "mag", internal["training_error_mag"], "difference_mag", 0.05)
    for cell, paper in zip(internal["by_snr"], _BY_SNR["scatter"], strict=True):
        name = cell_name("S/N", cell["snr_min"], cell["snr_max"])
        yield _spread("4.1", f"scatter of M_G_NN − M_G_GEO, {name}", cell, paper)
    yield _row("4.1", "the same with pixels as input, S/N > 20 (see `specdis ablate`)", "mag", None, "", 0.9)


def _external(external: Mapping[str, Any] | None) -> Iterator[PaperRow]:
    found = external or {}
    kinds = found.get("by_kind", {})
    for kind, name, paper in (
        ("cluster", "members of globular clusters", 2154.0),
        ("dwarf", "members of dwarf galaxies", 320.0),
        ("stream", "members of the Sagittarius stream", 1001.0),
        ("bhb", "BHB stars", 4326.0),
    ):
        yield _row("2.5", name, "stars", kinds.get(kind), "n", paper)
    blue = [count for count in found.get("counts", ()) if count.get("kind") == "bhb"]
    sums = {key: sum(count[key] for count in blue) for key in ("listed", "matched", "elsewhere")} if blue else {}
    yield _row("2.5", "BHB stars in the list", "stars", sums, "listed", 6327.0)
    without = {"n": sums["matched"] - sums["elsewhere"]} if sums else {}
    yield _row("2.5", "BHB stars of the survey, without repeats and members of systems", "stars", without, "n", 4565.0)


def _known(external: Mapping[str, Any] | None) -> Iterator[PaperRow]:
    found = external or {}
    kinds, members, bhb = found.get("by_kind", {}), found.get("members", {}), found.get("bhb", {})
    yield _spread("4.2", "scatter of the modulus of members", members.get("all"), 1.0)
    yield _spread("4.2", "the same, quoted error < 0.5 mag", members.get("precise"), 0.5)
    yield _spread("4.2", "scatter of the modulus of BHB stars", bhb.get("all"), 0.36)
    yield _spread("4.2", "the same, quoted error < 0.5 mag", bhb.get("precise"), 0.23)
    yield _row("4.2", "BHB stars with quoted error < 0.5 mag", "share", bhb, "share_precise", 0.88)
    for kind, name, paper in (
        ("cluster", "clusters", 9.0),
        ("dwarf", "dwarf galaxies", 11.0),
        ("stream", "Sagittarius", 13.0),
        ("bhb", "BHB stars", 34.0),
    ):
        yield _row("4.2", f"median S/N, {name}", "", kinds.get(kind), "median_snr", paper)


def _population(measured: Mapping[str, Any]) -> Iterator[PaperRow]:
    found = measured["catalogue"]
    yield _row("4.3.1", "stars within 15 kpc", "share", found, "share_within_15_kpc", 1.0 - 120_000 / _STARS)
    yield _row("4.3.1", "stars beyond 50 kpc", "share", found, "share_beyond_50_kpc", 20_000 / _STARS)
    share = "share_negative_parallax_beyond_15_kpc"
    yield _row("4.3.1", "negative parallaxes beyond 15 kpc", "share", found, share, 0.40)
    yield _row("4.3.2", "distance error below 25 %", "share", found["all"], "share_precise", 0.60)
    error, giant_error = "median_relative_error", "median_relative_error_giants"
    yield from _by_snr("4.3.2", "median distance error", "share", found, error, "error")
    yield _row("4.3.2", "median distance error within 2 kpc", "share", found, f"{error}_within_2_kpc", 0.14)
    far = "mean_relative_error_beyond_15_kpc"
    yield _row("4.3.2", "mean distance error beyond 15 kpc, where it is bounded", "share", found, far, 0.50)
    yield _row("4.3.2", "median distance error, 150 < S/N < 250", "share", found, f"{error}_snr_150_250", 0.05)
    yield from _by_snr("4.4", "median distance error of giants", "share", found, giant_error, "giant_error")
    yield _row(
        "4.4", "median distance error of giants, 15 < S/N < 25", "share", found, f"{giant_error}_near_snr_20", 0.39
    )
    within = f"{giant_error}_within_50_kpc_of_centre"
    yield _row("4.4", "median distance error of giants within 50 kpc of the centre", "share", found, within, 0.40)
    for place, paper in (("within", 74_000.0), ("beyond", 1_500.0)):
        key = f"n_precise_giants_{place}_50_kpc_of_centre"
        quantity = f"giants with error below 25 % {place} 50 kpc of the centre"
        yield _row("4.4", quantity, "stars", found, key, paper)
    yield from _rivals(measured.get("rivals", {}))
    near = f"{error}_above_snr_20_within_15_kpc"
    yield _row("4.5", "median distance error, S/N > 20, within 15 kpc", "share", found, near, 0.14)
    yield _row("4.5", "median distance error, S/N > 50", "share", found, f"{error}_above_snr_50", 0.10)
    yield _row("4.5", "median distance error, 5 < S/N < 10", "share", found, f"{error}_snr_5_10", 0.19)
    yield from _claims(measured.get("rivals", {}))


def _named(rivals: Mapping[str, Any], author: str) -> Mapping[str, Any]:
    """Return the measurements of the rival named after an author; empty if there is none."""
    return next((rivals[name] for name in rivals if name.lower().startswith(author)), {})


def _rivals(rivals: Mapping[str, Any]) -> Iterator[PaperRow]:
    """Return the numbers of section 4.4 for the K giants of Xue et al. (2014), if a rival is named after them."""
    xue = _named(rivals, "xue")
    yield _row(
        "4.4", "our distance error of the giants of Xue et al.", "share", xue, "median_relative_error_ours", 0.39
    )
    for who, paper in (("ours", 0.34), ("rival", 0.24)):
        quantity = f"scatter on members, {'ours' if who == 'ours' else 'Xue et al.'}"
        yield _spread("4.4", quantity, xue.get("members", {}).get(who), paper, as_distance=True)


def _claims(rivals: Mapping[str, Any]) -> Iterator[PaperRow]:
    """Return the accuracies that rivals state in section 4.5, with the errors that their catalogues quote."""
    for author, words, key, paper in (
        ("xiang", "Xiang et al. (2021), S/N > 20", "above_snr_20", 0.12),
        ("wang", "Wang et al. (2022), S/N > 50", "above_snr_50", 0.085),
        ("zhang", "Zhang et al. (2024), 5 < S/N < 10", "snr_5_10", 0.14),
        ("zhang", "Zhang et al. (2024), S/N > 50", "above_snr_50", 0.04),
    ):
        name = f"median_relative_error_quoted_{key}"
        yield _row(
            "4.5", f"median distance error that they quote: {words}", "share", _named(rivals, author), name, paper
        )


def _binaries(found: Mapping[str, Any] | None) -> Iterator[PaperRow]:
    probable = "held-out stars of precise parallax that are probable binaries"
    yield _row("5", probable, "stars", found, "n_probable_held_out", 21_000.0)
    yield _row("5", "stars called binaries", "stars", found, "n_binaries", 120_000.0)
    yield _row("5", "of these, with a precise parallax", "stars", found, "n_binaries_precise", 90_000.0)
    share = "binaries among stars of precise parallax"
    yield _row("5", share, "share", found, "share_binaries_precise", 0.09)
    yield _row("5", "called binaries, but below the diagonal", "share", found, "share_below_diagonal", 0.10)
    colours = "share_white_dwarfs_below_diagonal"
    yield _row("5", "of these, with the colours of white dwarfs", "share", found, colours, 0.5)
    low, high = ({}, {}) if found is None else found["scatter_by_snr"]
    yield _spread("5", "scatter of single stars, S/N > 20", high.get("single"), 0.19)
    yield _spread("5", "scatter of single stars, S/N < 20", low.get("single"), 0.26)
    with_binaries = "scatter with binaries, as a distance"
    yield _spread("5", f"{with_binaries}, S/N > 20", high.get("all"), 0.10, as_distance=True)
    yield _spread("5", f"{with_binaries}, S/N < 20", low.get("all"), 0.18, as_distance=True)


def _table_a1(external: Mapping[str, Any] | None) -> Iterator[PaperRow]:
    found = {row["system"]: row for row in (external or {}).get("systems", [])}
    for system in TABLE_A1:
        quantity = f"median distance of {system.name} ({system.distance:.1f} kpc)"
        yield _row("A1", quantity, "kpc", found.get(system.name), "median_distance_kpc", system.paper_distance)
