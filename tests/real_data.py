"""Real data that are not part of the project, and runs on them."""

import os
from pathlib import Path

import pytest

from specdis.pipeline.config import Config
from specdis.pipeline.runner import run_stages
from specdis.pipeline.stages import STAGES
from specdis.pipeline.templates import template

REAL = Path(os.environ.get("SPECDIS_REAL_DATA", Path(__file__).parents[2] / "shared" / "real"))

needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"real data not in {REAL}: set SPECDIS_REAL_DATA")


def run_of(name, directory, keys, last):
    """Run a configuration of the project, with other keys, up to a stage; return its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPECDIS_REAL_DATA", str(REAL))
        config = Config.load(template(name), [f"run.directory={directory}", *keys])
    run_stages(config, STAGES, last=last)
    return directory
