"""The catalogue (Table 1): its columns, writing, reading and verifying it."""

from specdis.catalogue.build import BINARIES_COLUMNS, DISTANCES_COLUMNS, SAMPLE_COLUMNS, build
from specdis.catalogue.columns import COLUMNS, OPTIONAL, Column
from specdis.catalogue.files import as_table, read_catalogue, read_columns, require_ending, write_catalogue, write_file
from specdis.catalogue.header import Cards, header_cards, prior_card
from specdis.catalogue.verification import Problem, Verification, verify_catalogue

__all__ = [
    "BINARIES_COLUMNS",
    "COLUMNS",
    "DISTANCES_COLUMNS",
    "OPTIONAL",
    "SAMPLE_COLUMNS",
    "Cards",
    "Column",
    "Problem",
    "Verification",
    "as_table",
    "build",
    "header_cards",
    "prior_card",
    "read_catalogue",
    "read_columns",
    "require_ending",
    "verify_catalogue",
    "write_catalogue",
    "write_file",
]
