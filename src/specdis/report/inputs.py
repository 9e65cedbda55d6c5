"""What the report is made of: plain columns and numbers, already read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from specdis.arrays import Array, Float64
from specdis.validation import Columns


@dataclass(frozen=True)
class ErrorStack:
    """The stacked error spectrum in which the sky windows were found (Fig. 1).

    Parameters
    ----------
    wavelength
        Observed vacuum wavelength in Angstrom, increasing within each arm, shape (pixel,).
    sigma
        Error of the flux over the star's own median error, shape (pixel,).
    windows
        Wavelength ranges in Angstrom that are left out.
    """

    wavelength: Array
    sigma: Array
    windows: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Reconstruction:
    """One spectrum, and what the components make of it (Fig. 2).

    Parameters
    ----------
    wavelength
        Vacuum wavelength in Angstrom, increasing, shape (pixel,).
    spectrum
        After the transformations of section 2.4, NaN where the pixel is not used or bad; shape (pixel,).
    reconstruction
        The same rebuilt from the components, shape (pixel,).
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
        On the stars that a network learns from, shape (epoch, network).
    inner
        On the stars that stop it, shape (epoch, network).
    """

    training: Float64
    inner: Float64


@dataclass(frozen=True)
class Components:
    """The principal components and some of their coefficients (Figs A1 and A2).

    Parameters
    ----------
    wavelength
        Vacuum wavelength in Angstrom of the pixels that are used, shape (pixel,).
    basis
        The first components, shape (component, pixel); None where the run keeps pixels instead.
    explained
        Share of the variance that each of these explains, shape (component,).
    numbers
        Which coefficients are given, counted from 1.
    coefficients
        These coefficients of every star of the catalogue, NaN where it has none, shape (3, star).
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
        What `validation.metrics` returned, or what metrics.json holds.
    cutflow
        Content of cutflow.json.
    stages
        The stages of manifest.json, in order. Their rates go into a file of their own, since no two runs have the same.
    differences
        Value here and in the paper of each key of the configuration in which the two differ.
    truth
        `IDENTIFIER` and DIST_TRUE in kpc, where they are known.
    members
        `validation.with_stars` of the stars of known distance, None where the run has none.
    rivals
        Name of each rival catalogue to `validation.with_stars` of its distances.
    table_a1
        Rows of Table A1.
    names, groups
        Name of each star and of its cluster, empty for none, shape (star,); None where the survey names none.
    history, error_stack, reconstruction, components
        Data of figures; None where the run has none.
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
    error_stack: ErrorStack | None = None
    reconstruction: Reconstruction | None = None
    components: Components | None = None
