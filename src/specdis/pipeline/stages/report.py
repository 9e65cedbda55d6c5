"""The stage `report`: draw the figures and write the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from specdis import catalogue, report, validation
from specdis.arrays import Array, Int64
from specdis.components import Basis
from specdis.model.files import load_model
from specdis.pipeline.inputs import truth_of
from specdis.pipeline.stage import Context, Outcome
from specdis.storage import column_names, read_arrays, read_json, read_table
from specdis.surveys import IDENTIFIER


def run(context: Context) -> Outcome:
    """Draw the figures and write the page."""
    needed = {*validation.VALIDATION_COLUMNS, *report.REPORT_COLUMNS}
    columns = catalogue.read_columns(context.paths.catalogue, [name for name in catalogue.COLUMNS if name in needed])
    rows = _sample_rows(context, columns)
    inputs = report.ReportInputs(
        name=context.config.run.name,
        catalogue=columns,
        metrics=read_json(context.paths.metrics),
        cutflow=read_json(context.paths.cutflow),
        stages={name: record.model_dump(mode="json") for name, record in context.manifest.stages.items()},
        differences=context.config.differences(),
        truth=truth_of(context.config, context.paths),
        members=_with_stars(read_table(context.paths.members), columns),
        rivals=_rivals(context, columns),
        table_a1=_table_a1(context),
        names=_words(context, "NAME", rows),
        groups=_words(context, "CLUSTER", rows),
        history=_history(context),
        error_stack=_error_stack(context),
        reconstruction=_reconstruction(context),
        components=_components(context, rows),
    )
    report.write_report(context.paths.report, inputs, context.provenance("report"))
    return Outcome(len(columns["TARGETID"]))


def _sample_rows(context: Context, columns: Mapping[str, Array]) -> Int64:
    """Return the row of each star of the catalogue in the sample, and so in the stores."""
    return validation.join(columns, read_table(context.paths.sample, IDENTIFIER))


def _words(context: Context, name: str, rows: Int64) -> Array | None:
    """Return a further column of text of the survey, or None."""
    if name not in column_names(context.paths.sample):
        return None
    words = read_table(context.paths.sample, [name])[name]
    return np.char.decode(words[rows], "utf-8") if words.dtype.kind == "S" else None


def _rivals(context: Context, columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the stars of each rival catalogue with our columns."""
    rivals = _with_stars(read_table(context.paths.rivals), columns)
    names = rivals.pop("RIVAL")
    return {str(name): {key: values[names == name] for key, values in rivals.items()} for name in np.unique(names)}


def _with_stars(reference: Mapping[str, Array], columns: Mapping[str, Array]) -> dict[str, Array]:
    """Join a table by identifier with the columns of the catalogue; decode its strings."""
    rows = validation.join(reference, columns)
    others = {name: values for name, values in reference.items() if name not in IDENTIFIER}
    text = {name: np.char.decode(values, "utf-8") for name, values in others.items() if values.dtype.kind == "S"}
    return validation.with_stars({**others, **text, "ROW": rows}, columns)


def _table_a1(context: Context) -> list[dict[str, Any]]:
    table = Table.read(context.paths.table_a1, format="ascii.ecsv")
    return [dict(zip(table.colnames, row.as_void().item(), strict=True)) for row in table]


def _history(context: Context) -> report.History:
    table = np.genfromtxt(context.paths.history, delimiter=",", names=True, ndmin=1, dtype=None, encoding="utf-8")
    table = table[table["network"] == "label"]
    networks = int((table["epoch"] == 1).sum())
    return report.History(
        training=table["training_loss"].reshape(-1, networks), inner=table["early_stopping_loss"].reshape(-1, networks)
    )


def _error_stack(context: Context) -> report.StackedErrors | None:
    """Return the stacked errors used to find the sky lines (Fig. 1)."""
    store = context.pixels
    wavelength, error = store.error_stack
    return report.StackedErrors(wavelength, error, store.sky) if len(wavelength) else None


def _reconstruction(context: Context) -> report.Reconstruction | None:
    """Reconstruct the noisiest spectrum of S/N above 3 with few bad pixels (Fig. 2)."""
    store = context.pixels
    model = load_model(context.paths.model)
    rows = next(store.blocks())
    signal = read_table(context.paths.sample, ["SN"])["SN"][rows]
    pixels = store.read(rows)
    good = (signal > 3) & (pixels.bad[:, model.transform.kept].mean(1) < 0.1)
    if not good.any():
        return None
    star = int(np.flatnonzero(good)[np.argmin(signal[good])])
    chosen = pixels.take(slice(star, star + 1))
    encoded = context.coefficients.read(slice(star, star + 1))
    spectrum = model.transform(chosen.flux, chosen.bad)
    spectrum = np.where(chosen.bad[:, model.transform.kept], np.nan, spectrum)[0]
    return report.Reconstruction(
        wavelength=store.grid.wavelength[model.transform.kept],
        spectrum=spectrum,
        reconstruction=np.asarray(model.basis.reconstruct(encoded.coefficients))[0],
        n_components=model.basis.n_components,
        snr=float(signal[star]),
    )


_FIRST_COMPONENTS = 10  # of Fig. A1


def _components(context: Context, rows: Int64) -> report.Components:
    """Return the first components, and the coefficients of three of them (Figs A1 and A2)."""
    basis = Basis.of(read_arrays(context.paths.basis, "basis")[1])
    store = context.pixels
    numbers = (1, 2, basis.n_components)
    chosen = np.empty((3, len(store)), dtype=np.float32)
    for block in store.blocks():
        chosen[:, block] = context.coefficients.coefficients(block)[:, [number - 1 for number in numbers]].T
    return report.Components(
        wavelength=store.grid.wavelength[store.transform(context.config.spectra).kept],
        basis=None if basis.vectors is None else basis.vectors[:_FIRST_COMPONENTS],
        explained=basis.eigenvalues[:_FIRST_COMPONENTS] / basis.total,
        numbers=numbers,
        coefficients=chosen[:, rows],
    )
