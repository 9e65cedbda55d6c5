"""Validity of the parts of a model from an untrusted source: types, shapes, finite numbers.

The sums of a model reveal damage, but its author can write matching sums to any content. So the parts are checked
against the needs of the computation before any is done.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from specdis.arrays import Array
from specdis.calibration import Calibration
from specdis.components import Basis
from specdis.domain import Domain
from specdis.model.engine import Engine
from specdis.network.ensemble import LabelEnsemble, MixtureEnsemble
from specdis.network.inputs import ColourScale
from specdis.network.mlp import MLP
from specdis.network.nuisances import TERMS
from specdis.spectra.grid import PixelGrid
from specdis.spectra.settings import SpectraSettings

_LONGEST = 300_000.0
"""Limits of wavelengths, Angstrom, as for surveys."""


def misfits(model: Engine) -> list[str]:
    """Return the names of the parts of a model that are invalid or have inconsistent sizes."""
    grid, transform, basis, domain = model.grid, model.transform, model.basis, model.domain
    if (
        np.ndim(grid.wavelength) != 1
        or np.ndim(basis.eigenvalues) != 1
        or any(np.ndim(arm.native) != 1 for arm in grid.arms)
    ):
        return ["wavelengths or components"]
    pixels, kept, weight = len(grid.wavelength), np.asarray(transform.kept), transform.weight
    components = basis.n_components
    sizes = {
        "pixels": _is_grid(grid, model.settings.spectra),
        "pixels kept": kept.ndim == 1
        and kept.dtype.kind == "i"
        and len(kept) > 0
        and 0 <= kept[0] <= kept[-1] < pixels
        and _rises(kept),
        "weights": weight is None or (_are_numbers(weight, kept.shape) and bool((weight > 0).all())),
        "components": _is_basis(basis, kept.size),
        "colours": _is_scale(model.networks.colours, components, len(model.settings.network.colours)),
        "networks": all(
            ensemble is None or _is_chain(ensemble, components + model.network_inputs.n_features)
            for ensemble in model.networks[:3]
        ),
        "nuisances": _are_nuisances(model),
        "calibration": _is_calibration(model.calibration),
        "prior": model.prior is None or model.prior.is_sound(),
        "domain": _is_domain(domain, components, {arm.name for arm in grid.arms}),
    }
    return [name for name, fits in sizes.items() if not fits]


def _is_grid(grid: PixelGrid, settings: SpectraSettings) -> bool:
    """Tell whether the arms have pixels of constant steps, and valid native wavelengths."""
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


def _is_chain(ensemble: LabelEnsemble | MixtureEnsemble, inputs: int) -> bool:
    """Tell whether the layers of the networks fit together, shapes (network, in, out)."""
    weights, biases = ensemble.networks.weights, ensemble.networks.biases
    networks = ensemble.n_folds * ensemble.n_seeds
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 3 or weight.shape[:2] != (networks, inputs) or bias.shape != (networks, weight.shape[2]):
            return False
        if weight.dtype.kind != "f" or bias.dtype.kind != "f":
            return False
        inputs = weight.shape[2]
    outputs = 1 if isinstance(ensemble.networks, MLP) else 3 * ensemble.networks.n_mixture - 1
    return bool(weights) and inputs == outputs and networks > 0 and _are_numbers(ensemble.typical, (ensemble.n_folds,))


def _is_scale(scale: ColourScale | None, components: int, colours: int) -> bool:
    """Tell whether there is a scale for every colour."""
    if scale is None:
        return colours == 0
    shapes = {"slopes": (components, colours)}
    numbers = all(_are_numbers(values, shapes.get(name, (colours,))) for name, values in scale._asdict().items())
    return bool(colours and numbers and (scale.width > 0).all() and (scale.scatter > 0).all())


def _are_nuisances(model: Engine) -> bool:
    """Tell whether there is a number for every network and term of zero point and inflation, or none at all."""
    found, terms = model.networks.nuisances, TERMS[model.settings.photometry.nuisances]
    mixture = model.networks.mixture
    return found is None or _are_numbers(found.coefficients, (mixture.n_folds * mixture.n_seeds, 2, terms))


def _is_calibration(calibration: Calibration) -> bool:
    """Tell whether there is a number for every feature, and a possible share of spurious parallaxes."""
    shapes = [np.shape(known) for known in Calibration.identity()]
    if not all(_are_numbers(found, shape) for found, shape in zip(calibration, shapes, strict=True)):
        return False
    share, width = calibration.share_and_width
    return bool(0 <= share < 1 <= width)


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
    """Tell whether a value is an array of finite numbers with this shape."""
    values = np.asarray(values)
    return values.shape == shape and values.dtype.kind == "f" and bool(np.isfinite(values).all())


def _are_wavelengths(values: Array) -> bool:
    return bool((values > 0).all() and (values < _LONGEST).all())


def _rises(values: Array) -> bool:
    return bool((np.diff(values) > 0).all())
