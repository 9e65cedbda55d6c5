"""What the mock survey holds: how many stars, and how many of each kind."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from specdis.settings import Settings


class MockSettings(Settings):
    """Section `[mock]`: the universe, when `survey.kind = "mock"`."""

    stars: int = Field(10_000, ge=300)
    """Stars; a few have a second spectrum, which is a row of its own."""
    seed: int = Field(1, ge=0)
    """Random seed of the universe; the run has its own."""
    backup_fraction: float = Field(0.35, gt=0.0, lt=1.0)
    """Share of the stars in the backup programme (11 < G < 16); the others are in the bright one (16 < G < 19)."""
    halo_fraction: float = Field(0.30, ge=0.0, le=1.0)
    """Share of halo stars, drawn from the halo's own density."""
    distant_fraction: float = Field(0.12, ge=0.0, le=1.0)
    """Share of further halo stars, all giants, at distances uniform in the logarithm between 10 and 100 kpc."""
    stars_per_file: int = Field(100, ge=100)
    """Stars in one coadd file, that is in one HEALPix pixel and programme, at least."""
    repeat_fraction: float = Field(0.02, ge=0.0, le=1.0)
    """Share of the bright programme's stars in pixels of both programmes that have a backup spectrum too."""
    unmatched_fraction: float = Field(0.005, ge=0.0, le=1.0)
    """Share of the stars without a match in Gaia DR3."""
    dead_arm_fraction: float = Field(0.005, ge=0.0, le=1.0)
    """Share of the spectra with the B or the R arm dead."""
    warning_fraction: float = Field(0.01, ge=0.0, le=1.0)
    """Share of the spectra whose radial-velocity fit went wrong, so that RVS_WARN is not 0."""
    resolution: bool = False
    """Write the resolution matrices too, which make up four fifths of a real coadd and which the pipeline ignores."""

    @model_validator(mode="after")
    def _fractions_fit(self) -> Self:
        if self.halo_fraction + self.distant_fraction > 1.0:
            raise ValueError("halo_fraction and distant_fraction together exceed 1")
        return self
