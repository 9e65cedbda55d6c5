"""Section [references]: lists of members and catalogues of distances for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from specdis.gaia import Release
from specdis.settings import Settings

Kind = Literal["cluster", "dwarf", "stream", "bhb", "rrlyrae"]


class ReferenceFile(Settings):
    """A published table."""

    path: Path
    """The table: FITS, Parquet, VOTable, CSV, ECSV or other text."""
    columns: dict[str, str] = Field(default={})
    """Quantity to the table's name for it, if [it is not found automatically](references.md)."""
    gaia: Release | None = None
    """Gaia release of its SOURCE_ID, if neither their name nor they themselves say it; else that of the survey."""
    match: Literal["auto", "sky"] = "auto"
    """`auto`: by SOURCE_ID or TARGETID if the table has one, else on the sky. `sky`: always on the sky."""
    epoch: float | None = Field(default=None, ge=1900.0, le=2100.0)
    """Epoch of the positions, year; by default 2016 (2017.5 with identifiers of Gaia DR4), or 2000 if the name of the
    column says so."""


class MemberFile(ReferenceFile):
    """A list of members of a system of known distance."""

    kind: Kind
    """Kind of the system. A star in several lists goes to a cluster, else dwarf galaxy, stream, blue stars (`bhb`), RR
    Lyrae stars (`rrlyrae`)."""
    distance: float | None = Field(default=None, gt=0.0)
    """Distance of the system in kpc, if neither the list nor the known systems give it."""
    distance_error: float | None = Field(default=None, ge=0.0)
    """Error of the distance in kpc."""


class ReferencesSettings(Settings):
    """Section [references]: what the catalogue is validated against (sections 2.5, 4.4 and 4.5)."""

    directory: Path | None = None
    """Folder with `members/` and `rivals/`; by default the one of the survey's catalogue, if it has them."""
    systems: ReferenceFile | None = None
    """Distances of further systems: a table of the Local Volume Database, or any with names and distances."""
    members: dict[str, MemberFile] = Field(default={})
    """Further lists of members, by the name of the system."""
    rivals: dict[str, ReferenceFile] = Field(default={})
    """Further catalogues of distances, by name."""
    probability_min: float = Field(default=0.9, ge=0.0, le=1.0)
    """Least membership probability, if a list gives one."""
    match_radius: float = Field(default=1.0, gt=0.0)
    """Largest separation of a match on the sky, arcsec."""
    velocity_clip: float = Field(default=2.0, gt=0.0)
    """Largest deviation of a member's radial velocity from the mean of its system, in standard deviations."""
    velocity_iterations: int = Field(default=1, ge=0)
    """Number of times that mean and scatter are measured and members are clipped; 0 keeps all."""
