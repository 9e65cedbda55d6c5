"""The verb `verify`: check a catalogue, a model or a whole run against its sums and rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from specdis import catalogue
from specdis.catalogue import Problem, Verification
from specdis.errors import SpecdisError
from specdis.model.files import CARD, load_model
from specdis.pipeline.manifest import Manifest, ProductSize
from specdis.pipeline.runner import damaged
from specdis.storage import digest, require_plain
from specdis.stores.paths import RunPaths
from specdis.stores.zarr import store_damage


def verify_path(path: Path) -> Verification:
    """Verify a catalogue, a model or a run.

    Parameters
    ----------
    path
        A catalogue, one of its files, or its folder; a model's folder; or a run, of which everything is read: each
        product against its sum in the manifest, each chunk of an array store against its own, and the catalogue.

    Returns
    -------
    Verification
        Problems, and the counts of the catalogue if there is one.

    Raises
    ------
    InputError
        When it is none of these, or a run contains symbolic links or pipes.
    """
    paths = RunPaths(path)
    if (path / CARD).exists():
        return Verification(tuple(_of_model(path)), {})
    if not paths.manifest.exists():
        return catalogue.verify_catalogue(path)
    require_plain(path)
    problems = list(_of_run(paths))
    if not paths.catalogue.exists():
        return Verification(tuple(problems), {})
    found = catalogue.verify_catalogue(path)
    return Verification((*problems, *found.problems), found.counts)


def _of_model(directory: Path) -> Iterator[Problem]:
    try:
        load_model(directory).trained()
    except SpecdisError as error:
        yield _unreadable(directory, error)


def _of_run(paths: RunPaths) -> Iterator[Problem]:
    try:
        manifest = Manifest.read(paths.manifest)
    except SpecdisError as error:
        yield _unreadable(paths.manifest, error)
        return
    resolved = paths.config_resolved
    if not resolved.is_file() or digest(resolved.read_bytes().decode(errors="replace")) != manifest.configuration:
        yield Problem(resolved.name, "", f"the configuration whose sum {paths.manifest.name} holds")
    for record in manifest.stages.values():
        for name, size in record.products.items():
            product = getattr(paths, name)
            if ProductSize.of(product) != size:
                yield Problem(
                    _name(product, paths), "", f"{size.files} files of {size.size:,} bytes in all, as written"
                )
        for product in damaged(record, paths):
            yield Problem(_name(product, paths), "", f"the content whose sum {paths.manifest.name} holds")
    for kind in ("pixels", "coefficients"):
        store = getattr(paths, kind)
        if store.exists():
            yield from (_unreadable(store, error) for error in store_damage(store, kind))
    if paths.model.exists():
        yield from _of_model(paths.model)


def _name(product: Path, paths: RunPaths) -> str:
    return str(product.relative_to(paths.directory))


def _unreadable(path: Path, error: SpecdisError) -> Problem:
    return Problem(path.name, "", f"a readable product, found: {error}")
