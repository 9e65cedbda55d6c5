"""Section [references]: lists of members and catalogues of distances to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from specdis.settings import Settings

Kind = Literal["cluster", "dwarf", "stream", "bhb"]


class ReferenceFile(Settings):
    """A table that somebody has published."""

    path: Path
    """The table: FITS, Parquet, VOTable, CSV, ECSV or other text."""
    columns: dict[str, str] = Field(default={})
    """Quantity to the table's name for it, where [it is not found by itself](references.md)."""
    match: Literal["auto", "sky"] = "auto"
    """`auto`: by SOURCE_ID or TARGETID where the table has one, else on the sky. `sky`: on the sky all the same."""
    epoch: float | None = Field(default=None, ge=1900.0, le=2100.0)
    """Year of the positions; by default 2016, or 2000 where the name of the column says so."""


class MemberFile(ReferenceFile):
    """A list of members of a system of known distance."""

    kind: Kind
    """What the system is: duplicates go to a cluster before a dwarf, a stream and the blue stars (`bhb`)."""
    distance: float | None = Field(default=None, gt=0.0)
    """Distance of the system in kpc, where neither the list nor the known systems give it."""
    distance_error: float | None = Field(default=None, ge=0.0)
    """Its error in kpc."""


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
    """Least probability to be a member, where a list gives one."""
    match_radius: float = Field(default=1.0, gt=0.0)
    """Largest separation of a match on the sky, arcsec."""
    velocity_clip: float = Field(default=2.0, gt=0.0)
    """Members' radial velocities lie within so many standard deviations of their mean."""
    velocity_iterations: int = Field(default=1, ge=0)
    """Times that mean and scatter are measured and members dropped; 0 keeps all."""
