"""The store of coefficients of every star's spectrum and of its noisier copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from specdis.arrays import Array, Bool, Float32, Float64, Int64, aligned_empty, ranges
from specdis.components import Basis
from specdis.encoding.encoder import Encoded, Fit
from specdis.jaxed import jax, jnp
from specdis.storage import Provenance
from specdis.stores.identity import require_identity
from specdis.stores.zarr import BLOCK, array, create_array, keep_array, open_group, read_store_rows, values, write_rows


class CoefficientStore:
    """Coefficients of a run's stars (C of Eq. 2).

    Parameters
    ----------
    group
        The open store.
    """

    def __init__(self, group: zarr.Group) -> None:
        self._group = group

    @classmethod
    def create(cls, path: Path, identity: Array, basis: Basis, copies: int, provenance: Provenance) -> CoefficientStore:
        """Make an empty store.

        Parameters
        ----------
        path
            Where.
        identity
            Identity of the sample's rows, shape (star,).
        basis
            The components.
        copies
            Noisier copies of each star.
        provenance
            Origin of the store.
        """
        group = zarr.create_group(path, overwrite=True)
        group.attrs["provenance"] = provenance.to_dict()
        stars = len(identity)
        keep_array(group, "identity", identity)
        keep_array(group, "scale", np.asarray([basis.scale]))
        create_array(group, "coefficients", (stars, basis.n_components), np.float32)
        if copies:
            create_array(group, "copies", (stars, copies, basis.n_components), np.float32)
            for name in Fit._fields:
                create_array(group, f"copies_{name}", (stars, copies), np.float32)
        for name in (*Fit._fields, "fraction_bad"):
            create_array(group, name, (stars,), np.float32)
        for name in ("pixel_noise", "shrink"):
            create_array(group, name, (stars,), np.float64)
        return cls(group)

    @classmethod
    def open(cls, path: Path, identity: Array | None = None, *, writable: bool = False) -> CoefficientStore:
        """Open a store, finished or from an interrupted run.

        Raises
        ------
        ProductError
            When it is missing or damaged, or its rows differ from those of `identity`.
        """
        store = cls(open_group(path, "coefficients", writable=writable))
        if identity is not None:
            require_identity(path, values(store._group, "identity"), identity)
        return store

    def __len__(self) -> int:
        return int(array(self._group, "coefficients").shape[0])

    @property
    def n_components(self) -> int:
        """Length of the coefficients of a star."""
        return int(array(self._group, "coefficients").shape[1])

    @property
    def n_copies(self) -> int:
        """Noisier copies of each star."""
        return int(array(self._group, "copies").shape[1]) if "copies" in self._group else 0

    def write(self, rows: slice, encoded: Encoded, fraction_bad: Float64, copies: Encoded | None) -> None:
        """Write one block of stars, `rows` being one chunk; `copies` have the axes (star, copy)."""
        found = {**encoded._asdict(), **encoded.fit._asdict(), "fraction_bad": fraction_bad}
        del found["fit"]
        if copies is not None:
            found["copies"] = copies.coefficients
            found |= {f"copies_{name}": values for name, values in copies.fit._asdict().items()}
        for name, column in found.items():
            write_rows(self._group, name, rows, np.asarray(column))

    def with_spectrum(self, wanted: Bool) -> Int64:
        """Return the rows of the wanted stars, shape (star,), that have a good pixel."""
        return np.flatnonzero(wanted & (values(self._group, "fraction_bad") < 1))

    def with_copies(self, rows: Int64) -> Int64:
        """Return the rows that have noisier copies."""
        if not self.n_copies:
            return rows[:0]
        blocks = ranges(len(self), BLOCK)
        known: Bool = np.concatenate(
            [np.isfinite(read_store_rows(self._group, "copies", block)[:, 0, 0]) for block in blocks]
        )
        return rows[known[rows]]

    def coefficients(self, rows: slice) -> Float32:
        """Read the coefficients of a block of stars, shape (star, component)."""
        return read_store_rows(self._group, "coefficients", rows)

    def read(self, rows: slice) -> Encoded:
        """Read what a block of stars was encoded to."""

        def column(name: str) -> jax.Array:
            return jnp.asarray(read_store_rows(self._group, name, rows))

        fit = Fit(*map(column, Fit._fields))
        return Encoded(column("coefficients"), fit, column("pixel_noise"), column("shrink"))

    @property
    def scale(self) -> np.float32:
        """Divisor of the coefficients at the input of the networks."""
        return np.float32(values(self._group, "scale")[0])

    def coefficients_of(self, rows: Int64, copy: int | None = None) -> Float32:
        """Return the coefficients of some stars, shape (star, component); arguments as of `inputs`."""
        return self.inputs(rows, copy) * self.scale

    def inputs(self, rows: Int64, copy: int | None = None, into: Float32 | None = None) -> Float32:
        """Return the networks' inputs of some stars, read block by block so that memory holds them once.

        Parameters
        ----------
        rows
            The stars, in increasing order.
        copy
            Number of the noisier copy; None for the spectra themselves.
        into
            Array to be filled, shape (star, component).

        Returns
        -------
        ndarray
            Coefficients over the one scale of the components, shape (star, component).
        """
        inputs = aligned_empty((len(rows), self.n_components), np.float32) if into is None else into
        scale, name = self.scale, "coefficients" if copy is None else "copies"
        for block in ranges(len(self), BLOCK):
            mine = slice(*np.searchsorted(rows, (block.start, block.stop)))
            if mine.start < mine.stop:
                found = read_store_rows(self._group, name, block)[rows[mine] - block.start]
                inputs[mine] = (found if copy is None else found[:, copy]) / scale
        return inputs

    def fit(self, rows: Int64, copy: int | None = None) -> Fit:
        """Return the quality of the reconstruction for some stars, or for their noisier copies of a number."""
        if copy is None:
            return Fit(*(jnp.asarray(values(self._group, name)[rows]) for name in Fit._fields))
        return Fit(*(jnp.asarray(values(self._group, f"copies_{name}")[rows, copy]) for name in Fit._fields))
