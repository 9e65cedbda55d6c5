"""Which stars the components are made of."""

from __future__ import annotations

import numpy as np
import pytest

from specdis.pipeline.stages.components import SUMMED, spread


def test_all_stars_are_there_once():
    blocks = spread(10 * SUMMED + 5, None)
    np.testing.assert_array_equal(np.concatenate([np.r_[rows] for rows in blocks]), np.arange(10 * SUMMED + 5))


@pytest.mark.parametrize("wanted", [1, 3, 40, 99, 100])
def test_some_are_spread_evenly(wanted):
    starts = np.array([rows.start for rows in spread(100 * SUMMED, wanted * SUMMED + 7)]) / SUMMED
    assert len(starts) == wanted
    # Every block lies within half a block of where an even spread has it.
    np.testing.assert_allclose(starts, np.linspace(0, 99, wanted), rtol=0, atol=0.5)


def test_more_than_there_are_is_all():
    assert spread(3 * SUMMED, 10**9) == spread(3 * SUMMED, None)
    assert spread(SUMMED // 2, 1) == [slice(0, SUMMED // 2)]
