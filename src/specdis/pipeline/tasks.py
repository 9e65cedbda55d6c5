"""Common parts of tasks: files that are opened once in every process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from specdis import jaxed, rng
from specdis.arrays import Array, Float32, Float64, Int64, ranges
from specdis.colours import Bands, Colours
from specdis.errors import InputError
from specdis.jaxed import jnp
from specdis.network.ensemble import Networks
from specdis.network.inputs import NetworkInputs
from specdis.network.nuisances import NUISANCE_COLUMNS
from specdis.noise import noise_factor
from specdis.pipeline.stage import Context
from specdis.spectra.transform import Transform
from specdis.storage import column_names, read_table
from specdis.stores.paths import RunPaths
from specdis.stores.pixels import PixelStore
from specdis.surveys import IDENTIFIER, Survey

if TYPE_CHECKING:
    from specdis.pipeline.config import Config


@dataclass(frozen=True)
class OnSurvey:
    """Opens the survey, once in every process."""

    config: Config
    opener: Callable[[Config], Survey]

    @cached_property
    def survey(self) -> Survey:
        """The open survey."""
        return self.opener(self.config)


@dataclass(frozen=True)
class OnPixels:
    """Base of tasks on stored pixels; files are opened once in every process."""

    config: Config

    @cached_property
    def paths(self) -> RunPaths:
        """The paths of the run."""
        return RunPaths(self.config.run.directory)

    @cached_property
    def store(self) -> PixelStore:
        """The stored pixels."""
        jaxed.use(self.config.run.device)
        return PixelStore.open(self.paths.pixels)

    @cached_property
    def transform(self) -> Transform:
        """The transform of the pixels."""
        return self.store.transform(self.config.spectra)


def read_sample(context: Context, names: Iterable[str]) -> dict[str, Array]:
    """Read columns of the sample, and those of which the networks' colours are made.

    A band that the survey lacks is missing for all of its stars.

    Raises
    ------
    InputError
        When the survey lacks a column that is a colour of its own.
    """
    colours = Colours(context.config.network.colours)
    known = column_names(context.paths.sample)
    if lacking := [name for name in colours.names if name in colours.measured and name not in known]:
        raise InputError(
            "the survey's stars",
            expected=f"columns {', '.join(lacking)}, since network.colours = {list(colours.names)}",
            found="none of that name",
            remedy="Add the columns to the survey's table, or leave the colour out.",
        )
    present = (name for name in colours.columns if name in known)
    return read_table(context.paths.sample, [*dict.fromkeys((*names, *present))])


def anchor_names(context: Context, place: Literal["training", "calibration"]) -> tuple[str, ...]:
    """Return the columns of anchors in a sample, none where the configuration does not use them in this place."""
    used = context.config.anchors.use in (place, "both")
    return ("ANCHOR_DISTMOD", "ANCHOR_DISTMOD_ERR", "A_G_ERR") if used else ()


def read_corrected(context: Context, names: Iterable[str], networks: Networks) -> dict[str, Array]:
    """Read columns of the sample as `read_sample`, the parallaxes without the nuisances that the networks found."""
    return networks.corrected(read_sample(context, (*names, *NUISANCE_COLUMNS)))


def bands_of(context: Context, stars: Mapping[str, Array]) -> Bands:
    """Return the dereddened magnitudes of the networks' colours, of the columns of `read_sample`."""
    return Colours(context.config.network.colours).of(stars, context.config.photometry)


def fill_inputs(context: Context, seen: NetworkInputs, rows: Int64, bands: Bands, into: Float32) -> Bands:
    """Fill in the networks' inputs of some rows of the sample, block by block.

    Parameters
    ----------
    context
        The stage's.
    seen
        What the networks see.
    rows
        The rows, in increasing order.
    bands
        Bands of the whole sample.
    into
        Array to be filled, shape (row, input).

    Returns
    -------
    Bands
        Bands of the rows, without those of colours that do not fit the spectra.
    """
    store = context.coefficients
    scaled, features = into[:, : store.n_components], into[:, store.n_components :]
    store.inputs(rows, into=scaled)
    known = [np.zeros((0, bands.known.shape[1]), np.bool_)]
    for block in ranges(len(rows), _AT_ONCE):
        found = seen.sound(jnp.asarray(scaled[block]), bands.take(rows[block]))
        known.append(np.asarray(found.known))
        if seen.n_features:
            features[block] = seen.features(found)
    return bands.take(rows)._replace(known=np.concatenate(known))


_AT_ONCE = 1 << 16


def copies_factor(seed: int, number: int, stars: Mapping[str, Array]) -> Float64:
    """Return what the noise of the noisier copies of a number is multiplied by, (star,), from SN and the identifier."""
    chance = rng.uniform(rng.stream(seed, f"noise of copies {number}"), *(stars[name] for name in IDENTIFIER))
    return noise_factor(stars["SN"], chance)


def trainable(context: Context) -> Int64:
    """Return the rows of the stars that may be trained on and have a spectrum."""
    return context.coefficients.with_spectrum(read_table(context.paths.sample, ["TRAINABLE"])["TRAINABLE"])
