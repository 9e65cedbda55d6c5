"""Section [catalogue]: what the catalogue holds on request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from specdis.settings import Settings


class CatalogueSettings(Settings):
    """Section [catalogue]: what the catalogue holds on request."""

    released_draws: Annotated[int, Field(ge=0, le=1000)] = 0
    """Random distance moduli of each star from its posterior, the column DISTMOD_POST_DRAWS; 0 for none."""
