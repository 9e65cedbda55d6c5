"""Inputs of the report: plain columns and numbers, already read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from specdis.arrays import Array, Columns, Float64


@dataclass(frozen=True)
class StackedErrors:
    """The stacked error spectrum from which the sky windows were found (Fig. 1).

    Parameters
    ----------
    wavelength
        Observed vacuum wavelength in Angstrom, increasing within each arm, shape (pixel,).
    sigma
        Error of the flux over the star's own median error, shape (pixel,).
    windows
        Masked wavelength ranges, Angstrom.
    """

    wavelength: Array
    sigma: Array
    windows: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Reconstruction:
    """One spectrum and its reconstruction from the components (Fig. 2).

    Parameters
    ----------
    wavelength
        Vacuum wavelength in Angstrom, increasing, shape (pixel,).
    spectrum
        After the transformations of section 2.4, NaN where the pixel is not used or bad; shape (pixel,).
    reconstruction
        The reconstruction from the components, shape (pixel,).
    n_components
        Number of components.
    snr
        S/N of the spectrum.
    """

    wavelength: Array
    spectrum: Array
    reconstruction: Array
    n_components: int
    snr: float


@dataclass(frozen=True)
class History:
    """Mean loss per star, NaN after a network has stopped.

    Parameters
    ----------
    training
        Of the stars that weights are fitted to, shape (epoch, network).
    inner
        Of the early-stopping stars, shape (epoch, network).
    """

    training: Float64
    inner: Float64


@dataclass(frozen=True)
class Components:
    """The principal components and some of their coefficients (Figs A1 and A2).

    Parameters
    ----------
    wavelength
        Vacuum wavelength in Angstrom of the used pixels, shape (pixel,).
    basis
        The first components, shape (component, pixel); None if the run uses pixels instead.
    explained
        Share of the variance that each of these explains, shape (component,).
    numbers
        Numbers of the given coefficients, counted from 1.
    coefficients
        These coefficients of every star of the catalogue, NaN where missing, shape (3, star).
    """

    wavelength: Array
    basis: Array | None
    explained: Array
    numbers: Sequence[int]
    coefficients: Array


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report shows.

    Parameters
    ----------
    name
        Name of the run.
    catalogue
        Columns of the catalogue: `validation.COLUMNS`, and `report.COLUMNS`; shape (star,).
    metrics
        The result of `validation.metrics`, or the content of metrics.json.
    cutflow
        Content of cutflow.json.
    stages
        The stages of manifest.json, in order. Their rates, which differ between runs, go into a separate file.
    differences
        Values of the run and of the paper for each key in which they differ.
    truth
        `IDENTIFIER` and DIST_TRUE in kpc, if known.
    members
        `validation.with_stars` of the stars of known distance, None if the run has none.
    rivals
        Name of each rival catalogue to `validation.with_stars` of its distances.
    table_a1
        Rows of Table A1.
    names, groups
        Name of each star and of its cluster, empty for none, shape (star,); None if the survey names none.
    history, error_stack, reconstruction, components
        Data of figures; None if the run has none.
    """

    name: str
    catalogue: Columns
    metrics: Mapping[str, Any]
    cutflow: Mapping[str, Any]
    stages: Mapping[str, Mapping[str, Any]]
    differences: Mapping[str, tuple[Any, Any]]
    truth: Columns | None = None
    members: Columns | None = None
    rivals: Mapping[str, Columns] = field(default_factory=dict)
    table_a1: Sequence[Mapping[str, Any]] = ()
    names: Array | None = None
    groups: Array | None = None
    history: History | None = None
    error_stack: StackedErrors | None = None
    reconstruction: Reconstruction | None = None
    components: Components | None = None
