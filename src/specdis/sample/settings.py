"""The section `[sample]` of the configuration."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from specdis.settings import Settings


def _limit(value: Any) -> Any:
    if value != "none" and (isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value)):
        raise ValueError('expected a number, or "none" to switch the cut off')
    return value


def _bits(value: Any) -> Any:
    if value != "none" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError('expected a whole number from 0, or "none" to switch the cut off')
    return value


def _names(value: Any) -> Any:
    listed = isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value)
    if value != "none" and not listed:
        raise ValueError('expected a list of names such as ["bright", "backup"], or "none" to switch the cut off')
    return tuple(value) if listed else value


Limit = Annotated[float | Literal["none"], BeforeValidator(_limit)]
Bits = Annotated[int | Literal["none"], BeforeValidator(_bits)]
Names = Annotated[tuple[str, ...] | Literal["none"], BeforeValidator(_names)]


class SampleSettings(Settings):
    """`[sample]`: the cuts, which "none" or false switches off, and the split."""

    alternatives = ("train_fraction", "n_folds", "fold_column")

    surveys: Names = ("main",)
    """DESI surveys kept, by SURVEY."""
    programs: Names = ("bright", "backup")
    """DESI programmes kept, by PROGRAM."""
    feh_min: Limit = -3.9
    """[Fe/H] above which stars are kept."""
    ebv_max: Limit = 0.5
    """E(B-V) below which stars are kept, as the survey's file gives it, before `photometry.ebv_scale`."""
    rvs_warn: Bits = 0
    """Bits of RVS_WARN that are tolerated: 0 keeps only fits without any warning."""
    ruwe_max: Limit = 1.2
    """Gaia's RUWE below which stars are kept."""
    exclude_variable: bool = Field(True, strict=True)
    """Whether stars that Gaia calls VARIABLE are cut."""
    n_folds: int | None = Field(None, ge=2, le=1000, strict=True)
    """Cross-fitting: number of folds; each star is predicted by networks that were not trained on it."""
    fold_column: str | None = Field(None, min_length=1)
    """Cross-fitting by a column of whole numbers of the survey; stars with a negative fold are not trained on."""
    train_fraction: float | None = Field(None, gt=0, lt=1, strict=True, validate_default=True)
    """Fraction of the stars to train on, the others for tests: 0.8 unless `n_folds` or `fold_column` is given."""
    train_parallax_snr_min: float | None = Field(None, strict=True)
    """Ablation: train only on stars with a corrected parallax of at least this many published errors."""
    train_drop_negative: bool = Field(False, strict=True)
    """Ablation: train only on stars with a positive corrected parallax."""
    predict_outside: bool | None = Field(None, strict=True)
    """Whether rows outside the cuts are predicted too, with a flag; by default the survey decides."""

    @field_validator("train_fraction")
    @classmethod
    def _unless_folds(cls, value: float | None, others: ValidationInfo) -> float | None:
        folds = others.data.get("n_folds"), others.data.get("fold_column")
        return 0.8 if value is None and folds == (None, None) else value

    @model_validator(mode="after")
    def _one_split(self) -> SampleSettings:
        given = [name for name in self.alternatives if getattr(self, name) is not None]
        if len(given) != 1:
            splits = ", ".join(self.alternatives)
            raise ValueError(f"expected one of {splits}, found {' and '.join(given) or 'none of them'}")
        return self
