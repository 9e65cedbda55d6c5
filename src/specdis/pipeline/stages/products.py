"""From a model to what users get: the stages `distances`, `catalogue`, `validation` and `report`."""

from __future__ import annotations

import numpy as np

from specdis import accelerator, catalogue, report, validation
from specdis.arrays import Array
from specdis.catalogue import DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.catalogue.header import Cards
from specdis.components import encoder
from specdis.distances import star_keys
from specdis.log import Progress
from specdis.model import load_model
from specdis.pipeline.pixels import PixelStore
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.stages.learning import assemble
from specdis.pipeline.survey import truth
from specdis.spectra import Normalised
from specdis.storage import atomic, read_arrays, read_json, read_table, write_arrays, write_json, write_table
from specdis.surveys import IDENTIFIER, Stars


def distances(context: Context) -> Outcome:
    """Predict every star (section 3.3), a block at a time; a finished block is not done again."""
    accelerator.use(context.config.run.device)
    model, store = assemble(context), PixelStore.open(context.paths.pixels)
    with atomic(context.paths.model) as folder:
        model.save(folder, context.provenance("model"))
    stars = read_table(context.paths.sample, [*IDENTIFIER, "G_0", "FOLD", "TEFF", "LOGG", "FEH"])
    keys = star_keys(model.seed, *(stars[name] for name in IDENTIFIER))
    velocity, provenance = store.velocity, context.provenance("distances")
    finished = {rows.start: context.scratch / f"{rows.start:010d}.npz" for rows in store.blocks()}
    resumed = sum(rows.stop - rows.start for rows in store.blocks() if finished[rows.start].exists())
    progress = Progress("distances", len(store), resumed)
    for rows in store.blocks():
        if not finished[rows.start].exists():
            predicted = model.predict_pixels(
                Normalised(*store.read(rows)), velocity[rows], stars["G_0"][rows], stars["FOLD"][rows], keys[rows]
            )
            write_arrays(finished[rows.start], provenance, predicted)
            progress.advance(rows.stop - rows.start)
    progress.close()
    parts = [read_arrays(path, "distances")[1] for path in finished.values()]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["FLAGS"] |= model.outside_parameters(stars)
    identifier = {name: stars[name] for name in IDENTIFIER}
    write_table(context.paths.distances, provenance, {**identifier, **columns})
    return Outcome(len(store), resumed=resumed, notes={"without_distance": int(np.isnan(columns["DIST"]).sum())})


def make_catalogue(context: Context) -> Outcome:
    """Join sample and distances into Table 1."""
    columns = catalogue.build(
        read_table(context.paths.sample, SAMPLE_COLUMNS), read_table(context.paths.distances, DISTANCES_COLUMNS)
    )
    scale = context.config.photometry.ebv_scale
    header: Cards = {"EBVSCALE": (scale, "EBV over E(B-V) of the survey file")}
    catalogue.write(context.paths.catalogue, columns, context.provenance("catalogue"), header)
    return Outcome(len(columns["TARGETID"]))


def _truth(context: Context) -> dict[str, Array] | None:
    return truth(context.config, Stars(read_table(context.paths.sample, IDENTIFIER)))


def validate(context: Context) -> Outcome:
    """Measure the catalogue (section 4)."""
    columns = catalogue.read_columns(context.paths.catalogue)
    write_json(context.paths.metrics, validation.metrics(columns, _truth(context)))
    return Outcome(len(columns["TARGETID"]))


def make_report(context: Context) -> Outcome:
    """Draw the figures and write the page."""
    columns = catalogue.read_columns(context.paths.catalogue)
    inputs = report.ReportInputs(
        name=context.config.run.name,
        catalogue=columns,
        metrics=read_json(context.paths.metrics),
        cutflow=read_json(context.paths.cutflow),
        stages={name: record.model_dump(mode="json") for name, record in context.manifest.stages.items()},
        differences=context.config.differences(),
        truth=_truth(context),
        history=_history(context),
        error_stack=_error_stack(context),
        reconstruction=_reconstruction(context),
    )
    report.write(context.paths.report, inputs, context.provenance("report"))
    return Outcome(len(columns["TARGETID"]))


def _history(context: Context) -> report.History:
    table = np.genfromtxt(context.paths.history, delimiter=",", names=True, ndmin=1)
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
    encoded = encoder(model.transform, model.basis)(flux, sigma, bad)
    spectrum = np.where(bad[:, model.transform.kept], np.nan, model.transform(flux, bad))[0]
    return report.Reconstruction(
        wavelength=store.grid.wavelength[model.transform.kept],
        spectrum=spectrum,
        reconstruction=np.asarray(model.basis.reconstruct(encoded.coefficients))[0],
        n_components=model.basis.n_components,
        snr=float(signal[star]),
    )
