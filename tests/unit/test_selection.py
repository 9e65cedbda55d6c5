"""The catalogue as the stage `sample` reads it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from specdis.pipeline.stages.sample import survey_rows
from specdis.surveys import Stars


def test_rows_come_in_file_order_whoever_is_first_with_them():
    survey = SimpleNamespace(
        parts=lambda: iter(np.split(np.arange(70), 7)), part=lambda rows: Stars({"TARGETID": rows})
    )

    def each(task, blocks, *, may_kill):
        assert may_kill
        listed = list(blocks)
        return [(listed[k], task(listed[k])) for k in (3, 0, 6, 1, 2, 5, 4)]

    context = SimpleNamespace(
        config=None, opener=lambda config: survey, survey=lambda: survey, workers=SimpleNamespace(each=each)
    )
    parts = list(survey_rows(context))
    assert len(parts) == 7
    np.testing.assert_array_equal(Stars.concatenate(parts)["TARGETID"], np.arange(70))
