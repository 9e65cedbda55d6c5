"""Section [training] (section 3.2 of the paper)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from specdis.settings import Settings


class TrainingSettings(Settings):
    """Section [training]: section 3.2 of the paper, and choices that it leaves open."""

    loss: Literal["chi2", "robust"] = "chi2"
    """Loss of the label networks, which fill the columns _CHI2: the chi-square in parallax (Eq. 4), or its robust
    version for parallaxes of very high S/N. The loss of mixture networks is always that of Eq. 8."""
    huber: PositiveFloat = 5.0
    """Residual, in sigma, beyond which the robust loss grows linearly; not allowed with another loss."""
    intrinsic_scatter: NonNegativeFloat = 0.0
    """Scatter of the label at given spectrum, as a fraction of it, that the robust loss adds to the parallax error; not
    allowed with another loss."""
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
    inner_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Fraction of the training set used for early stopping."""
    noisy_copies: NonNegativeInt = 0
    """Number of noisier copies of each spectrum to train on as well (not in the paper)."""
    n_seeds: PositiveInt = 4
    """Number of networks with different random seeds."""

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
