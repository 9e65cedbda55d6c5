"""The stages in order: thin shells that read products, call the science and write products."""

from specdis.pipeline.stage import Stage
from specdis.pipeline.stages import compression, learning, products, reporting, selection
from specdis.pipeline.survey import copies_files, known_files

# all but the truth
_SURVEY = ("survey.kind", "survey.catalogue", "survey.spectra", "survey.spectra_kind", "mock")

STAGES = (
    Stage(
        "sample",
        (),
        ("run.seed", *_SURVEY, "sample", "photometry"),
        ("sample", "cutflow"),
        selection.sample,
        copies_files,
    ),
    Stage("spectra", ("sample",), (*_SURVEY, "spectra"), ("pixels",), selection.spectra),
    Stage(
        "components",
        ("sample", "spectra"),
        ("run.seed", "run.device", "spectra", "components", "training.noisy_copies"),
        ("basis", "coefficients"),
        compression.components,
    ),
    Stage(
        "training",
        ("sample", "spectra", "components"),
        ("run.seed", "run.device", "network", "training", "binaries.parallax_snr_min"),
        ("history", "networks"),
        learning.training,
    ),
    Stage(
        "distances",
        ("sample", "spectra", "components", "training"),
        (
            "run.seed",
            "run.device",
            "sample",
            "photometry",
            "spectra",
            "network",
            "distances",
            "calibration",
            "binaries",
        ),
        ("model", "distances"),
        products.distances,
    ),
    Stage(
        "binaries",
        ("sample", "spectra", "components", "distances"),
        ("run.seed", "run.device", "binaries"),
        ("binaries", "injected"),
        products.find_binaries,
    ),
    Stage(
        "catalogue",
        ("sample", "distances", "binaries"),
        ("photometry.ebv_scale", "network.kind"),
        ("catalogue",),
        products.make_catalogue,
    ),
    Stage(
        "validation",
        ("sample", "binaries", "catalogue"),
        ("survey.truth", "references", "binaries"),
        ("metrics", "table_a1", "members", "rivals"),
        reporting.validate,
        known_files,
    ),
    Stage(
        "report",
        ("sample", "spectra", "components", "training", "distances", "binaries", "catalogue", "validation"),
        ("run.name",),
        ("report",),
        reporting.make_report,
    ),
)

__all__ = ["STAGES"]
