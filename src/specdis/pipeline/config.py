"""The configuration: one TOML, to which every part of the software contributes its own section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specdis.anchors import AnchorsSettings
from specdis.binaries import BinariesSettings
from specdis.calibration import CalibrationSettings
from specdis.catalogue.settings import CatalogueSettings
from specdis.components import ComponentsSettings
from specdis.distances.settings import DistancesSettings
from specdis.errors import ProductError
from specdis.gaia import Release, invalid_recipes
from specdis.mock.settings import MockSettings
from specdis.network.settings import NetworkSettings, TrainingSettings
from specdis.photometry import PhotometrySettings
from specdis.pipeline.settings import RunSettings
from specdis.pipeline.strict_toml import Document
from specdis.pipeline.templates import Preset, preset
from specdis.prior.settings import PriorSettings
from specdis.references import ReferencesSettings
from specdis.sample import SampleSettings
from specdis.spectra.settings import SpectraSettings
from specdis.stores.paths import RunPaths
from specdis.surveys import SurveySettings
from specdis.workers.settings import ClusterSettings


class Config(Document):
    """All sections; optional ones have defaults."""

    preset: Preset | None = None
    """Values for the keys that the file leaves out: `paper` has the paper's choices, `recommended` measured
    improvements. Without a preset keys have their defaults."""
    run: RunSettings
    """Folder and resources of the run."""
    survey: SurveySettings
    """The survey's files."""
    mock: MockSettings = MockSettings()
    """Parameters of the mock survey; [mock.md](mock.md) explains which parts are physical and which schematic."""
    sample: SampleSettings = SampleSettings()
    """Which stars: section 2.3 of the paper."""
    photometry: PhotometrySettings = PhotometrySettings()
    """Extinction and parallaxes: section 2.3."""
    spectra: SpectraSettings = SpectraSettings()
    """The common grid, continuum and scaling: section 2.4."""
    components: ComponentsSettings = ComponentsSettings()
    """Principal components: section 3.1."""
    network: NetworkSettings = NetworkSettings()
    """The networks: sections 3.2.2 and 5."""
    training: TrainingSettings = TrainingSettings()
    """Training: section 3.2."""
    distances: DistancesSettings = DistancesSettings()
    """Predictions and their errors: section 3.3."""
    calibration: CalibrationSettings = CalibrationSettings()
    """Recalibration of the mixture network's distances on held-out stars."""
    prior: PriorSettings = PriorSettings()
    """Density of stars over distance, for posterior distances beside those from the spectrum alone."""
    catalogue: CatalogueSettings = CatalogueSettings()
    """What the catalogue holds on request."""
    binaries: BinariesSettings = BinariesSettings()
    """Binaries: section 5."""
    anchors: AnchorsSettings = AnchorsSettings()
    """Stars of known distance in training and recalibration."""
    references: ReferencesSettings = ReferencesSettings()
    """Stars of known distance and rival catalogues: sections 2.5, 4.4 and 4.5."""
    cluster: ClusterSettings = ClusterSettings()
    """Cores or machines for the passes over the stars: see [cluster.md](cluster.md)."""

    @property
    def gaia(self) -> Release:
        """The Gaia release of the survey's stars."""
        return self.survey.gaia

    def conflicts(self) -> dict[tuple[str, ...], str]:
        """Return the settings that do not go together: colours without copies, draws without a prior, ..."""
        found = invalid_recipes(self.gaia, self.photometry.model_dump())
        conflicts: dict[tuple[str, ...], str] = {("photometry", key): message for key, message in found.items()}
        if self.network.colours and not self.training.noisy_copies:
            conflicts["network", "colours"] = (
                "needs training.noisy_copies >= 1: from copies without colours the networks learn to predict stars "
                "that lack them"
            )
        if self.catalogue.released_draws and self.prior.kind == "none":
            conflicts["catalogue", "released_draws"] = "needs a prior, since draws are from the posterior distance"
        if self.training.instruments.on and not self.training.noisy_copies:
            conflicts["training", "instruments"] = (
                "needs training.noisy_copies >= 1: it says how the copies differ from their stars"
            )
        return conflicts

    @classmethod
    def preset_of(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the requested preset, empty for an unknown name."""
        return preset(given.get("preset"))

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Like `Document.differences`, ignoring [mock], [cluster] and the location of files."""
        silent = (
            "preset",
            "mock.",
            "cluster.",
            *(f"references.{name}" for name in ("directory", "systems", "members", "rivals")),
        )
        return {key: values for key, values in super().differences().items() if not key.startswith(silent)}


def config_of(directory: Path) -> Config:
    """Read the configuration of a run, whose folder may have been moved.

    Raises
    ------
    ProductError
        When the folder is not a run.
    """
    resolved = RunPaths(directory).config_resolved
    if not resolved.exists():
        raise ProductError(f"{directory} is not a run: it has no {resolved.name}. Give the folder run.directory.")
    return Config.load(resolved, [f"run.directory={json.dumps(str(directory.resolve()))}"])
