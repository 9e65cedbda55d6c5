"""Figures of the paper and the HTML report of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from specdis import storage
from specdis.report import page
from specdis.report.figures import binaries, distances, external, magnitudes, rivals, spectra
from specdis.report.inputs import Components, History, Reconstruction, ReportInputs, StackedErrors
from specdis.report.style import Plot
from specdis.storage import Provenance

__all__ = ["REPORT_COLUMNS", "Components", "History", "Reconstruction", "ReportInputs", "StackedErrors", "write"]

REPORT_COLUMNS = ("SOURCE_ID", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG", "BINARY_FLAG", "M_G_NN_LABEL")
"""Columns of the catalogue that the report reads in addition to those of the validation."""


def write(directory: Path, inputs: ReportInputs, provenance: Provenance) -> None:
    """Write a folder with index.html, rates.html and figures/, in place of an older one.

    index.html contains its pictures and links to no other file, so that it can be sent alone. Equal inputs give equal
    bytes, except for rates.html.

    Parameters
    ----------
    directory
        The folder of the report.
    inputs
        Content of the report.
    provenance
        Origin, stated in every file.
    """
    with storage.atomic(directory) as folder:
        (folder / "figures").mkdir(parents=True)
        pictures = {}
        for plot in plots(inputs):
            plot.save(folder / "figures", provenance)
            pictures[plot.name] = page.Picture.of(plot, folder / "figures")
        (folder / "rates.html").write_text(page.render_rates(inputs.stages), encoding="utf-8")
        (folder / "index.html").write_text(page.render(inputs, pictures, provenance), encoding="utf-8")


def plots(inputs: ReportInputs) -> Iterator[Plot]:
    """Draw the figures one by one, so that each can be freed before the next."""
    catalogue, metrics, members = inputs.catalogue, inputs.metrics, inputs.members
    yield spectra.error_spectrum(inputs.error_stack)
    yield spectra.reconstruction(inputs.reconstruction)
    yield spectra.training(inputs.history)
    yield magnitudes.magnitudes(catalogue)
    yield magnitudes.hr_diagrams(catalogue)
    yield magnitudes.parameters(catalogue, metrics["internal"]["by_parameter"])
    yield magnitudes.groups(catalogue, inputs.groups)
    yield external.members(members)
    yield external.blue_stars(members)
    yield distances.distances(catalogue)
    yield distances.uncertainties(catalogue)
    yield rivals.comparison(inputs.rivals)
    yield rivals.external(inputs.rivals, members)
    yield distances.errors_by_kind(catalogue)
    yield distances.calibration(metrics)
    yield distances.against_truth(catalogue, inputs.truth)
    yield binaries.estimators(metrics.get("truth"))
    yield binaries.recalibration(metrics.get("calibration"))
    yield binaries.hr_diagrams(catalogue, metrics.get("binaries"))
    yield binaries.magnitudes(catalogue, metrics.get("binaries"))
    yield binaries.models(metrics.get("binaries"))
    yield binaries.fractions(metrics.get("binaries"))
    yield spectra.components(inputs.components)
    yield spectra.coefficients(catalogue, inputs.components)
    yield external.systems(members)
    yield external.parallaxes(members, inputs.rivals)
