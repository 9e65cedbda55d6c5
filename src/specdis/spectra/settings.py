"""Section [spectra] (section 2.4 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from specdis.settings import Settings, departs


class GridSettings(Settings):
    """The common rest-frame grid, vacuum Angstrom."""

    start: PositiveFloat | None = None
    """First wavelength; by default the start of the data."""
    stop: PositiveFloat | None = None
    """Last wavelength; by default the end of the data."""
    step: Annotated[float, Field(ge=0.01, le=100)] = 0.5
    """Width of a pixel; the grid contains 3579.2 A plus or minus whole steps."""


class SpectraSettings(Settings):
    """Section [spectra]: section 2.4 of the paper."""

    grid: GridSettings = GridSettings()
    """The common rest-frame grid."""
    continuum_width: Annotated[float, Field(gt=0, le=10_000)] = 250.5
    """Width of the running mean, Angstrom."""
    missing: Literal["estimated", "zeros"] = departs("estimated", paper="zeros")
    """Pixels without data: estimated from those that have data, or zeros in the running mean and in the components, as
    in the paper and in the survey's own recipe."""
    noise_max: PositiveFloat | None = None
    """Noise of a pixel over the continuum above which it counts as missing, with estimated missing pixels; for spectra
    whose ends have next to no signal."""
    weights: Literal["noise", "none"] = departs("noise", paper="none")
    """Divide every pixel by its typical noise before the norm, or treat all pixels alike, as the paper does."""
    sky_windows: Literal["auto", "none"] | tuple[tuple[float, float], ...] = "auto"
    """Observed-frame windows of sky lines, vacuum Angstrom: found from the stacked errors, none, or a list."""
    sky_threshold: PositiveFloat = 1.5
    """A sky line is where the stacked error exceeds its running median by this factor."""
    join: PositiveFloat | Literal["none"] = 5780.0
    """End of the B arm and start of the R arm, rest-frame Angstrom; `none` keeps every arm whole."""
    bad_fraction_max: Annotated[float, Field(ge=0, le=1)] = 0.10
    """Largest fraction of stars in which a pixel may be bad; beyond it the pixel is removed for all."""
    subtract_mean: bool = True
    """Subtract each spectrum's own mean over its good pixels."""
    signed_log: bool = True
    """Apply Eq. 1."""
    unit_norm: bool = True
    """Divide by the root of the sum of squares."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        if self.noise_max is not None and self.missing != "estimated":
            raise ValueError(f'noise_max would do nothing with missing = "{self.missing}": set missing = "estimated"')
        return self

    @property
    def continuum_half(self) -> int:
        """Pixels of the grid in the running mean on either side of its centre."""
        return round((self.continuum_width / self.grid.step - 1) / 2)


class InstrumentSettings(Settings):
    """Section [training.instruments]: how far other instruments differ from the one of the training spectra."""

    fwhm: NonNegativeFloat = 0.0
    """Largest width (FWHM, Angstrom) of the Gaussian by which copies are blurred, beside their own resolution."""
    calibration: Annotated[float, Field(ge=0, le=0.3)] = 0.0
    """Largest relative error of the flux of copies, in waves of 60 to 2,000 Angstrom (root mean square)."""
    velocity: Annotated[float, Field(ge=0, le=300)] = 0.0
    """Error of the velocity or wavelengths of copies, km/s (root mean square)."""
    noise: bool = False
    """Whether the noise of copies rises to the blue and has a part of the sky's, or is as in the training spectra."""
    missing: bool = False
    """Whether some copies lack pieces, ends, and pixels of low S/N."""

    @property
    def on(self) -> bool:
        """Whether copies differ from the training spectra by more than their noise."""
        return self != type(self)()
