"""Paths of the products of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunPaths:
    """Paths of the products of a run; no other module has these names."""

    directory: Path

    @property
    def config_input(self) -> Path:
        """The configuration as the user gave it."""
        return self.directory / "config.input.toml"

    @property
    def config_resolved(self) -> Path:
        """The configuration with every default filled in."""
        return self.directory / "config.resolved.toml"

    @property
    def manifest(self) -> Path:
        """Inputs, products, rates and faults of each stage."""
        return self.directory / "manifest.json"

    @property
    def log(self) -> Path:
        """The log of all runs in this directory."""
        return self.directory / "log.txt"

    @property
    def sample(self) -> Path:
        """The stars: selected or predicted, their photometry and their folds."""
        return self.directory / "sample" / "sample.parquet"

    @property
    def cutflow(self) -> Path:
        """Stars in, cut and out, cut by cut."""
        return self.directory / "sample" / "cutflow.json"

    @property
    def pixels(self) -> Path:
        """Continuum-normalised rest-frame flux, sigma and bad pixels of every star."""
        return self.directory / "spectra" / "pixels.zarr"

    @property
    def basis(self) -> Path:
        """Principal components."""
        return self.directory / "components" / "basis.npz"

    @property
    def coefficients(self) -> Path:
        """Coefficients of every star."""
        return self.directory / "components" / "coefficients.zarr"

    @property
    def history(self) -> Path:
        """Loss by epoch and network."""
        return self.directory / "training" / "history.csv"

    @property
    def networks(self) -> Path:
        """The folder of the trained networks: label.npz, mixture.npz and binaries.npz."""
        return self.directory / "training" / "networks"

    @property
    def model(self) -> Path:
        """The model: everything for a prediction."""
        return self.directory / "model"

    @property
    def distances(self) -> Path:
        """Absolute magnitudes, distances and their errors."""
        return self.directory / "distances" / "distances.parquet"

    @property
    def binaries(self) -> Path:
        """Classification of binaries."""
        return self.directory / "binaries" / "binaries.parquet"

    @property
    def injected(self) -> Path:
        """Classification of injected binaries and single stars."""
        return self.directory / "binaries" / "injected.parquet"

    @property
    def catalogue(self) -> Path:
        """The folder of the catalogue: specdis.fits, specdis.parquet and SHA256SUMS."""
        return self.directory / "catalogue"

    @property
    def metrics(self) -> Path:
        """Numbers of the validation."""
        return self.directory / "validation" / "metrics.json"

    @property
    def members(self) -> Path:
        """Stars of known distance, by identifier."""
        return self.directory / "validation" / "members.parquet"

    @property
    def rivals(self) -> Path:
        """Distances of rival catalogues, by identifier."""
        return self.directory / "validation" / "rivals.parquet"

    @property
    def table_a1(self) -> Path:
        """Median predicted distances of clusters and dwarf galaxies."""
        return self.directory / "validation" / "table_a1.ecsv"

    @property
    def report(self) -> Path:
        """The folder of the report: index.html and figures/."""
        return self.directory / "report"
