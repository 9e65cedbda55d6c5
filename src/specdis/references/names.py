"""The names under which quantities are published, and the words for a missing number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

NAMES: Mapping[str, Sequence[str]] = {
    "SOURCE_ID": (
        *("source_id", "gaia_source_id", "gaiadr3", "gaia_dr3", "gaiaedr3"),
        *("gaiadr4", "gaia_dr4", "gaia", "source"),
    ),
    "TARGETID": ("targetid",),
    "RA": ("ra", "radeg", "ra_icrs", "ra_deg", "ramean", "raj2000"),
    "DEC": ("dec", "dedeg", "de_icrs", "dec_deg", "decmean", "dej2000"),
    "PMRA": ("pmra", "pm_ra"),
    "PMDEC": ("pmdec", "pmde", "pm_dec"),
    "PHOT_G_MEAN_MAG": ("phot_g_mean_mag", "g_mag", "gmag"),
    "VRAD": ("vrad", "rv", "vhel", "hrv", "vlos", "rv_adop"),
    "PROBABILITY": (
        *("memberprob", "mem_fixed", "gmm_mem_prob", "p_mem", "mem_prob", "pmem", "p_sat", "psat"),
        *("probability", "prob", "proba"),
    ),
    "PRIMARY": ("primary",),
    "NAME": ("name", "stream", "system", "cluster", "galaxy"),
    "DIST": ("dist50", "dist", "distance", "dist_kpc", "distance_kpc", "d_kpc"),
    "DISTERR": ("disterr", "dist_err", "dist_error", "e_dist", "distance_err", "distance_error"),
    "DIST_LOW": ("dist16",),
    "DIST_HIGH": ("dist84",),
    "DIST_PC": (
        *("r_med_geo", "rgeo", "r_med_photogeo", "rpgeo", "distance_gspphot"),
        *("weighted_dist", "dist_pc", "distance_pc", "dist_gr"),
    ),
    "DIST_PC_ERR": ("weighted_dist_error", "dist_pc_err", "distance_pc_err", "dist_gr_unc"),
    "DIST_PC_LOW": ("r_lo_geo", "b_rgeo", "r_lo_photogeo", "b_rpgeo", "distance_gspphot_lower"),
    "DIST_PC_HIGH": ("r_hi_geo", "B_rgeo", "r_hi_photogeo", "B_rpgeo", "distance_gspphot_upper"),
    "DISTMOD": ("distmod", "dist_mod", "dm", "mu"),
    "DISTMOD_ERR": ("distmod_err", "dist_mod_err", "e_dm", "dm_err", "err_dm", "e_mu", "mu_err"),
    "M_G": ("m_g", "mg", "m_g_nn", "mg_nn", "abs_gmag", "m_gmag"),
    "M_G_ERR": ("m_g_err", "mg_err", "e_mg", "m_g_nn_err"),
    "FLUX_G": ("flux_g",),
    "FLUX_R": ("flux_r",),
    "EBV": ("ebv",),
}
"""Quantity to the names under which it is published, tried in this order, in any case. SOURCE_ID is Gaia DR3's,
equal to that of EDR3, or DR4's; that of DR2 is not searched for. Names of lower and upper bounds are in the order of
their distances."""

NO_NUMBER = ("", "nan", "null", "none", "masked", "n/a", "na", "-", "--", "---", "...")
"""Words for a missing number in text tables, in lower case."""

SEXAGESIMAL = ("h:m:s", "d:m:s")
"""VizieR's units of sexagesimal positions."""
