"""A mock survey with known truth, in DESI's own file formats."""

from specdis.mock.settings import MockSettings

__all__ = ["MockSettings"]
