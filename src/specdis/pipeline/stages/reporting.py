"""What the catalogue is worth: the stages `validation` and `report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from specdis import catalogue, report, validation
from specdis.arrays import Array, Int64
from specdis.log import logger
from specdis.model import basis_of, load_model
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.pixels import PixelStore, open_group, read_rows
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.survey import references, truth
from specdis.references import MATCH_COLUMNS, RIVAL_COLUMNS, TABLE_A1, find_members
from specdis.storage import atomic, column_names, read_arrays, read_json, read_table, write_json, write_table
from specdis.surveys import IDENTIFIER, Stars

_SOUGHT = (*MATCH_COLUMNS, *RIVAL_COLUMNS, "VRAD")
"""Columns by which stars are found in the lists and catalogues of others."""


def _truth(context: Context) -> dict[str, Array] | None:
    return truth(context.config, Stars(read_table(context.paths.sample, IDENTIFIER)))


def validate(context: Context) -> Outcome:
    """Find the stars of known distance and the rivals' (section 2.5), and measure the catalogue (section 4)."""
    needed = {*validation.COLUMNS, *validation.MIXTURE_COLUMNS, *_SOUGHT}
    columns = catalogue.read_columns(context.paths.catalogue, [name for name in catalogue.COLUMNS if name in needed])
    files = references(context.config)
    selected = np.flatnonzero(columns["SELECTED"])
    stars = {name: columns[name][selected] for name in _SOUGHT}
    lists = files.members()
    found = find_members(lists, stars, context.config.references)
    members = _rows_in_catalogue(found.columns, selected)
    rivals = {name: _rows_in_catalogue(rival, selected) for name, rival in files.rivals(stars).items()}
    measured = validation.metrics(
        {**columns, "M_G_NN_PAIR": _pair_magnitude(context, columns)},
        _truth(context),
        validation.with_stars(members, columns) if lists else None,
        [count._asdict() for count in found.counts],
        {name: validation.with_stars(rival, columns) for name, rival in rivals.items()},
        read_table(context.paths.injected, [*IDENTIFIER, "MASS_RATIO", "STEEPNESS", "FOUND", "FALSE_ALARM"]),
        context.config.binaries,
    )
    write_json(context.paths.metrics, measured)
    _write_table_a1(context, measured.get("external", {}).get("systems", []))
    write_table(context.paths.members, context.provenance("members"), _by_identifier(members, columns))
    every = _stacked(rivals)
    write_table(context.paths.rivals, context.provenance("rivals"), _by_identifier(every, columns))
    faults = [
        StageFault(name="unread-reference", place=file.place, message=file.message, stars=0) for file in files.unread
    ]
    for fault in faults:
        logger.warning("%s: %s: %s", fault.place, fault.name, fault.message)
    notes = {"members": len(members["ROW"]), "rivals": {name: len(rival["ROW"]) for name, rival in rivals.items()}}
    return Outcome(len(columns["TARGETID"]), faults, notes)


def _pair_magnitude(context: Context, columns: Mapping[str, Array]) -> Array:
    """Return the median of the two Gaussians of section 5 of the catalogue's stars, mag; NaN where it has none."""
    table = read_table(context.paths.binaries, [*IDENTIFIER, "M_G_NN_PAIR"])
    return np.asarray(table["M_G_NN_PAIR"][validation.join(columns, table)])


def _rows_in_catalogue(reference: Mapping[str, Array], selected: Int64) -> dict[str, Array]:
    """Return a table whose ROW counts all rows of the catalogue, where it counted the selected ones."""
    return {**reference, "ROW": selected[reference["ROW"]]}


def _stacked(rivals: Mapping[str, Mapping[str, Array]]) -> dict[str, Array]:
    """Return the rows of all rivals in one table, with their names as RIVAL."""
    named = [{**rival, "RIVAL": np.full(len(rival["ROW"]), name)} for name, rival in rivals.items()]
    if not named:
        distance = np.empty(0)
        nothing = {"DIST_RIVAL": distance, "DISTERR_RIVAL": distance}
        return {"ROW": np.empty(0, np.int64), "RIVAL": np.empty(0, "U1"), **nothing}
    return {key: np.concatenate([part[key] for part in named]) for key in named[0]}


def _by_identifier(reference: Mapping[str, Array], columns: Mapping[str, Array]) -> dict[str, Array]:
    """Return a table with the identifiers of its stars instead of ROW."""
    identifier = {name: columns[name][reference["ROW"]] for name in IDENTIFIER}
    return identifier | {name: values for name, values in reference.items() if name != "ROW"}


