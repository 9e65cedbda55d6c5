"""Draw a written mock survey beside real stars, and print its numbers beside the paper's.

    .venv/bin/specdis mock SURVEY
    .venv/bin/python tools/mock_realism.py SURVEY OUT

OUT gets hr.png (the mock beside Hipparcos stars with parallaxes of Gaia DR3, and BaSTI-IAC isochrones) and
distributions.png (parallax errors, S/N, magnitudes, parallaxes). Hipparcos and the isochrones are read from the folder
that SPECDIS_REAL_DATA names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import fitsio
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

from specdis.arrays import Array
from specdis.mock.colours import intrinsic_colours
from specdis.mock.stars import total_metallicity
from specdis.mock.survey import CATALOGUE, TRUTH
from specdis.references import CLUSTERS, DWARFS
from specdis.storage import read_table

REAL = Path(os.environ.get("SPECDIS_REAL_DATA", "../shared/real"))
ISOCHRONES = {"3 Gyr": "3000z132y264p00o0d0e0", "0.3 Gyr": "300z132y264p00o0d0e0", "0.03 Gyr": "30z132y264p00o0d0e0"}
GAIA_ERRORS = np.array([(9.0, 0.02), (15.0, 0.03), (17.0, 0.07), (20.0, 0.5), (21.0, 1.3)])
"""Typical parallax errors of Gaia EDR3 in mas at G (Gaia Collaboration 2021, A&A 649, A1); 0.02 to 0.03 at G < 15."""


def read(survey: Path) -> dict[str, Array]:
    """Return columns of the catalogue and of the truth, row by row."""
    with fitsio.FITS(str(survey / CATALOGUE)) as file:
        names = {"RVTAB": ("SN_B", "SN_R", "PROGRAM"), "GAIA": ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR")}
        tables = {hdu: file[hdu].read(columns=list(wanted)) for hdu, wanted in names.items()}
    columns = {name: tables[hdu][name] for hdu, wanted in names.items() for name in wanted}
    columns["SN"] = (columns["SN_B"] + columns["SN_R"]) / 2
    return columns | read_table(survey / TRUTH)


def hr_diagram(stars: dict[str, Array], path: Path) -> None:
    """Draw absolute magnitude against colour of mock stars, of Hipparcos stars and of isochrones."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 6), sharex=True, sharey=True, layout="constrained")
    table = pq.read_table(REAL / "hipparcos.parquet", columns=["plx_dr3", "g", "bp", "rp"])
    parallax, g, bp, rp = (table[name].to_numpy() for name in ("plx_dr3", "g", "bp", "rp"))
    near = parallax > 3.0
    metallicity = total_metallicity(stars["FEH_TRUE"], stars["ALPHAFE_TRUE"])
    colour = intrinsic_colours(stars["TEFF_TRUE"], stars["LOGG_TRUE"], metallicity)
    axes[0].plot(colour["BP"] - colour["RP"], stars["M_G_TRUE"], ".", markersize=1, color="C0")
    axes[0].set_title("mock, all components")
    axes[1].plot((bp - rp)[near], (g + 5 * np.log10(parallax / 100))[near], ".", markersize=1, color="0.3")
    axes[1].set_title("Hipparcos within 333 pc, Gaia DR3 parallaxes")
    for panel in axes:
        for (name, file), colour in zip(ISOCHRONES.items(), ("C3", "C1", "C2"), strict=True):
            blue, red, green = np.loadtxt(REAL / "isochrones" / f"{file}.isc_gaia-dr3-new").T[[5, 6, 4]]
            panel.plot(blue - red, green, color=colour, linewidth=0.8, label=name)
        panel.set(xlim=(-0.5, 3.0), ylim=(11, -5), xlabel="BP − RP (mag)")
    axes[0].set_ylabel("M_G (mag)")
    axes[0].legend(title="BaSTI-IAC, [M/H] = −0.08", loc="lower left")
    figure.savefig(path, dpi=120)


