"""Section 2.3: selection of stars, of the training set, and the split.

Rows are cut block by block, each cut with a name, so that rows in = rows selected + rows counted by name. Then each
Gaia star keeps its best spectrum. A hash of the star decides its side of the split, for any blocks and order.
"""

from specdis.sample.cuts import Cut, CutFlow, CutLine, cuts
from specdis.sample.selection import Sample, choose, repeats, select
from specdis.sample.settings import SampleSettings
from specdis.sample.split import is_trainable
from specdis.sample.trained import TrainedStars

__all__ = [
    "Cut",
    "CutFlow",
    "CutLine",
    "Sample",
    "SampleSettings",
    "TrainedStars",
    "choose",
    "cuts",
    "is_trainable",
    "repeats",
    "select",
]
