"""Settings of the mock survey: numbers and kinds of stars."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from specdis.settings import Settings


class MockSettings(Settings):
    """Section `[mock]`: the universe, when `survey.kind = "mock"`."""

    stars: int = Field(10_000, ge=300)
    """Number of stars; a few have a second spectrum, in a separate row."""
    seed: int = Field(1, ge=0)
    """Random seed of the universe, independent of the run's."""
    backup_fraction: float = Field(0.35, gt=0.0, lt=1.0)
    """Share of the stars in the backup programme (11 < G < 16); most others are in the bright one (16 < G < 19)."""
    dark_fraction: float = Field(0.03, ge=0.0, lt=1.0)
    """Share of the stars in the dark programme (16 < G < 20.5), which the paper's sample excludes; none if too few
    for a file."""
    halo_fraction: float = Field(0.30, ge=0.0, le=1.0)
    """Share of halo stars, drawn from the halo's own density."""
    distant_fraction: float = Field(0.12, ge=0.0, le=1.0)
    """Share of further halo stars, all giants, at distances uniform in the logarithm between 10 and 250 kpc."""
    bhb_fraction: float = Field(0.02, ge=0.0, le=1.0)
    """Share of further blue horizontal-branch stars of the halo, at the same distances."""
    rrlyrae_fraction: float = Field(0.01, ge=0.0, le=1.0)
    """Share of further RR Lyrae stars of the halo, at the same distances."""
    halo_flattening: float = Field(0.59, gt=0.0, le=2.0)
    """Ratio of the halo's axes: the polar one over those in the plane."""
    halo_slopes: tuple[float, ...] = (2.3, 4.6)
    """The halo's density falls with these powers of distance from the centre: up to the first break, beyond it, ..."""
    halo_breaks: tuple[float, ...] = (27.0,)
    """Distances in kpc at which the slope changes, increasing: one fewer than slopes."""
    halo_feh: float = Field(-1.5, ge=-2.5, le=0.0)
    """Mean [Fe/H] of the halo; blue horizontal-branch and RR Lyrae stars have 0.3 and 0.1 less."""
    halo_feh_scatter: float = Field(0.45, gt=0.0)
    """Scatter of the halo's [Fe/H], dex; theirs is smaller in proportion."""
    stream_fraction: float = Field(0.15, ge=0.0, lt=1.0)
    """Share of the stars on the great circle of the Sagittarius stream that belong to it."""
    member_fraction: float = Field(0.4, ge=0.0, le=1.0)
    """Share of members among the stars in the pixel of a globular cluster or dwarf galaxy of Table A1."""
    binary_fraction: float = Field(0.25, ge=0.0, le=1.0)
    """Share of the stars that are unresolved binaries."""
    twin_fraction: float = Field(0.1, ge=0.0, le=1.0)
    """Share of twins, of mass ratios 0.95 to 1, among the binaries; the other ratios are uniform from 0.1 to 1."""
    dust_height: float = Field(0.0, ge=0.0)
    """Scale height of the dust in kpc (0.1 is the Galaxy's): stars inside the layer have part of it behind them. 0 puts
    all dust in front of every star, as the pipeline assumes."""
    ebv_error: float = Field(0.16, ge=0.0)
    """Error of the map's E(B-V), which the files have, as a fraction: 0.16 is that of SFD98."""
    ebv_error_floor: float = Field(0.01, ge=0.0)
    """Error of the map's E(B-V) where there is no dust, mag; both are equal within 7 arcmin, the map's resolution."""
    band_zero_point: float = Field(0.01, ge=0.0)
    """Scatter of the zero points of BP, RP, g, r, z, W1 and W2, mag; each is drawn once."""
    band_scatter: float = Field(0.01, ge=0.0)
    """Scatter of magnitudes in g, r, z, W1 and W2 beyond their quoted errors, mag; in BP and RP a third of it."""
    stars_per_file: int = Field(100, ge=100)
    """Least number of stars in one coadd file, that is, in one HEALPix pixel and programme."""
    repeat_fraction: float = Field(0.02, ge=0.0, le=1.0)
    """Share of the bright stars in pixels of both programmes that also have a backup spectrum."""
    unmatched_fraction: float = Field(0.005, ge=0.0, le=1.0)
    """Share of the stars without a match in Gaia DR3."""
    error_inflation: Literal["none", "el-badry2021"] = "el-badry2021"
    """Scatter of parallaxes: as published by Gaia, or larger, depending on G, by El-Badry, Rix & Heintz (2021)."""
    parallax_offset: float = 0.0
    """Zero point of parallaxes in addition to that of Lindegren et al. (2021), mas."""
    parallax_inflation: float = Field(1.0, gt=0.0)
    """Factor of the scatter of parallaxes in addition to `error_inflation`."""
    spurious_fraction: float = Field(0.03, ge=0.0, le=1.0)
    """Share of the stars whose parallax scatters by five times its error; RUWE is raised for half of them."""
    dead_arm_fraction: float = Field(0.005, ge=0.0, le=1.0)
    """Share of the spectra with the B or the R arm dead."""
    warning_fraction: float = Field(0.01, ge=0.0, le=1.0)
    """Share of the spectra whose radial-velocity fit fails, in addition to all spectra of S/N below 2."""
    library: Path | None = None
    """A spectra table of real stars: their clones, at new distances, replace computed stars."""
    spmod: bool = False
    """Whether to write continuum-normalised spectra in addition to coadds."""
    resolution: bool = False
    """Whether to write resolution matrices, four fifths of a real coadd, which the pipeline ignores."""

    @model_validator(mode="after")
    def _fractions_fit(self) -> Self:
        if self.halo_fraction + self.distant_fraction + self.bhb_fraction + self.rrlyrae_fraction > 1.0:
            raise ValueError("halo_fraction, distant_fraction, bhb_fraction and rrlyrae_fraction together exceed 1")
        if len(self.halo_slopes) != len(self.halo_breaks) + 1:
            raise ValueError(
                f"halo_slopes must have one value more than halo_breaks: found {len(self.halo_slopes)} slopes and "
                f"{len(self.halo_breaks)} breaks"
            )
        if any(low >= high for low, high in pairwise((0.0, *self.halo_breaks))):
            raise ValueError("halo_breaks must be positive and increase")
        if self.backup_fraction + self.dark_fraction >= 1.0:
            raise ValueError("backup_fraction and dark_fraction leave no star to the bright programme")
        return self
