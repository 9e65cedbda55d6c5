"""Likelihood and prior apart: posterior distances under a density of stars."""

from specdis.prior.laws import Density, DensityTable, Law, galactic_direction
from specdis.prior.population import FEWEST_STARS, Prior, fit_prior, given_density, prior_of
from specdis.prior.quantiles import POSTERIOR_COLUMNS, Observed, Posterior, mixture_of
from specdis.prior.settings import PriorKind, PriorSettings

__all__ = [
    "FEWEST_STARS",
    "POSTERIOR_COLUMNS",
    "Density",
    "DensityTable",
    "Law",
    "Observed",
    "Posterior",
    "Prior",
    "PriorKind",
    "PriorSettings",
    "fit_prior",
    "galactic_direction",
    "given_density",
    "mixture_of",
    "prior_of",
]
