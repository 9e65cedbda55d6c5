"""Compute the isochrones of the mock survey and write src/specdis/data/isochrones.npz.

The tracks are those of the analytic single-star evolution of Hurley, Pols & Tout (2000, MNRAS 315, 543), as built into
COSMIC (Breivik et al. 2020, ApJ 898, 71), with Reimers' mass loss. COSMIC is needed to run this script, not to run
specdis:

    python -m venv cosmic && cosmic/bin/pip install cosmic-popsynth==4.3.3
    cosmic/bin/python tools/make_isochrones.py src/specdis/data/isochrones.npz

A node is a point of evolution that means the same at every metallicity and age, so that stars are found by linear
interpolation between isochrones: equal steps of mass up to the turn-off; then equal steps of time in the Hertzsprung
gap, of log L on the giant branch, of time in core helium burning, and of log L on the early asymptotic giant branch.
"""

from __future__ import annotations

import sys

import numpy as np
from cosmic.evolve import Evolve
from cosmic.sample.initialbinarytable import InitialBinaryTable

SOLAR_Z = 0.0175  # brings the Sun of these tracks, 4.57 Gyr old, to 5770 K
# The metallicities of the models to which the tracks were fitted: between them the formula of the giant branch is up to
# 800 K off (Z = 0.0025: 3290 K at log L = 3, where Z = 0.001 has 4200 K and Z = 0.004 3880 K)
METALLICITY = np.log10(np.array([0.0001, 0.0003, 0.001, 0.004, 0.01, 0.02, 0.03]) / SOLAR_Z)
AGE = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 7.0, 9.0, 11.0, 13.0])  # Gyr
MASS = np.concatenate([np.arange(0.10, 0.70, 0.02), np.arange(0.70, 2.6, 0.005)])
MAIN_SEQUENCE = 60
LATER = ((2, 16, "time"), (3, 48, "luminosity"), (4, 24, "time"), (5, 16, "luminosity"))  # SSE phase, nodes, steps
REIMERS = 0.4
# In core helium burning the tracks are too bright and brighten too fast: the red clump would be at M_G = 0.0 instead of
# the 0.4 of Hipparcos stars with Gaia DR3 parallaxes. log L starts lower and grows by a part of what it would.
CLUMP_DIMMING, CLUMP_BRIGHTENING = 0.10, 0.4

SETTINGS = {
    "pts1": 0.01, "pts2": 0.005, "pts3": 0.01, "zsun": 0.02, "windflag": 0, "eddlimflag": 0, "neta": REIMERS,
    "bwind": 0.0, "hewind": 0.5, "beta": 0.125, "xi": 0.5, "acc2": 1.5, "LBV_flag": 0, "alpha1": [1.0, 1.0],
    "lambdaf": 0.0, "ce2stageflag": 0, "ceflag": 0, "cekickflag": 2, "cemergeflag": 1, "cehestarflag": 0, "qcflag": 5,
    "qcrit_array": [0.0] * 16, "kickflag": 5, "sigma": 265.0, "bhflag": 1, "bhsigmafrac": 1.0, "sigmadiv": -20.0,
    "ecsn": 2.25, "ecsn_mlow": 1.6, "aic": 1, "ussn": 1, "polar_kick_angle": 90.0,
    "natal_kick_array": [[-100.0, -100.0, -100.0, -100.0, 0.0]] * 2, "mm_mu_ns": 400.0, "mm_mu_bh": 200.0,
    "remnantflag": 4, "fryer_mass_limit": 0, "mxns": 3.0, "fryer_fmix": 1.0, "fryer_mcrit_nsbh": 5.75,
    "rembar_massloss": 0.5, "wd_mass_lim": 1, "maltsev_mode": 0, "maltsev_fallback": 0.5, "maltsev_pf_prob": 0.1,
    "pisn": -2, "ppi_co_shift": 0.0, "ppi_extra_ml": 0.0, "bhspinflag": 0, "bhspinmag": 0.0, "grflag": 1, "eddfac": 10,
    "gamma": -2, "don_lim": -1, "acc_lim": [-1, -1], "smt_periastron_check": 0, "tflag": 1, "ST_tide": 1,
    "fprimc_array": [2.0 / 21.0] * 16, "ifflag": 1, "wdflag": 1, "epsnov": 0.001, "bdecayfac": 1, "bconst": 3000,
    "ck": 1000, "rejuv_fac": 1.0, "rejuvflag": 0, "bhms_coll_flag": 0, "htpmb": 1, "ST_cr": 1, "rtmsflag": 0,
}  # fmt: skip


