"""The configuration: one TOML, to which every part of the software contributes its own section."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specdis.binaries import BinariesSettings
from specdis.calibration import CalibrationSettings
from specdis.components import ComponentsSettings
from specdis.distances.settings import DistancesSettings
from specdis.errors import ProductError
from specdis.mock.settings import MockSettings
from specdis.network.mlp import NetworkSettings
from specdis.network.training import TrainingSettings
from specdis.photometry import PhotometrySettings
from specdis.pipeline.settings import RunSettings
from specdis.pipeline.strict_toml import Document
from specdis.pipeline.templates import Preset, preset
from specdis.references import ReferencesSettings
from specdis.sample import SampleSettings
from specdis.spectra.settings import SpectraSettings
from specdis.stores.paths import RunPaths
from specdis.surveys import SurveySettings
from specdis.workers.settings import ClusterSettings


class Config(Document):
    """All sections; those that may be left out have the paper's values."""

    preset: Preset | None = None
    """Values for the keys that the file leaves out: `paper` has the paper's own choices everywhere, `recommended` what
    is measured to be better. Without a preset every key has its default."""
    run: RunSettings
    """Where the run is kept and what it may use."""
    survey: SurveySettings
    """The survey's files."""
    mock: MockSettings = MockSettings()
    """The universe, when `survey.kind = "mock"`: what is physics in it, and what is not, says [mock.md](mock.md)."""
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
    """Loss and training: section 3.2."""
    distances: DistancesSettings = DistancesSettings()
    """Predictions and their errors: section 3.3."""
    calibration: CalibrationSettings = CalibrationSettings()
    """Recalibration of the mixture's distances on held-out stars."""
    binaries: BinariesSettings = BinariesSettings()
    """Binaries: section 5."""
    references: ReferencesSettings = ReferencesSettings()
    """Stars of known distance and rival catalogues: sections 2.5, 4.4 and 4.5."""
    cluster: ClusterSettings = ClusterSettings()
    """Where the passes over the stars run: [cluster.md](cluster.md)."""

    @classmethod
    def preset_of(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the preset that is asked for, nothing where there is none of this name."""
        return preset(given.get("preset"))

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """As in `Document`, without the universe and where files lie, of which the paper says nothing."""
        silent = (
            "preset",
            "mock.",
            "cluster.",
            *(f"references.{name}" for name in ("directory", "systems", "members", "rivals")),
        )
        return {key: values for key, values in super().differences().items() if not key.startswith(silent)}


def config_of(directory: Path) -> Config:
    """Return the configuration that a run keeps; the folder may have been moved since.

    Raises
    ------
    ProductError
        When the folder is no run.
    """
    resolved = RunPaths(directory).config_resolved
    if not resolved.exists():
        raise ProductError(f"{directory} is no run: it holds no {resolved.name}. Give the folder run.directory.")
    return Config.load(resolved, [f"run.directory={json.dumps(str(directory.resolve()))}"])
