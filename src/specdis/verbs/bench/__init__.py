"""Benchmark of the stages against the limit of this machine and against a plain implementation.

Rates are those of the passes, without single tasks such as compilation and the decomposition into components. Limits
follow the roofline model: a stage cannot be faster than its matrix products, its bytes through memory and its bytes
from disk allow, each at the rate that this machine reached in the same minutes.
"""

from specdis.verbs.bench.cases import Rate, measure_rates

__all__ = ["Rate", "measure_rates"]