def distributions(stars: dict[str, Array], path: Path) -> None:
    """Draw parallax errors against G, S/N against G, magnitudes by programme, and parallaxes against distance."""
    figure, ((errors, signal), (magnitudes, parallaxes)) = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    g = stars["PHOT_G_MEAN_MAG"]
    errors.semilogy(g, stars["PARALLAX_ERROR"], ".", markersize=1)
    errors.plot(*GAIA_ERRORS.T, "o-", color="C3", label="Gaia Collaboration (2021)")
    errors.set(xlabel="G (mag)", ylabel="parallax error (mas)")
    errors.legend()
    for program in np.unique(stars["PROGRAM"]):
        mine = stars["PROGRAM"] == program
        signal.semilogy(g[mine], stars["SN"][mine], ".", markersize=1, label=program.decode())
        magnitudes.hist(g[mine & np.isfinite(g)], np.arange(10, 21.5, 0.25), histtype="step", label=program.decode())
    signal.set(xlabel="G (mag)", ylabel="S/N, mean of B and R", ylim=(1, 300))
    signal.legend()
    magnitudes.set(xlabel="G (mag)", ylabel="stars")
    snr = stars["PARALLAX"] / stars["PARALLAX_ERROR"]
    parallaxes.semilogx(stars["DIST_TRUE"], np.clip(snr, -10, 50), ".", markersize=1)
    parallaxes.axhline(0, color="0.5")
    parallaxes.set(xlabel="distance (kpc)", ylabel="parallax over its error, cut at −10 and 50")
    figure.savefig(path, dpi=120)


def numbers(stars: dict[str, Array]) -> list[tuple[str, str, str]]:
    """Return what is compared, the mock's number and the paper's."""
    clusters, dwarfs = ([system.name.encode() for system in systems] for systems in (CLUSTERS, DWARFS))
    of = {"clusters": (clusters, "9"), "dwarf galaxies": (dwarfs, "11"), "the Sagittarius stream": ([b"sgr"], "13")}
    of["blue horizontal-branch stars"] = ([b"bhb"], "34")
    rows = [
        (f"median S/N, {name}", f"{np.median(stars['SN'][np.isin(stars['COMPONENT'], members)]):.0f}", paper)
        for name, (members, paper) in of.items()
    ]
    far = (stars["DIST_TRUE"] > 15) & np.isfinite(stars["PARALLAX"])
    rows += [
        ("negative parallaxes beyond 15 kpc", f"{100 * np.mean(stars['PARALLAX'][far] < 0):.0f} %", "40 %"),
        ("stars within 15 kpc", f"{100 * np.mean(stars['DIST_TRUE'] < 15):.0f} %", "97 %"),
    ]
    for magnitude, error in GAIA_ERRORS[1:4]:
        here = np.abs(stars["PHOT_G_MEAN_MAG"] - magnitude) < 0.25
        ours = np.nanmedian(stars["PARALLAX_ERROR"][here])
        rows.append((f"parallax error at G = {magnitude:g}, mas (Gaia's own)", f"{ours:.3f}", f"{error:g}"))
    for program in np.unique(stars["PROGRAM"]):
        mine = stars["PROGRAM"] == program
        g, snr = (np.nanpercentile(stars[name][mine], [16, 50, 84]) for name in ("PHOT_G_MEAN_MAG", "SN"))
        rows.append((f"G of the {program.decode()} programme, 16-50-84 %", " ".join(f"{x:.1f}" for x in g), "–"))
        rows.append((f"S/N of the {program.decode()} programme, 16-50-84 %", " ".join(f"{x:.0f}" for x in snr), "–"))
    return rows


def main(survey: Path, out: Path) -> None:
    stars = read(survey)
    out.mkdir(parents=True, exist_ok=True)
    hr_diagram(stars, out / "hr.png")
    distributions(stars, out / "distributions.png")
    print("| | mock | paper |\n|---|---|---|")
    for row in numbers(stars):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
