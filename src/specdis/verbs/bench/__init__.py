"""How fast each stage is, against what this machine could do and against the version that one would write first.

Rates are those of the passes themselves: what is done once, compiling and the decomposition into components, is left
out. Limits are those of the roofline: no stage can be faster than its products of matrices allow, the bytes it moves
through memory, and those it reads from the disk, each at the rate that this machine reached in the same minutes.
"""

from specdis.verbs.bench.cases import Row, bench

__all__ = ["Row", "bench"]
