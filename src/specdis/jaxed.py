"""JAX as the whole package uses it: import it from here, with 64 bits switched on, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from specdis.errors import ConfigError

__all__ = ["ArrayLike", "Device", "in_tiles", "jax", "jnp", "on_gpu", "use"]

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


def on_gpu() -> bool:
    """Tell whether computations go to a GPU."""
    (device,) = jnp.zeros(()).devices()
    return bool(device.platform != "cpu")


def in_tiles(one: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of many stars that does a few at a time what `one` does of one star.

    On a CPU whatever is computed on the way stays in the cache, and on no device is there ever more of it than of a
    tile. The stars are on the first axis of every argument and of every result.
    """
    return lambda *stars: jax.lax.map(lambda star: one(*star), stars, batch_size=_TILE)


_TILE = 8