def tracks(metallicity: float) -> list[np.ndarray]:
    """Return one track per mass: columns time (Gyr), phase, mass, log L, log Teff."""
    n = len(MASS)
    table = InitialBinaryTable.InitialBinaries(
        m1=MASS,
        m2=np.zeros(n),
        porb=np.full(n, -1.0),
        ecc=np.full(n, -1.0),
        tphysf=np.full(n, 1e5),
        kstar1=np.ones(n, int),
        kstar2=np.full(n, 15),
        metallicity=np.full(n, SOLAR_Z * 10.0**metallicity),
    )
    _, evolution, _, _ = Evolve.evolve(
        initialbinarytable=table, BSEDict=SETTINGS, SSEDict={"stellar_engine": "sse"}, dtp=0.0
    )
    columns = evolution[["tphys", "kstar_1", "mass_1", "lum_1", "teff_1"]].to_numpy(float)
    columns[:, 0] *= 1e-3
    columns[:, 3:] = np.log10(columns[:, 3:])
    number = evolution["bin_num"].to_numpy()
    return [columns[number == i] for i in range(n)]


def main_sequence(track: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Return mass, log L and log Teff at fractions of the main-sequence life."""
    part = track[track[:, 1] <= 1]
    part = np.vstack([part, track[len(part) : len(part) + 1]]) if len(part) < len(track) else part
    x = part[:, 0] / part[-1, 0]
    return np.stack([np.interp(fraction, x, part[:, c]) for c in (2, 3, 4)], axis=-1)


def later_phases(track: np.ndarray) -> np.ndarray:
    """Return time, mass, log L and log Teff at the nodes beyond the main sequence; NaN where they are not reached."""
    nodes = []
    for phase, number, step in LATER:
        part = track[track[:, 1] == phase]
        if len(part) < 3:
            nodes.append(np.full((number, 4), np.nan))
            continue
        x = part[:, 0] if step == "time" else np.maximum.accumulate(part[:, 3] + 1e-9 * np.arange(len(part)))
        at = np.linspace(x[0], x[-1], number)
        found = np.stack([np.interp(at, x, part[:, c]) for c in (0, 2, 3, 4)], axis=-1)
        if phase == 4:
            found[:, 2] = found[0, 2] - CLUMP_DIMMING + CLUMP_BRIGHTENING * (found[:, 2] - found[0, 2])
        nodes.append(found)
    return np.concatenate(nodes)


def imf(mass: np.ndarray) -> np.ndarray:
    """Kroupa (2001): exponent -1.3 below half a solar mass, -2.3 above."""
    return np.where(mass < 0.5, 2.0 * mass**-1.3, mass**-2.3)


def isochrones(metallicity: float) -> np.ndarray:
    """Return (age, node, quantity): log L, log Teff, mass, log of stars per node and unit mass function."""
    found = tracks(metallicity)
    later = np.stack([later_phases(track) for track in found])
    lifetime = np.array([track[track[:, 1] <= 1][-1, 0] for track in found])
    result = []
    for age in AGE:
        turn_off = np.exp(np.interp(-np.log(age), -np.log(lifetime), np.log(MASS)))
        mass = np.linspace(MASS[0], turn_off, MAIN_SEQUENCE)
        # the fraction of its life that each mass has lived; neighbouring tracks at that fraction, mixed by mass
        fraction = np.minimum(age / np.exp(np.interp(mass, MASS, np.log(lifetime))), 1.0)
        upper = np.clip(np.searchsorted(MASS, mass), 1, len(MASS) - 1)
        weight = (mass - MASS[upper - 1]) / (MASS[upper] - MASS[upper - 1])
        low = np.stack([main_sequence(found[i - 1], f) for i, f in zip(upper, fraction)])
        high = np.stack([main_sequence(found[i], f) for i, f in zip(upper, fraction)])
        young = low + weight[:, None] * (high - low)
        young_density = imf(mass) * np.gradient(mass)
        old, initial = [], []
        for node in range(later.shape[1]):
            t = later[:, node, 0]
            ok = np.isfinite(t)
            order = np.argsort(-t[ok])
            x = -np.log(t[ok][order])
            logm = np.interp(-np.log(age), x, np.log(MASS[ok][order]))
            initial.append(np.exp(logm))
            old.append([np.interp(logm, np.log(MASS[ok]), later[ok, node, c]) for c in (1, 2, 3)])
        initial = np.array(initial)
        density = imf(initial) * np.gradient(initial)
        table = np.concatenate([young, np.array(old)])
        log_density = np.log10(np.maximum(np.concatenate([young_density, density]), 1e-9))
        result.append(np.column_stack([table[:, 1], table[:, 2], table[:, 0], log_density]))
    return np.stack(result)


if __name__ == "__main__":
    grid = np.stack([isochrones(metallicity) for metallicity in METALLICITY]).round(4).astype(np.float32)
    first = np.cumsum([0, MAIN_SEQUENCE, *(number for _, number, _ in LATER)])
    np.savez_compressed(sys.argv[1], metallicity=METALLICITY, age=AGE, first_node=first, grid=grid)
    print(grid.shape, np.isnan(grid).sum())
