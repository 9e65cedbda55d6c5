"""What of new spectra a model was not trained for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from specdis.domain import Domain
from specdis.spectra.grid import PixelGrid
from specdis.surveys.base import Spectra


def with_arms(spectra: Spectra, grid: PixelGrid) -> Spectra:
    """Give a single spectrum to every arm of the grid: it is cut where the grid joins its arms."""
    names = [arm.name for arm in grid.arms]
    if len(spectra.arms) == 1 and set(spectra.arms) != set(names):
        (arm,) = spectra.arms.values()
        return replace(spectra, arms=dict.fromkeys(names, arm))
    return spectra


def differences(spectra: Spectra, grid: PixelGrid, domain: Domain) -> list[str]:
    """Describe differences of these spectra from the training set: wavelengths and pixel widths."""
    said = []
    for part in grid.arms:
        arm = with_arms(spectra, grid).arms.get(part.name)
        if arm is None:
            said.append(f"arm {part.name} is missing")
            continue
        wanted = grid.wavelength[part.start : part.stop]
        outside = float(((wanted < arm.wavelength[0]) | (wanted > arm.wavelength[-1])).mean())
        native = arm.native_wavelength
        inside = (native >= wanted[0]) & (native <= wanted[-1])
        width = float(np.median(np.diff(native[inside]))) if inside.sum() > 1 else np.nan
        trained = domain.limits.pixel_width[part.name]
        if outside >= 0.005:
            said.append(f"{100 * outside:.0f} % of the wavelengths of arm {part.name} are not covered")
        if not 0.8 < width / trained < 1.25:
            said.append(
                f"native pixels of {width:.2f} A in arm {part.name}, trained on {trained:.2f} A: "
                "the resolution may differ"
            )
    return said


def remarks_on(spectra: Spectra, grid: PixelGrid, domain: Domain) -> list[str]:
    """Log differences of these spectra from the training set, and unusable ones."""
    remarks = [f"outside the model's domain: {message}" for message in differences(spectra, grid, domain)]
    if not np.isfinite(spectra.velocity).all():
        remarks.append("spectra without a radial velocity cannot be brought to rest and get no prediction")
    return remarks
