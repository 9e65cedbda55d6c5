"""What the survey's own stars say of their density: a prior fitted to all predicted distributions at once.

The model. A star has an absolute magnitude M, a distance modulus mu and so the magnitude m = M + mu. The survey holds

    f(M, m) = phi(M) S(m) rho(m - M)

stars of each: a luminosity function, a selection by apparent magnitude and a density over distance modulus. A network
learns P(M | spectrum) from stars of all m together, so its prior is P(M) = phi(M) V(M), where V(M), the sum of
S(m) rho(m - M) over m, is the effective volume in which such stars are seen. Given the spectrum and m, the
distribution is therefore

    P(M | spectrum, m) ~ P(M | spectrum) rho(m - M) / V(M) ,

in which S(m), a constant at given m, and phi(M) cancel. A steeper phi with a flatter rho and another S gives the same
f, and the same posterior: only the curvature of ln rho counts, such as a break of the halo or the end of a disc. If rho
is one power law of the distance, the posterior is what the network says.

The fit. Expectation and maximisation: every star's distribution under the current f is added to counts of (M, m), and
f is fitted to these as a Poisson regression of three additive terms, ln phi, ln S and ln rho, each smooth (the
age-period-cohort model of epidemiology). With a given density ln rho is fixed, and phi and S alone are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.linalg import block_diag
from scipy.sparse import csr_matrix
from scipy.special import logsumexp, ndtr

from specdis.arrays import Array, Float64, Int64, ranges
from specdis.jaxed import jnp
from specdis.network.mixture import Mixture
from specdis.prior.laws import Density, DensityTable, Law
from specdis.prior.settings import PriorSettings

_STEP = 0.2
"""Of the grids in M, m and modulus, mag."""
_BRIGHTEST, _FAINTEST = -8.0, 18.0
"""Ends of the grid in M, mag; what is beyond counts at the end."""
_ROUNDS, _NEWTON_STEPS = 100, 8
_CONVERGED = 1e-5
"""Gain of the mean logarithm of the likelihood per star, below which the fit ends."""
_RIDGE = 1e-3
"""Decides between the equal solutions, and holds terms without stars."""
_REACH = 10.0
"""How far a density continues beyond the grid, mag."""
_DIRECTIONS = 1000
FEWEST_STARS = 300
"""Stars without which no prior is fitted."""
_BLOCK = 4096


class Prior(NamedTuple):
    """What turns a predicted distribution of a star of known magnitude into its posterior.

    Parameters
    ----------
    density
        Density of stars along the line of sight.
    magnitude
        Absolute magnitudes, increasing, shape (node,).
    log_volume
        ln of the effective volume of the survey for stars of these, shape (node,): the part of the network's own
        prior that depends on distances.
    """

    density: Density
    magnitude: Array
    log_volume: Array

    def arrays(self) -> dict[str, Array]:
        """Return the arrays to save: `of` is the inverse."""
        table = self.density._asdict() if isinstance(self.density, DensityTable) else {}
        return {"magnitude": self.magnitude, "log_volume": self.log_volume, **table}

    @classmethod
    def of(cls, arrays: Mapping[str, Array], settings: PriorSettings) -> Prior:
        """Return a prior that was saved as `arrays`, with the law that the settings name."""
        density = given_density(settings) or DensityTable(arrays["modulus"], arrays["log_density"])
        return cls(density, arrays["magnitude"], arrays["log_volume"])

    def is_sound(self) -> bool:
        """Tell whether the tables are increasing, finite and of one length."""
        tables = [(self.magnitude, self.log_volume)]
        if isinstance(self.density, DensityTable):
            tables.append((self.density.modulus, self.density.log_density))
        return all(
            np.ndim(place) == 1
            and np.shape(place) == np.shape(value)
            and len(place) > 1
            and place.dtype.kind == value.dtype.kind == "f"
            and bool(np.isfinite(place).all() and np.isfinite(value).all() and (np.diff(place) > 0).all())
            for place, value in tables
        )


def fit_prior(
    mixture: Mixture, magnitude: Float64, direction: Array, smoothness: float, density: Density | None = None
) -> Prior:
    """Fit a prior to the predicted distributions of a survey's stars.

    Parameters
    ----------
    mixture
        Predicted distributions, shape (star, component).
    magnitude
        Extinction-corrected G magnitudes, shape (star,).
    direction
        Their Galactic unit vectors, shape (star, 3).
    smoothness
        Penalty on the curvature of ln phi, ln S and ln rho.
    density
        Given density; None fits it.
    """
    order = np.argsort(magnitude, kind="stable")
    magnitude = magnitude[order]
    nodes = np.arange(_BRIGHTEST, _FAINTEST + _STEP / 2, _STEP)
    first, last = np.floor(magnitude[0] / _STEP), np.ceil(magnitude[-1] / _STEP)
    apparent = np.arange(first, last + 1) * _STEP
    column = np.rint((magnitude - apparent[0]) / _STEP).astype(np.int64)
    modulus = np.arange(len(apparent) + len(nodes) - 1) * _STEP + apparent[0] - nodes[-1]
    fixed = None if density is None else _mean_density(density, modulus, direction)
    model = _Separable(len(nodes), len(apparent), smoothness, fixed)
    _expect_and_maximise(model, _cell_masses(mixture, nodes)[order], column)
    log_rho = model.log_rho
    terms = model.log_selection[None] + log_rho[model.diagonal]
    log_volume = logsumexp(terms, axis=1)
    seen = np.isfinite(log_volume)
    # Where no star can be seen any number does: the density is zero.
    log_volume = np.where(seen, log_volume, log_volume[seen].max())
    return Prior(_continued(modulus, log_rho) if density is None else density, nodes, log_volume)


def prior_of(mixture: Mixture, magnitude: Float64, direction: Array, settings: PriorSettings) -> Prior:
    """Return the prior that a configuration names for a survey's stars; the others as of `fit_prior`."""
    return fit_prior(mixture, magnitude, direction, settings.smoothness, given_density(settings))


