"""The header of both files: their origin, and the bits of FLAGS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from specdis.catalogue.columns import Field
from specdis.flags import DESCRIPTIONS
from specdis.gaia import Release
from specdis.network.settings import NetworkSettings
from specdis.storage import Provenance

Value = str | int | float | bool
Cards = Mapping[str, tuple[Value, str]]


@dataclass(frozen=True)
class Header:
    """The header of a catalogue file.

    Parameters
    ----------
    stars
        Number of rows.
    fields
        Name to column, in the order of the file.
    cards
        Keyword to value: provenance, EBVSCALE, the bits of FLAGS.
    """

    stars: int
    fields: Mapping[str, Field]
    cards: Mapping[str, Value]


def cards(provenance: Provenance, extra: Cards) -> Cards:
    """Return the cards of both files: provenance, those of the caller, and one per bit of FLAGS.

    Parameters
    ----------
    provenance
        Origin of the catalogue.
    extra
        Keyword of at most eight characters to value and comment.
    """
    return {
        "REFERENC": ("arXiv:2503.02291", "the method: Li et al. 2025"),
        "KIND": (provenance.kind, "what this is"),
        "FORMVER": (provenance.format_version, "version of the format"),
        "SOFTWARE": (provenance.software, "what wrote it"),
        "RUNKEY": (provenance.key, "hash of configuration, inputs, software"),
        "SEED": (provenance.seed, "random seed"),
        **extra,
        **{
            f"FLAG{flag.bit_length() - 1}": (f"{flag.name} ({flag.value}): {description}", "")
            for flag, description in DESCRIPTIONS.items()
        },
    }


def prior_card(prior: str) -> Cards:
    """Return the card that names the prior of the posterior distances."""
    return {"PRIOR": (prior, "density of stars of the columns _POST")}


def header_cards(ebv_scale: float, network: NetworkSettings, release: Release, prior: str) -> Cards:
    """Return the cards that describe the run.

    Parameters
    ----------
    ebv_scale
        Factor that E(B-V) of the survey was multiplied by.
    network
        Which network fills the columns without suffix, and the loss of the label network.
    release
        Gaia release of SOURCE_ID and of the parallaxes.
    prior
        Kind of the prior of the posterior distances.
    """
    return {
        "GAIA": (release.upper(), "Gaia release of identifiers and parallaxes"),
        "EBVSCALE": (ebv_scale, "EBV over E(B-V) of the survey file"),
        "NETWORK": (network.kind, "fills DIST: label _LABEL, mixture _MIX"),
        **prior_card(prior),
        "LOSS": (network.label.loss, "trained _LABEL; chi2 is the paper's"),
    }
