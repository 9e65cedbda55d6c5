"""From stored pixels to components: the stage `components`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import zarr

from specdis import accelerator, streams
from specdis.accelerator import jax
from specdis.arrays import Array, Float32
from specdis.components import Basis, Encoded, Moments, encoder
from specdis.distances import star_keys
from specdis.log import Progress
from specdis.model import basis_arrays
from specdis.noise import native_places, noisier
from specdis.pipeline.pixels import PixelStore, create_array
from specdis.pipeline.stage import Context, Outcome
from specdis.spectra import Transform
from specdis.storage import atomic, read_table, write_arrays
from specdis.surveys import IDENTIFIER

_LEAST_COPIED = 8.0  # S/N of stars that get a noisier copy


def components(context: Context) -> Outcome:
    """Find the principal components of the selected stars and the coefficients of all (section 3.1)."""
    accelerator.use(context.config.run.device)
    store = PixelStore.open(context.paths.pixels)
    transform = store.transform(context.config.spectra)
    progress = Progress("components", 2 * len(store))
    basis, n_stars = _basis(context, store, transform, progress)
    write_arrays(context.paths.basis, context.provenance("basis"), basis_arrays(basis))
    with atomic(context.paths.coefficients) as temporary:
        group = zarr.create_group(temporary)
        group.attrs["provenance"] = context.provenance("coefficients").to_dict()
        arrays = {
            "coefficients": create_array(group, "coefficients", (len(store), basis.n_components), np.float32),
            **{name: create_array(group, name, (len(store),), np.float32) for name in ("residual", "chi2", "bad")},
        }
        encode = encoder(transform, basis)
        copies = None
        if context.config.training.noisy_copies:
            copies = _copies(context, store, encode)
            arrays["copies"] = create_array(group, "copies", (len(store), basis.n_components), np.float32)
        for rows in store.blocks():
            flux, sigma, bad = store.read(rows)
            found = {**encode(flux, sigma, bad)._asdict(), "bad": bad[:, transform.kept].mean(1)}
            if copies is not None:
                found["copies"] = copies(rows, flux, sigma, bad)
            for name, column in arrays.items():
                column[rows] = np.asarray(found[name], np.float32)
            progress.advance(rows.stop - rows.start)
    progress.close()
    return Outcome(len(store), notes={"explained": basis.explained, "stars_in_basis": n_stars})


def _copies(
    context: Context, store: PixelStore, encode: Callable[..., Encoded]
) -> Callable[[slice, Array, Array, Array], Float32]:
    """Return what makes the coefficients of noisier copies of a block of stars; NaN for stars not to be copied.

    These are stars that none is trained on, have no errors, or are so noisy that a copy would say nothing.
    """
    settings, seed = context.config.spectra, context.config.run.seed
    stars = read_table(context.paths.sample, [*IDENTIFIER, "TRAINABLE", "SN"])
    identifier = [stars[name] for name in IDENTIFIER]
    wanted = stars["TRAINABLE"] & ~(stars["SN"] < _LEAST_COPIED)
    keys = star_keys(seed, *identifier, purpose="copies")
    chance = streams.uniform(streams.stream(seed, "noise of copies"), *identifier)
    grid, velocity = store.grid, store.velocity
    copy = noisier(grid, settings)

    def of_block(rows: slice, flux: Array, sigma: Array, bad: Array) -> Float32:
        places = native_places(grid, velocity[rows], settings.continuum_half)
        noisy = copy(flux, sigma, bad, places, keys[rows], chance[rows])
        copied = wanted[rows] & ((sigma > 0) & ~bad).any(1)
        return np.where(copied[:, None], np.asarray(encode(noisy, sigma, bad).coefficients), np.float32(np.nan))

    return of_block


def _basis(context: Context, store: PixelStore, transform: Transform, progress: Progress) -> tuple[Basis, int]:
    """Return the principal components of the selected stars that have a spectrum, and the number of these stars."""
    selected = read_table(context.paths.sample, ["SELECTED"])["SELECTED"]
    unit = jax.jit(lambda flux, bad: transform(flux, bad))
    moments = Moments(len(transform.kept))
    for rows in store.blocks():
        flux, bad = store.read_flux(rows)
        use = selected[rows] & ~bad[:, transform.kept].all(1)
        moments.add(np.asarray(unit(flux, bad))[use])
        progress.advance(rows.stop - rows.start)
    return moments.basis(context.config.components), moments.n_stars