def given_density(settings: PriorSettings) -> Law | None:
    """Return the law that a configuration names; None if the density is to be fitted."""
    return Law(settings, settings.kind == "disc-halo") if settings.kind in ("halo", "disc-halo") else None


def _cell_masses(mixture: Mixture, nodes: Float64) -> Array:
    """Return the share of each distribution around each node, shape (star, node)."""
    edges = np.concatenate([[-np.inf], 0.5 * (nodes[1:] + nodes[:-1]), [np.inf]])
    masses = np.empty((len(mixture.mean), len(nodes)), np.float32)
    for rows in ranges(len(masses), _BLOCK):
        weight, mean, sigma = (np.asarray(values[rows], np.float64)[..., None] for values in mixture)
        masses[rows] = (np.exp(weight) * np.diff(ndtr((edges - mean) / sigma), axis=-1)).sum(1)
    return masses


def _expect_and_maximise(model: _Separable, masses: Array, column: Int64) -> None:
    """Fit the model to stars in the order of their columns, until it no longer changes."""
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    counts = np.zeros(model.shape)
    posterior, last = masses, -np.inf
    for _ in range(_ROUNDS):
        counts[:, column[starts]] = np.add.reduceat(posterior, starts, axis=0, dtype=np.float64).T
        model.fit(counts)
        posterior = masses * model.tilt()[:, column].T.astype(np.float32)
        share = posterior.sum(1, keepdims=True)
        posterior /= np.maximum(share, np.finfo(np.float32).tiny)
        gain = float(np.log(np.maximum(share, 1e-30)).mean(dtype=np.float64))
        if gain - last < _CONVERGED:
            break
        last = gain


