"""The stages in order: thin shells that read products, call the science and write products."""

from specdis.photometry import PhotometrySettings
from specdis.pipeline.inputs import known_files, sample_files, sample_sections
from specdis.pipeline.stage import Stage
from specdis.pipeline.stages import (
    binaries,
    catalogue,
    components,
    distances,
    model,
    report,
    sample,
    spectra,
    training,
    validation,
)

# all but the truth
_SURVEY = ("survey.kind", "survey.catalogue", "survey.spectra", "survey.spectra_kind", "mock")
# all of [photometry] but what the networks fit
_RECIPES = tuple(f"photometry.{name}" for name in PhotometrySettings.model_fields if name != "nuisances")
_DEVICE = ("run.seed", "run.device")

STAGES = (
    Stage(
        "sample",
        (),
        ("run.seed", *_SURVEY, "sample", *_RECIPES),
        ("sample", "cutflow"),
        sample.run,
        sample_files,
        sample_sections,
    ),
    Stage("spectra", ("sample",), (*_SURVEY, "spectra"), ("pixels",), spectra.run),
    Stage(
        "components",
        ("sample", "spectra"),
        (*_DEVICE, "spectra", "components", "training.noisy_copies", "training.instruments"),
        ("basis", "coefficients"),
        components.run,
    ),
    Stage(
        "training",
        ("sample", "spectra", "components"),
        (
            *_DEVICE,
            "network.hidden",
            "network.spectrum",
            "network.colours",
            "network.label",
            "network.mixture",
            "training",
            "anchors.use",
            "binaries.parallax_snr_min",
            "photometry.nuisances",
        ),
        ("history", "networks"),
        training.run,
    ),
    Stage(
        "model",
        ("sample", "spectra", "components", "training"),
        (
            *(*_DEVICE, "survey.gaia", "sample", "photometry", "spectra", "network", "distances", "anchors.use"),
            *("calibration", "prior", "binaries"),
        ),
        ("model",),
        model.run,
    ),
    Stage(
        "distances",
        ("sample", "spectra", "components", "model"),
        (*_DEVICE, "calibration"),
        ("distances",),
        distances.run,
    ),
    Stage(
        "binaries",
        ("sample", "spectra", "components", "model", "distances"),
        (*_DEVICE, "binaries"),
        ("binaries", "injected"),
        binaries.run,
    ),
    Stage(
        "catalogue",
        ("sample", "model", "distances", "binaries"),
        ("run.seed", "photometry.ebv_scale", "network.kind", "survey.gaia", "prior.kind", "catalogue"),
        ("catalogue",),
        catalogue.run,
    ),
    Stage(
        "validation",
        ("sample", "model", "binaries", "catalogue"),
        ("survey.truth", "survey.gaia", "references", "binaries"),
        ("metrics", "table_a1", "members", "rivals"),
        validation.run,
        known_files,
    ),
    Stage(
        "report",
        ("sample", "spectra", "components", "training", "model", "distances", "binaries", "catalogue", "validation"),
        ("run.name",),
        ("report",),
        report.run,
    ),
)

__all__ = ["STAGES"]
