"""The verb `posterior`: posterior distances from a catalogue under another density of stars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from specdis import catalogue
from specdis.arrays import Array
from specdis.catalogue.files import locate, read_header
from specdis.errors import ConfigError, InputError
from specdis.prior.settings import PriorKind, PriorSettings
from specdis.prior.stars import posterior
from specdis.references import ReferenceTable
from specdis.storage import Provenance, digest, file_digest

_KINDS = tuple(kind for kind in get_args(PriorKind) if kind != "none")
_TABLE = ("distance_kpc", "density")


def write_posterior(path: Path, prior: str, output: Path, numbers: Mapping[str, Any], draws: int = 0) -> None:
    """Write a catalogue again, with the posterior distances of another prior in the columns _POST.

    Draws of the catalogue's own posterior are left out.

    Parameters
    ----------
    path
        A run, its catalogue, or what `specdis predict` wrote.
    prior
        `fitted`, `halo` or `disc-halo`, or a table with the columns distance_kpc and density.
    output
        The catalogue to write: .fits or .parquet.
    numbers
        Keys of section [prior] to values.
    draws
        How many random distance moduli of each star are written.

    Raises
    ------
    InputError
        When a file cannot be read or written, or the prior is neither a name nor a table.
    ConfigError
        When a key or a value of the section is wrong.
    """
    catalogue.require_ending(output)
    chosen = _prior(prior, numbers)
    file = locate(path)[0]
    header = read_header(file)
    columns = catalogue.read_columns(file, [name for name in catalogue.COLUMNS if name in header.fields])
    found = header.cards.get("SEED", 0)
    seed = found if isinstance(found, int) else 0
    columns |= posterior(columns, chosen, draws, seed)
    named = prior if isinstance(chosen, PriorSettings) else Path(prior).name
    kept = ("EBVSCALE", "NETWORK", "LOSS")
    cards = {name: (header.cards[name], "") for name in kept if name in header.cards}
    made_of = digest([file_digest(file), named, numbers, file_digest(Path(prior)) if named != prior else "", draws])
    provenance = Provenance("catalogue", made_of, seed)
    catalogue.write_file(output, columns, provenance, {**cards, **catalogue.prior_card(named)})


def _prior(prior: str, numbers: Mapping[str, Any]) -> PriorSettings | tuple[Array, Array]:
    """Return the section of a named prior, or the columns of a table."""
    if prior in _KINDS:
        try:
            return PriorSettings.model_validate({**numbers, "kind": prior})
        except ValidationError as error:
            said = "; ".join(f"prior.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            raise ConfigError(f"--set: {said}. The keys are those of section [prior].") from error
    if not Path(prior).exists():
        raise InputError(
            prior,
            expected=f"{', '.join(_KINDS)}, or a table with the columns {' and '.join(_TABLE)}",
            found="no file of this name",
            remedy="Correct --prior.",
        )
    table = ReferenceTable.open(Path(prior), _TABLE).read(_TABLE, required=_TABLE)
    try:
        distance, density = (table[name].astype(float) for name in _TABLE)
    except ValueError as error:
        raise InputError(prior, expected="numbers in both columns", found=str(error), remedy="Correct them.") from error
    return distance, density
