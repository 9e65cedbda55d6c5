"""Whether the parts of a model that somebody gives are what they must be: kinds, shapes, numbers that can be.

The sums of a model tell damage. Who makes a model can make its sums as well, so that what is read is held against what
the computation needs before any is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from specdis.arrays import Array
from specdis.calibration import Calibration
from specdis.components import Basis
from specdis.domain import Domain
from specdis.network.ensemble import Ensemble
from specdis.spectra.grid import PixelGrid
from specdis.spectra.settings import SpectraSettings
from specdis.spectra.transform import Transform

_LONGEST = 300_000.0
"""Angstrom, as of every survey."""


def misfits(
    grid: PixelGrid,
    transform: Transform,
    basis: Basis,
    networks: Mapping[str, Ensemble | None],
    calibration: Calibration,
    domain: Domain,
    settings: SpectraSettings,
) -> list[str]:
    """Return which parts of a model are not what they must be, or do not have the sizes that go together.

    Parameters
    ----------
    grid, transform, basis, calibration, domain
        As of `Model`.
    networks
        Its networks by name.
    settings
        Section [spectra] of its configuration.
    """
    if (
        np.ndim(grid.wavelength) != 1
        or np.ndim(basis.eigenvalues) != 1
        or any(np.ndim(arm.native) != 1 for arm in grid.arms)
    ):
        return ["wavelengths or components"]
    pixels, kept, weight = len(grid.wavelength), np.asarray(transform.kept), transform.weight
    components = basis.n_components
    sizes = {
        "pixels": _is_grid(grid, settings),
        "pixels kept": kept.ndim == 1
        and kept.dtype.kind == "i"
        and len(kept) > 0
        and 0 <= kept[0] <= kept[-1] < pixels
        and _rises(kept),
        "weights": weight is None or (_are_numbers(weight, kept.shape) and bool((weight > 0).all())),
        "components": _is_basis(basis, kept.size),
        "networks": all(
            ensemble is None or _is_chain(ensemble, components, 1 if name == "label" else None)
            for name, ensemble in networks.items()
        ),
        "calibration": all(
            _are_numbers(found, np.shape(known))
            for found, known in zip(calibration, Calibration.identity(), strict=True)
        ),
        "domain": _is_domain(domain, components, {arm.name for arm in grid.arms}),
    }
    return [name for name, fits in sizes.items() if not fits]


def _is_grid(grid: PixelGrid, settings: SpectraSettings) -> bool:
    """Tell whether the pixels are those of some arms in steps, and the native ones those of a spectrum."""
    wavelength, filled = grid.wavelength, 0
    if not (_are_numbers(wavelength, (len(wavelength),)) and grid.arms):
        return False
    for arm in grid.arms:
        if not (isinstance(arm.name, str) and type(arm.start) is type(arm.stop) is int):
            return False
        if arm.start != filled or not arm.start < arm.stop <= len(wavelength):
            return False
        filled, part = arm.stop, wavelength[arm.start : arm.stop]
        if not (_are_numbers(arm.native, (len(arm.native),)) and len(arm.native) > 1 and _rises(arm.native)):
            return False
        if not (_are_wavelengths(arm.native) and _are_wavelengths(part)):
            return False
        if not np.allclose(np.diff(part), settings.grid.step, rtol=1e-3, atol=1e-6):
            return False
    return filled == len(wavelength)


def _is_basis(basis: Basis, kept: int) -> bool:
    count = basis.n_components
    return bool(
        _are_numbers(basis.eigenvalues, (count,))
        and count
        and basis.eigenvalues.mean() > 0
        and _are_numbers(basis.mean, (kept,))
        and np.isfinite(basis.total)
        and (count == kept if basis.vectors is None else _are_numbers(basis.vectors, (count, kept)))
    )


def _is_chain(ensemble: Ensemble, inputs: int, outputs: int | None) -> bool:
    """Tell whether each layer of the networks takes what the one before gives, shapes (network, in, out)."""
    weights, biases = ensemble.networks.weights, ensemble.networks.biases
    networks = ensemble.n_folds * ensemble.n_seeds
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 3 or weight.shape[:2] != (networks, inputs) or bias.shape != (networks, weight.shape[2]):
            return False
        if weight.dtype.kind != "f" or bias.dtype.kind != "f":
            return False
        inputs = weight.shape[2]
    if outputs is None:
        outputs = 3 * ensemble.networks.n_mixture - 1
    return bool(weights) and inputs == outputs and networks > 0 and _are_numbers(ensemble.typical, (ensemble.n_folds,))


def _is_domain(domain: Domain, components: int, arms: set[str]) -> bool:
    reference, width = domain.reference, domain.limits.pixel_width
    return bool(
        np.ndim(reference) == 2
        and len(reference)
        and _are_numbers(reference, (len(reference), components))
        and arms <= width.keys()
        and all(value > 0 for value in width.values())
    )


def _are_numbers(values: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether something is an array of finite numbers of a shape."""
    values = np.asarray(values)
    return values.shape == shape and values.dtype.kind == "f" and bool(np.isfinite(values).all())


def _are_wavelengths(values: Array) -> bool:
    return bool((values > 0).all() and (values < _LONGEST).all())


def _rises(values: Array) -> bool:
    return bool((np.diff(values) > 0).all())
