"""The stage `catalogue`: join sample, distances and binaries into Table 1 of the paper."""

from __future__ import annotations

import numpy as np

from specdis import catalogue
from specdis.catalogue import BINARIES_COLUMNS, DISTANCES_COLUMNS, SAMPLE_COLUMNS
from specdis.model.files import load_model
from specdis.network.nuisances import NUISANCE_COLUMNS
from specdis.pipeline.stage import Context, Outcome
from specdis.prior.stars import DRAWS_COLUMN, random_moduli
from specdis.storage import read_table


def run(context: Context) -> Outcome:
    """Join sample, distances and binaries into Table 1."""
    model, names = load_model(context.paths.model), dict.fromkeys((*SAMPLE_COLUMNS, *NUISANCE_COLUMNS))
    columns = catalogue.build(
        model.networks.corrected(read_table(context.paths.sample, [*names])),
        read_table(context.paths.distances, DISTANCES_COLUMNS),
        read_table(context.paths.binaries, BINARIES_COLUMNS),
    )
    config = context.config
    if number := config.catalogue.released_draws:
        found = model.posterior_in(columns)
        nothing = np.full((len(columns["TARGETID"]), number), np.nan, np.float16)
        columns[DRAWS_COLUMN] = nothing if found is None else random_moduli(*found, columns, number, config.run.seed)
    header = catalogue.header_cards(config.photometry.ebv_scale, config.network, config.gaia, config.prior.kind)
    catalogue.write_catalogue(context.paths.catalogue, columns, context.provenance("catalogue"), header)
    return Outcome(len(columns["TARGETID"]))