class _Separable:
    """The Poisson model phi(M) S(m) rho(m - M) of counts, and its fit by Newton's method.

    Parameters
    ----------
    magnitudes, apparent
        Numbers of cells in M and m.
    smoothness
        Penalty on the squared second differences of each term.
    log_rho
        ln rho at the moduli, if it is given.
    """

    def __init__(self, magnitudes: int, apparent: int, smoothness: float, log_rho: Float64 | None) -> None:
        self.shape = magnitudes, apparent
        self.diagonal = np.arange(apparent) - np.arange(magnitudes)[:, None] + magnitudes - 1
        self._given = log_rho
        rows, columns = np.indices(self.shape)
        terms = [rows.ravel(), columns.ravel()]
        sizes = [magnitudes, apparent]
        if log_rho is None:
            terms.append(self.diagonal.ravel())
            sizes.append(magnitudes + apparent - 1)
        cells = rows.size
        self._starts = np.cumsum([0, *sizes])
        place = np.concatenate([index + start for index, start in zip(terms, self._starts)])
        one = np.ones(len(place))
        self._design = csr_matrix((one, (np.tile(np.arange(cells), len(terms)), place)))
        self._offset = np.zeros(cells) if log_rho is None else log_rho[self.diagonal].ravel()
        curvature = block_diag(*(np.diff(np.eye(size), 2, axis=0) for size in sizes))
        self._penalty = smoothness * curvature.T @ curvature + _RIDGE * np.eye(self._starts[-1])
        self._terms: Float64 | None = None

    def fit(self, counts: Float64) -> None:
        """Fit the terms to counts, shape (magnitude, apparent), from where they are."""
        found = counts.ravel()
        if self._terms is None:
            self._terms = np.zeros(self._starts[-1])
            self._terms[: self.shape[0]] = np.log((counts.sum(1) + 1) / self.shape[1])
            reach = np.exp(self._offset - self._offset.max())
            self._terms[: self.shape[0]] -= np.log(reach.mean()) + self._offset.max()
        value = self._objective(self._terms, found)
        for _ in range(_NEWTON_STEPS):
            expected = np.exp(self._log(self._terms))
            slope = self._design.T @ (expected - found) + self._penalty @ self._terms
            curvature = (self._design.T @ self._design.multiply(expected[:, None])).toarray() + self._penalty
            step = np.linalg.solve(curvature, slope)
            length = 1.0
            while (reached := self._objective(self._terms - length * step, found)) > value and length > 1e-3:
                length /= 2
            if reached >= value:
                break
            self._terms, value = self._terms - length * step, reached

    def _log(self, terms: Float64) -> Float64:
        return np.asarray(np.minimum(self._design @ terms + self._offset, 50))

    def _objective(self, terms: Float64, found: Float64) -> float:
        log = self._log(terms)
        return float(np.exp(log).sum() - found @ np.maximum(log, -1e4) + 0.5 * terms @ self._penalty @ terms)

    def tilt(self) -> Float64:
        """Return f(M, m) over the product of its two margins, shape (magnitude, apparent)."""
        assert self._terms is not None
        expected = np.exp(self._log(self._terms)).reshape(self.shape)
        rows, columns = expected.sum(1, keepdims=True), expected.sum(0, keepdims=True)
        whole = np.maximum(rows * columns, np.finfo(np.float64).tiny)
        return np.asarray(expected * expected.sum() / whole)

    @property
    def log_selection(self) -> Float64:
        """Ln S at the cells of m."""
        assert self._terms is not None
        return self._terms[self._starts[1] : self._starts[2]]

    @property
    def log_rho(self) -> Float64:
        """Ln rho at the moduli."""
        if self._given is not None:
            return self._given
        assert self._terms is not None
        return self._terms[self._starts[2] :]


def _mean_density(density: Density, modulus: Float64, direction: Array) -> Float64:
    """Return ln of a density averaged over the lines of sight of a survey, shape (node,)."""
    some = direction[:: max(1, len(direction) // _DIRECTIONS)]
    along = jnp.broadcast_to(jnp.asarray(modulus), (len(some), len(modulus)))
    found = np.asarray(density(along, jnp.asarray(some)), np.float64)
    return np.asarray(logsumexp(found, axis=0) - np.log(len(some)))


def _continued(modulus: Float64, log_rho: Float64) -> DensityTable:
    """Return a fitted density that continues as a power law of the distance at both ends."""
    rise = [(log_rho[1] - log_rho[0]) / _STEP, (log_rho[-1] - log_rho[-2]) / _STEP]
    ends = [log_rho[0] - _REACH * rise[0]], [log_rho[-1] + _REACH * rise[1]]
    return DensityTable(
        np.concatenate([[modulus[0] - _REACH], modulus, [modulus[-1] + _REACH]]),
        np.concatenate([ends[0], log_rho, ends[1]]),
    )
