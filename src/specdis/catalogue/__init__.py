"""The catalogue (Table 1): its columns, writing, reading and verifying it."""

from specdis.catalogue.build import DISTANCES_COLUMNS, SAMPLE_COLUMNS, build
from specdis.catalogue.columns import COLUMNS, Column
from specdis.catalogue.files import read_catalogue, read_columns, write, write_file
from specdis.catalogue.header import Cards
from specdis.catalogue.verification import Problem, Verification, verify

__all__ = [
    "COLUMNS",
    "DISTANCES_COLUMNS",
    "SAMPLE_COLUMNS",
    "Cards",
    "Column",
    "Problem",
    "Verification",
    "build",
    "read_catalogue",
    "read_columns",
    "verify",
    "write",
    "write_file",
]
