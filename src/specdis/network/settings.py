"""Sections [network] and [training] (section 3.2 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from specdis.colours import pair_of
from specdis.settings import Settings
from specdis.spectra.settings import InstrumentSettings

Jacobian = Literal["none", "paper"]


RELEASED = 5
"""Number of Gaussians for a star in the catalogue; in place of all networks' they move quantiles by 1 to 4 % of the
error (decision 20)."""
MIXTURE_PARTS = ("MIX_WEIGHT", "MIX_M_G", "MIX_SIGMA")
"""Their fractions, means and standard deviations; columns have the number of the Gaussian, from 1 on, at the end."""


class LabelSettings(Settings):
    """Section [network.label]: Eqs 4 and 5 of the paper."""

    output: Literal["linear", "exp"] = "linear"
    """Last step of the network: `linear` as in the paper, or `exp` for labels that are always positive."""
    loss: Literal["chi2", "robust"] = "chi2"
    """The chi-square in parallax (Eq. 4), or its robust version for parallaxes of very high S/N."""
    huber: PositiveFloat = 5.0
    """Residual, in sigma, beyond which the robust loss grows linearly; not allowed with another loss."""
    intrinsic_scatter: NonNegativeFloat = 0.0
    """Scatter of the label at given spectrum, as a fraction of it, that the robust loss adds to the parallax error; not
    allowed with another loss."""

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Self:
        default = {name: type(self).model_fields[name].default for name in ("huber", "intrinsic_scatter")}
        ignored = {name: value for name, value in default.items() if getattr(self, name) != value}
        if ignored and self.loss != "robust":
            back = " and ".join(f"{name} = {value:g}" for name, value in ignored.items())
            raise ValueError(
                f'{" and ".join(ignored)} would do nothing with loss = "{self.loss}": set loss = "robust", or {back}'
            )
        return self


class MixtureSettings(Settings):
    """Section [network.mixture]: Eqs 7 and 8 of the paper."""

    n_mixture: Annotated[int, Field(ge=1, le=20)] = 3
    """Number of Gaussians of the mixture network; the binary network has two."""
    jacobian: Jacobian = "none"
    """Likelihood of the mixture and binary networks: `paper` multiplies it by the model's parallax, as Eq. 8
    (decision 8)."""
    spurious_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of spurious parallaxes in the likelihood of the mixture and binary networks; 0 for Gaussian errors alone.
    The recalibration starts from it and fits it (decision 20)."""
    spurious_width: Annotated[float, Field(ge=1.5, le=100)] = 5.0
    """Scatter of spurious parallaxes over their error, fitted likewise; does nothing without a share."""


class NetworkSettings(Settings):
    """Section [network]: section 3.2.2 of the paper."""

    kind: Literal["label", "mixture"] = "label"
    """Network for DIST, DISTERR and M_G_NN: the label network, as in the paper, or the mixture network. Both are always
    trained."""
    hidden: tuple[PositiveInt, ...] = (100, 100, 100)
    """Neurons of each hidden layer, of all networks."""
    spectrum: bool = True
    """Whether the networks see the spectrum; false for colours alone, to compare."""
    colours: tuple[str, ...] = ()
    """Dereddened colours that the networks see beside the spectrum: `BP-RP`, `G-RP`; `g-r`, `r-z`, `z-W1`, `W1-W2`
    (Legacy Surveys, WISE), `J-Ks`, ... (2MASS); or a column of the survey's table that holds a dereddened colour.
    Stars without a colour are predicted without it. Not in the paper, which names colours as future work."""
    label: LabelSettings = LabelSettings()
    """The label network, which fills the columns _LABEL."""
    mixture: MixtureSettings = MixtureSettings()
    """The mixture network, which fills the columns _MIX, and the binary network."""

    @field_validator("colours")
    @classmethod
    def _are_colours(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            pair_of(name)
        if len({*names}) < len(names):
            raise ValueError("a colour is given twice")
        return names

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if not (self.spectrum or self.colours):
            raise ValueError("spectrum = false needs colours, or the networks see nothing")
        return self


class TrainingSettings(Settings):
    """Section [training]: section 3.2 of the paper, and choices that it leaves open."""

    learning_rate: PositiveFloat = 1e-3
    """Peak learning rate of Adam; it falls to zero as a cosine over the epochs."""
    weight_decay: NonNegativeFloat = 0.0
    """Decoupled weight decay."""
    batch: PositiveInt = 1024
    """Largest number of stars in a batch; an epoch uses all stars of a network, in batches equal to within one star."""
    epochs: PositiveInt = 100
    """Largest number of epochs."""
    patience: PositiveInt = 20
    """Epochs without a better loss of the early-stopping stars after which a network stops."""
    early_stopping_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the training set used for early stopping."""
    noisy_copies: NonNegativeInt = 0
    """Number of noisier copies of each spectrum to train on as well (not in the paper)."""
    instruments: InstrumentSettings = InstrumentSettings()
    """How far the instruments differ for which the copies stand (not in the paper)."""
    labels: Literal["parallax", "truth"] = "parallax"
    """What the networks learn from: parallaxes, or the true distances of a mock survey. The latter shows how precise
    magnitudes from such spectra and colours can be at best."""
    n_seeds: PositiveInt = 4
    """Number of networks with different random seeds."""
