"""JAX as the whole package uses it: import it from here, with 64 bits switched on, once."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from specdis.errors import ConfigError

__all__ = ["ArrayLike", "Device", "jax", "jnp", "use"]

jax.config.update("jax_enable_x64", True)  # type: ignore[no-untyped-call]

Device = Literal["auto", "cpu", "gpu"]


def use(device: Device) -> None:
    """Send computations to a device; `auto` takes a GPU where JAX sees one.

    Raises
    ------
    ConfigError
        When a GPU is asked for and JAX sees none.
    """
    if device == "auto":
        return
    try:
        jax.config.update("jax_default_device", jax.devices(device)[0])  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ConfigError(
            f"run.device is {device!r}, but JAX finds none ({error}). Install specdis[cuda] or set run.device = 'cpu'."
        ) from error
