"""The bits of the catalogue's FLAGS column: why a row deserves a second look."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntFlag
from types import MappingProxyType


class Flag(IntFlag):
    """One bit per reason; 0 means no warning."""

    OUTSIDE_CUTS = 1
    NO_SPECTRUM = 2
    LABEL_NOT_POSITIVE = 4
    DRAW_NOT_POSITIVE = 8
    NO_MAGNITUDE = 16
    NO_ERROR_SPECTRUM = 32
    A_G_FALLBACK = 64
    NO_ZERO_POINT = 128
    NO_EBV = 256
    OUTSIDE_DOMAIN = 512
    MANY_BAD_PIXELS = 1024
    OUTSIDE_PARAMETERS = 2048
    BINARY_OUTSIDE_DOMAIN = 4096
    BEYOND_REACH = 8192
    NOT_TRAINABLE = 16384
    INSIDE_DUST = 32768
    NO_COLOUR = 65536
    ODD_COLOUR = 131072


DESCRIPTIONS: Mapping[Flag, str] = MappingProxyType(
    {
        Flag.OUTSIDE_CUTS: "outside a cut that concerns its prediction; predicted anyway",
        Flag.NO_SPECTRUM: "spectrum missing, unreadable or without a good pixel: no prediction",
        Flag.LABEL_NOT_POSITIVE: "predicted label <= 0: no M_G_NN_LABEL, DIST_LABEL or BINARY_FLAG",
        Flag.DRAW_NOT_POSITIVE: "at least one Monte-Carlo draw has a label <= 0: no DISTERR_LABEL",
        Flag.NO_MAGNITUDE: "no apparent G magnitude: absolute magnitude only, no distance",
        Flag.NO_ERROR_SPECTRUM: "no error spectrum: no Monte-Carlo error",
        Flag.A_G_FALLBACK: "A_G from the colour or a constant, because Teff is missing",
        Flag.NO_ZERO_POINT: "parallax zero point not defined for this star: parallax not corrected",
        Flag.NO_EBV: "no reddening: A_G taken as 0",
        Flag.OUTSIDE_DOMAIN: "spectrum outside the domain: residual, line width, bands of C2 or coefficients",
        Flag.MANY_BAD_PIXELS: "more than a quarter of the pixels is bad",
        Flag.OUTSIDE_PARAMETERS: "Teff, log g or [Fe/H] outside the range of the training stars",
        Flag.BINARY_OUTSIDE_DOMAIN: "a giant, or brighter than giants: BINARY_FLAG and BINARY_POSSIBILITY mean little",
        Flag.BEYOND_REACH: "the distance would be beyond 10,000 kpc: no distance",
        Flag.NOT_TRAINABLE: "outside a cut that concerns training only; the prediction is not affected",
        Flag.INSIDE_DUST: "near: 0.05 mag of A_G or more may be dust behind the star",
        Flag.NO_COLOUR: "lacks a colour that the networks use: predicted without it, less precisely",
        Flag.ODD_COLOUR: "a colour does not fit the spectrum: predicted without it",
    }
)
