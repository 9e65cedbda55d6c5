"""Figures of the paper and the HTML report of a run."""

from __future__ import annotations

from pathlib import Path

from specdis import storage
from specdis.report import figures, page
from specdis.report.inputs import ErrorStack, History, Reconstruction, ReportInputs
from specdis.storage import Provenance

__all__ = ["ErrorStack", "History", "Reconstruction", "ReportInputs", "write"]


def write(directory: Path, inputs: ReportInputs, provenance: Provenance) -> None:
    """Write index.html, rates.html and figures/ into a folder, which replaces an older one whole.

    Equal inputs give equal bytes, rates.html excepted.

    Parameters
    ----------
    directory
        The folder of the report.
    inputs
        What to show.
    provenance
        Where it comes from; every file says it.
    """
    plots = (
        figures.error_spectrum(inputs.error_stack),
        figures.reconstruction(inputs.reconstruction),
        figures.training(inputs.history),
        figures.magnitudes(inputs.catalogue),
        figures.hr_diagrams(inputs.catalogue),
        figures.distances(inputs.catalogue),
        figures.uncertainties(inputs.catalogue),
        figures.against_truth(inputs.catalogue, inputs.truth),
    )
    with storage.atomic(directory) as folder:
        (folder / "figures").mkdir(parents=True)
        for plot in plots:
            plot.save(folder / "figures", provenance)
        (folder / "rates.html").write_text(page.render_rates(inputs.stages), encoding="utf-8")
        (folder / "index.html").write_text(page.render(inputs, plots, provenance), encoding="utf-8")
