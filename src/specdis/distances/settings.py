"""Section [distances] (section 3.3 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from specdis.noise import NoiseKind
from specdis.settings import Settings, departs


class DistancesSettings(Settings):
    """Section [distances]: section 3.3 of the paper."""

    method: Literal["monte-carlo", "linear"] = "monte-carlo"
    """How the error of a spectrum becomes an error of the distance: by perturbed versions, or by derivatives."""
    n_draws: Annotated[int, Field(ge=2, le=10_000)] = 20
    """Perturbed versions of each spectrum, or points of the Gaussian that stands for them."""
    noise: NoiseKind = departs("native", paper="paper")
    """Noise drawn at the native pixels, or, as in the paper, independently at the pixels of the grid."""
    training_error: Literal["constant", "star"] = "constant"
    """Training error in the label's errors and quantiles: one constant as in the paper, or each star's own spread
    between seeds."""
    use_own_parallax: bool = False
    """Whether the mixture's distances take the star's own parallax in; without it they can be combined with Gaia."""
