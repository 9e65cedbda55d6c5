"""Figures of the paper and the HTML report of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from specdis import storage
from specdis.report import page
from specdis.report.figures import binaries, distances, external, halo, magnitudes, rivals, spectra
from specdis.report.inputs import Components, History, Reconstruction, ReportInputs, StackedErrors
from specdis.report.style import Plot
from specdis.storage import Provenance

__all__ = ["REPORT_COLUMNS", "Components", "History", "Reconstruction", "ReportInputs", "StackedErrors", "write_report"]

REPORT_COLUMNS = ("SOURCE_ID", "PHOT_BP_MEAN_MAG", "PHOT_RP_MEAN_MAG", "BINARY_FLAG", "M_G_NN_LABEL")
"""Columns of the catalogue that the report reads in addition to those of the validation."""


def write_report(directory: Path, inputs: ReportInputs, provenance: Provenance) -> None:
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
    yield spectra.draw_error_spectrum(inputs.error_stack)
    yield spectra.draw_reconstruction(inputs.reconstruction)
    yield spectra.draw_training(inputs.history)
    yield magnitudes.draw_magnitudes(catalogue)
    yield magnitudes.draw_hr_diagrams(catalogue)
    yield magnitudes.draw_parameters(catalogue, metrics["internal"]["by_parameter"])
    yield magnitudes.draw_groups(catalogue, inputs.groups)
    yield external.draw_members(members)
    yield external.draw_blue_stars(members)
    yield distances.draw_distances(catalogue)
    yield distances.draw_uncertainties(catalogue)
    yield rivals.draw_comparison(inputs.rivals)
    yield rivals.draw_external(inputs.rivals, members)
    yield distances.draw_errors_by_kind(catalogue)
    yield distances.draw_calibration(metrics)
    yield distances.draw_against_truth(catalogue, inputs.truth)
    yield binaries.draw_estimators(metrics.get("truth"))
    yield halo.draw_halo(metrics.get("halo"))
    yield binaries.draw_recalibration(metrics.get("calibration"))
    yield binaries.draw_binary_hr_diagrams(catalogue, metrics.get("binaries"))
    yield binaries.draw_binary_magnitudes(catalogue, metrics.get("binaries"))
    yield binaries.draw_models(metrics.get("binaries"))
    yield binaries.draw_fractions(metrics.get("binaries"))
    yield spectra.draw_components(inputs.components)
    yield spectra.draw_coefficients(catalogue, inputs.components)
    yield external.draw_systems(members)
    yield external.draw_parallaxes(members, inputs.rivals)
