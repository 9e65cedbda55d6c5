"""The stage `sample`: select the stars (section 2.3 of the paper)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from specdis.anchors import anchor_columns, is_anchor
from specdis.errors import InputError
from specdis.log import logger
from specdis.pipeline.inputs import parents, references_of
from specdis.pipeline.manifest import StageFault
from specdis.pipeline.stage import Context, Outcome
from specdis.pipeline.tasks import OnSurvey
from specdis.references import MATCH_COLUMNS, find_members
from specdis.sample import Sample, select
from specdis.storage import write_json, write_table
from specdis.surveys import Stars, Survey
from specdis.surveys.values import say
from specdis.workers.answers import Died


def run(context: Context) -> Outcome:
    """Select the stars (section 2.3)."""
    config, survey = context.config, context.survey()
    stars = map(parents(config), survey_rows(context))
    chosen = select(stars, survey.columns, config.sample, config.photometry, config.run.seed, survey.predicts_every_row)
    faults: list[StageFault] = []
    if config.anchors.use != "none":
        chosen, faults = _with_anchors(context, chosen)
    flow = chosen.cutflow.to_dict()
    say(flow["summary"]["missing_values"])
    if not flow["summary"]["trainable"]:
        raise nothing_to_learn_from(config.survey.place, survey, flow)
    write_table(context.paths.sample, context.provenance("sample"), chosen.stars.columns)
    write_json(context.paths.cutflow, flow)
    return Outcome(flow["summary"]["rows"], faults, flow["summary"])


def _with_anchors(context: Context, sample: Sample) -> tuple[Sample, list[StageFault]]:
    """Find the stars of known distance, and split once more, with each system on one side."""
    config, stars = context.config, sample.stars
    selected = np.flatnonzero(stars["SELECTED"])
    files = references_of(config)
    sought = {name: stars[name][selected] for name in (*MATCH_COLUMNS, "VRAD")}
    found = dict(find_members(files.members(), sought, config.references, config.gaia).columns)
    columns = anchor_columns({**found, "ROW": selected[found["ROW"]]}, len(stars), config.anchors)
    anchors = is_anchor(columns)
    if anchors.any():
        logger.info("sample: %d anchors", anchors.sum())
    else:
        logger.warning(
            "sample: none of %d selected stars is in a list of known distances, although anchors.use = %r: name lists "
            "in [references], or put them into the folder members beside the survey's catalogue",
            *(len(selected), config.anchors.use),
        )
    faults = [
        StageFault(name="unread-reference", place=file.place, message=file.message, stars=0) for file in files.unread
    ]
    again = sample.with_split({**stars.columns, **columns}, config.sample, config.run.seed, anchors=int(anchors.sum()))
    return again, faults


def survey_rows(context: Context) -> Iterator[Stars]:
    """Yield the survey's rows in file order, read by other processes, which a damaged file may kill."""
    config, waiting, following = context.config, dict[int, Stars](), 0
    parts = enumerate(context.survey().parts())
    for (number, _), rows in context.workers.each(ReadRows(config, context.opener), parts, may_kill=True):
        if isinstance(rows, Died):
            raise InputError(
                config.survey.place,
                expected="a file that can be read",
                found=f"a damaged file: {rows.reason}",
                remedy="Copy or download it again.",
            )
        waiting[number] = rows
        while following in waiting:
            yield waiting.pop(following)
            following += 1


def nothing_to_learn_from(place: str, survey: Survey, flow: Mapping[str, Any]) -> InputError:
    """Return the error for a sample without stars to train on."""
    needed = ("PHOT_G_MEAN_MAG", "PARALLAX", "PARALLAX_ERROR")
    lacking = [f"no column {name}" for name in needed if name not in survey.columns]
    lost = [f"{line['cut']:,} cut as {line['name']}" for line in flow["cuts"] if line["cut"]]
    return InputError(
        place,
        expected="stars to train on: selected, with a G magnitude, a parallax and a positive parallax error",
        found=f"none among {flow['summary']['rows']:,} rows ({', '.join(lacking + lost) or 'see [sample]'})",
        remedy="Add what is missing, or loosen [sample]; stars without parallaxes are for `specdis predict`.",
    )


@dataclass(frozen=True)
class ReadRows(OnSurvey):
    """Task: read numbered rows of the catalogue."""

    def __call__(self, part: tuple[int, Any]) -> Stars:
        """Return the rows."""
        return self.survey.part(part[1])
