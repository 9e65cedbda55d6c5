"""Lists and catalogues in use: those that a configuration names and those in its folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from specdis.errors import InputError, shown
from specdis.gaia import Release
from specdis.references.matching import SurveyStars
from specdis.references.members import MemberList, read_members
from specdis.references.rivals import match_rival, open_rival
from specdis.references.settings import Kind, MemberFile, ReferenceFile, ReferencesSettings
from specdis.references.systems import CLUSTERS, SAGITTARIUS, TABLE_A1, System, find_system, read_systems
from specdis.references.tables import ListColumns, is_table

MEMBERS, RIVALS = "members", "rivals"
"""Folders of lists of members and of rival catalogues; see `docs/references.md`."""

_KIND_OF_FOLDER: Mapping[str, Kind] = {"clusters": "cluster", "dwarfs": "dwarf", "streams": "stream"}
_NAME_OF_KIND: Mapping[Kind, str] = {"bhb": "BHB", "rrlyrae": "RR Lyrae"}
_WORDS: Mapping[Kind, tuple[str, ...]] = {"bhb": ("bhb",), "rrlyrae": ("rrl", "rr_lyr")}
"""Words in the names of the files of these kinds."""

T = TypeVar("T")


@dataclass(frozen=True)
class Unread:
    """A file in the folder that could not be used, with the reason: the report names it, and the run continues."""

    place: str
    message: str


class References:
    """The lists and catalogues that a configuration names, and those in its folder.

    Parameters
    ----------
    settings
        Section [references].
    beside
        Folder of the survey's catalogue, where `directory` is not set.
    release
        Gaia release of the survey's catalogue.
    """

    def __init__(self, settings: ReferencesSettings, release: Release, beside: Path | None = None) -> None:
        self.settings = settings
        self.release = release
        self.folder = settings.directory or beside
        self.unread: list[Unread] = []

    @property
    def files(self) -> list[Path]:
        """Every file that is read, sorted."""
        named = [file.path for file in (*self.settings.members.values(), *self.settings.rivals.values())]
        systems = [] if self.settings.systems is None else [self.settings.systems.path]
        return sorted({*named, *systems, *self._lying(MEMBERS), *self._lying(RIVALS)})

    def problems(self) -> Iterator[str]:
        """Yield the errors of the files that the configuration names, before any star is matched."""
        for name, file in self.settings.members.items():
            yield from _problem(partial(read_members, name, file, self._systems(), self.settings.probability_min))
        for rival in self.settings.rivals.values():
            yield from _problem(partial(open_rival, rival))

    def _systems(self) -> tuple[System, ...]:
        return TABLE_A1 if self.settings.systems is None else TABLE_A1 + read_systems(self.settings.systems)

    def members(self) -> list[MemberList]:
        """Read every list of members; one in the folder that cannot be read goes to `unread`.

        Raises
        ------
        InputError
            When a file that the configuration names cannot be read.
        """
        systems, least = self._systems(), self.settings.probability_min
        lists = [read_members(name, file, systems, least) for name, file in self.settings.members.items()]
        unplaced = []
        for path in self._lying(MEMBERS):
            kind = _kind(path)
            if kind is None:
                self._leave(path.name, "is not in clusters/, dwarfs/ or streams/, and its name gives no kind")
                continue
            name = _name(path, kind)
            if kind in ("cluster", "dwarf") and find_system(name, systems) is None:
                unplaced.append(name)
                continue
            lists += self._try(path, partial(read_members, name, MemberFile(path=path, kind=kind), systems, least))
        if unplaced:
            some = ", ".join(unplaced[:5]) + (", ..." if len(unplaced) > 5 else "")
            remedy = "name a table of distances in [references.systems]"
            self._leave(MEMBERS, f"{len(unplaced)} lists are of systems whose distance is not known ({some}): {remedy}")
        return lists

    def rivals(self, stars: ListColumns) -> dict[str, ListColumns]:
        """Match every rival catalogue; one in the folder that cannot be read goes to `unread`.

        Parameters
        ----------
        stars
            `matching.MATCH_COLUMNS` and `rivals.RIVAL_COLUMNS` of our catalogue, shape (star,).

        Raises
        ------
        InputError
            When a file that the configuration names cannot be read.
        """
        radius, targets = self.settings.match_radius, SurveyStars(stars, self.release)
        found = {name: match_rival(file, stars, targets, radius) for name, file in self.settings.rivals.items()}
        for path in self._lying(RIVALS):
            file = ReferenceFile(path=path)
            for matched in self._try(path, partial(match_rival, file, stars, targets, radius)):
                found[path.name.split(".")[0]] = matched
        return found

    def _lying(self, name: str) -> Iterator[Path]:
        """Yield the tables in a folder, except those that the configuration names."""
        if self.folder is None:
            return
        named = {file.path.resolve() for file in (*self.settings.members.values(), *self.settings.rivals.values())}
        folders = os.walk(self.folder / name, onerror=self._leave_closed)
        for path in sorted(Path(folder, file) for folder, _, files in folders for file in files):
            if is_table(path) and not path.name.startswith(".") and path.resolve() not in named:
                yield path

    def _leave_closed(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._leave(Path(error.filename).name, f"cannot be read ({error.strerror}). Change its permissions.")

    def _try(self, path: Path, read: Callable[[], T]) -> list[T]:
        try:
            return [read()]
        except InputError as error:
            self._leave(path.name, f"expected {error.expected}, found {error.found}. {error.remedy}")
            return []

    def _leave(self, place: str, message: str) -> None:
        if (unread := Unread(shown(place), shown(message))) not in self.unread:
            self.unread.append(unread)


def _problem(read: Callable[[], object]) -> Iterator[str]:
    """Yield the message of the error that reading raises, if any."""
    try:
        read()
    except InputError as error:
        yield str(error)


def _kind(path: Path) -> Kind | None:
    """Return the kind of a list by its folder, at any depth, or by its name."""
    for folder in path.parents:
        if folder.name == MEMBERS:
            break
        if folder.name.lower() in _KIND_OF_FOLDER:
            return _KIND_OF_FOLDER[folder.name.lower()]
    stem = path.name.lower()
    for kind, words in _WORDS.items():
        if any(word in stem for word in words):
            return kind
    if (system := find_system(stem.split(".")[0], TABLE_A1)) is not None:
        return "cluster" if system in CLUSTERS else "dwarf"
    return "stream" if "stream" in stem or _is_sagittarius(stem) else None


def _is_sagittarius(stem: str) -> bool:
    return "sgr" in stem or "sagittarius" in stem


def _name(path: Path, kind: Kind) -> str:
    if kind in _NAME_OF_KIND:
        return _NAME_OF_KIND[kind]
    stem = path.name.split(".")[0]
    return SAGITTARIUS if kind == "stream" and _is_sagittarius(stem.lower()) else stem.replace("_", " ")