def _write_table_a1(context: Context, systems: Sequence[Mapping[str, Any]]) -> None:
    known = [(system.name, system.distance, system.distance_error, system.source) for system in TABLE_A1]
    rows = validation.table_a1(systems, known)
    table = Table({name: [row[name] for row in rows] for name in validation.TABLE_A1_COLUMNS})
    for name in ("D_REF", "D_REF_ERR", "D_NN", "D_NN_ERR"):
        table[name].unit = "kpc"
    table["BIAS_MAG"].unit = "mag"
    table.meta["provenance"] = context.provenance("table-a1").to_dict()
    with atomic(context.paths.table_a1) as temporary:
        table.write(temporary, format="ascii.ecsv")


def make_report(context: Context) -> Outcome:
    """Draw the figures and write the page."""
    needed = {*validation.COLUMNS, *report.COLUMNS}
    columns = catalogue.read_columns(context.paths.catalogue, [name for name in catalogue.COLUMNS if name in needed])
    rows = _sample_rows(context, columns)
    inputs = report.ReportInputs(
        name=context.config.run.name,
        catalogue=columns,
        metrics=read_json(context.paths.metrics),
        cutflow=read_json(context.paths.cutflow),
        stages={name: record.model_dump(mode="json") for name, record in context.manifest.stages.items()},
        differences=context.config.differences(),
        truth=_truth(context),
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
    report.write(context.paths.report, inputs, context.provenance("report"))
    return Outcome(len(columns["TARGETID"]))


def _sample_rows(context: Context, columns: Mapping[str, Array]) -> Int64:
    """Return the row of each star of the catalogue in the sample, and so in the stores of its pixels."""
    return validation.join(columns, read_table(context.paths.sample, IDENTIFIER))


def _words(context: Context, name: str, rows: Int64) -> Array | None:
    """Return a column of text that the survey carries besides its own, None where it has none of this name."""
    if name not in column_names(context.paths.sample):
        return None
    words = read_table(context.paths.sample, [name])[name]
    return np.char.decode(words[rows], "utf-8") if words.dtype.kind == "S" else None


def _rivals(context: Context, columns: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return the stars of each rival catalogue with the columns of ours."""
    rivals = _with_stars(read_table(context.paths.rivals), columns)
    names = rivals.pop("RIVAL")
    return {str(name): {key: values[names == name] for key, values in rivals.items()} for name in np.unique(names)}


def _with_stars(reference: Mapping[str, Array], columns: Mapping[str, Array]) -> dict[str, Array]:
    """Return a table of stars by identifier with the catalogue's columns, its words as text."""
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
        training=table["training_loss"].reshape(-1, networks), inner=table["inner_loss"].reshape(-1, networks)
    )


def _error_stack(context: Context) -> report.ErrorStack | None:
    """Return the stacked errors in which the sky lines were looked for (Fig. 1)."""
    store = PixelStore.open(context.paths.pixels)
    wavelength, error = store.error_stack
    return report.ErrorStack(wavelength, error, store.sky) if len(wavelength) else None


def _reconstruction(context: Context) -> report.Reconstruction | None:
    """Rebuild the noisiest spectrum of S/N above 3 that has few bad pixels (Fig. 2)."""
    store = PixelStore.open(context.paths.pixels)
    model = load_model(context.paths.model)
    rows = next(store.blocks())
    signal = read_table(context.paths.sample, ["SN"])["SN"][rows]
    pixels = store.read(rows)
    good = (signal > 3) & (pixels[2][:, model.transform.kept].mean(1) < 0.1)
    if not good.any():
        return None
    star = int(np.flatnonzero(good)[np.argmin(signal[good])])
    flux, sigma, bad = (values[star : star + 1] for values in pixels)
    encoded = model.encode(flux, sigma, bad)
    spectrum = np.where(bad[:, model.transform.kept], np.nan, model.transform(flux, bad))[0]
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
    basis = basis_of(read_arrays(context.paths.basis, "basis")[1])
    store = PixelStore.open(context.paths.pixels)
    numbers = (1, 2, basis.n_components)
    group = open_group(context.paths.coefficients, "coefficients")
    chosen = np.empty((3, len(store)), dtype=np.float32)
    for block in store.blocks():
        chosen[:, block] = read_rows(group, "coefficients", block)[:, [number - 1 for number in numbers]].T
    return report.Components(
        wavelength=store.grid.wavelength[store.transform(context.config.spectra).kept],
        basis=None if basis.vectors is None else basis.vectors[:_FIRST_COMPONENTS],
        explained=basis.eigenvalues[:_FIRST_COMPONENTS] / basis.total,
        numbers=numbers,
        coefficients=chosen[:, rows],
    )
