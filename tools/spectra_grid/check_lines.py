"""Compare lines.csv with a published line list in MOOG's format: wavelength in air, species, excitation, log gf.

    cd tools && python -m spectra_grid.check_lines LINEMAKE/mooglists

LINEMAKE is a copy of linemake (Placco et al. 2021, RNAAS 5, 92), whose lists hold laboratory values where there are
any and Kurucz's elsewhere; the former are preferred. Hyperfine components of a line are added up. A line of ours is
compared with the strongest line of its species within 0.15 Angstrom and 0.35 eV; those that differ by more than
`--beyond` are listed. A difference beyond 1 dex is probably another line: nothing tells two lines of a species apart
whose wavelengths and excitations are known as roughly as some of ours.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spectra_grid.gas import read_columns

ATOMIC_NUMBER = {
    **{"H": 1, "He": 2, "Li": 3, "C": 6, "N": 7, "O": 8, "Na": 11, "Mg": 12, "Al": 13, "Si": 14, "S": 16},
    **{"K": 19, "Ca": 20, "Sc": 21, "Ti": 22, "V": 23, "Cr": 24, "Mn": 25, "Fe": 26, "Co": 27, "Ni": 28, "Cu": 29},
    **{"Zn": 30, "Sr": 38, "Y": 39, "Zr": 40, "Ba": 56, "La": 57, "Ce": 58, "Nd": 60, "Eu": 63},
}
GENERAL, CURATED, SPLIT = "moogatom0[34567]000", "*.moog", "*.kurhfs"
NEAR = 0.15, 0.35  # Angstrom, eV


def published(folder: Path, pattern: str) -> NDArray[np.float64]:
    """Return wavelength (Angstrom, air), species (26.1 is Fe II), excitation (eV) and log gf, shape (line, 4)."""
    rows = []
    for path in sorted(folder.glob(pattern)):
        for text in path.read_text(errors="replace").splitlines():
            try:
                rows.append([float(word) for word in text.split()[:4]])
            except ValueError:
                continue  # a heading
    lines = np.array([row for row in rows if len(row) == 4 and 3500.0 < row[0] < 7800.0])
    lines[:, 1] = np.round(lines[:, 1], 1)  # what follows the stage names an isotope
    return lines


def added_up(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the strengths of lines of one species and excitation within 0.1 Angstrom."""
    lines = lines[np.lexsort((lines[:, 0], lines[:, 2], lines[:, 1]))]
    other = np.any(np.abs(np.diff(lines[:, :3], axis=0)) > (0.1, 0.01, 0.002), axis=1)
    first = np.concatenate([[0], np.flatnonzero(other) + 1])
    strength = np.log10(np.add.reduceat(10.0 ** lines[:, 3], first))
    return np.column_stack([lines[first, :3], strength])


def strongest(lines: NDArray[np.float64], species: float, wavelength: float, excitation: float) -> float:
    """Return log gf of the strongest line near the given one, NaN where there is none."""
    near = (np.abs(lines[:, 0] - wavelength) < NEAR[0]) & (np.abs(lines[:, 2] - excitation) < NEAR[1])
    near &= np.abs(lines[:, 1] - species) < 0.05
    return float(lines[near, 3].max(initial=-np.inf)) if near.any() else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path)
    parser.add_argument("--beyond", type=float, default=0.3, metavar="DEX")
    arguments = parser.parse_args()
    general = published(arguments.lists, GENERAL)
    curated = np.concatenate([published(arguments.lists, CURATED), added_up(published(arguments.lists, SPLIT))])
    table = read_columns("lines.csv")
    names = [name.split() for name in table["species"]]
    species = [ATOMIC_NUMBER[symbol] + 0.1 * (len(stage) - 1) for symbol, stage in names]
    wavelength, excitation, log_gf = (
        np.array(table[name], dtype=float) for name in ("wavelength_air", "excitation", "log_gf")
    )
    best = [strongest(curated, *line) for line in zip(species, wavelength, excitation, strict=True)]
    usual = [strongest(general, *line) for line in zip(species, wavelength, excitation, strict=True)]
    difference = log_gf - np.where(np.isfinite(best), best, usual)
    found = difference[np.isfinite(difference)]
    scatter = 1.4826 * np.median(np.abs(found - np.median(found)))
    print(
        f"{len(found)} of {len(species)} lines found; log gf here less there: median {np.median(found):+.3f}, ", end=""
    )
    print(f"robust scatter {scatter:.3f}; beyond 0.3 dex {np.mean(np.abs(found) > 0.3):.1%}, ", end="")
    print(f"0.5 dex {np.mean(np.abs(found) > 0.5):.1%}, 1 dex {np.mean(np.abs(found) > 1.0):.1%}")
    far = np.abs(difference) > arguments.beyond
    for name, *values in zip(table["species"], wavelength, excitation, log_gf, difference, far, strict=True):
        if values.pop():
            print("{:6} {:9.3f} {:6.3f} {:+.2f} {:+.2f}".format(name, *values))


if __name__ == "__main__":
    main()
