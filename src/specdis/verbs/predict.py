"""The verb `predict`: apply a model to new spectra, without training data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from specdis import catalogue, jaxed
from specdis.arrays import Array, Int64
from specdis.errors import InputError
from specdis.flags import DESCRIPTIONS, Flag
from specdis.log import Progress, logger
from specdis.model.blocks import BlockPrediction, SurveyBlock
from specdis.model.files import load_model
from specdis.model.model import Model
from specdis.rng import hash64
from specdis.sample import repeats
from specdis.storage import Provenance, digest, file_digest
from specdis.surveys import IDENTIFIER, Fault, Stars, Survey, open_file
from specdis.workers import start_workers
from specdis.workers.answers import Died
from specdis.workers.settings import ClusterSettings


def predict_files(directory: Path, inputs: Sequence[Path], output: Path) -> None:
    """Predict every star of some files and write a catalogue of them.

    Parameters
    ----------
    directory
        A model: the folder RUN/model.
    inputs
        Spectra tables, or DESI coadd or spmod files.
    output
        The catalogue to write: .fits, or .parquet.

    Raises
    ------
    InputError
        When no file can be read, inputs give one identifier to different stars, or the output is neither FITS nor
        Parquet.
    """
    catalogue.require_ending(output)
    model, alone = load_model(directory), len(inputs) == 1
    samples: list[tuple[Path, Stars]] = []
    for path in inputs:
        with _leaving_out(path, alone):
            samples.append((path, model.sample_of(open_file(path))))
    predictions = _predict(model, directory, samples)
    read: list[Path] = []
    parts: list[dict[str, Array]] = []
    for number, (path, stars) in enumerate(samples):
        with _leaving_out(path, alone):
            found = model.joined(stars, _good(predictions[number]))
            if not found.spectra:
                raise InputError(path, expected="spectra", found="none that can be read", remedy="See the log.")
            read.append(path)
            parts.append(found.columns)
    if not parts:
        raise InputError(
            ", ".join(map(str, inputs)), expected="spectra", found="no readable file", remedy="See the log."
        )
    columns = _joined(read, parts)
    _say_what_is_missing(columns["FLAGS"])
    made_of = digest([file_digest(directory / "model.json"), *(path.name for path in inputs)])
    catalogue.write_file(output, columns, Provenance("predictions", made_of, model.seed), model.header)


@contextmanager
def _leaving_out(path: Path, alone: bool) -> Iterator[None]:
    """Leave out a file that cannot be read, unless it is the only one."""
    try:
        yield
    except InputError as error:
        if alone:
            raise
        logger.warning("%s is left out: %s", path, error)


def _good(predictions: Sequence[BlockPrediction | InputError]) -> Iterator[BlockPrediction]:
    """Pass on the predictions for a file; raise its first error."""
    for found in predictions:
        if isinstance(found, InputError):
            raise found
        yield found


class FileBlock(NamedTuple):
    """Some stars of a file, and the number of the file."""

    file: int
    path: Path
    block: SurveyBlock


@dataclass(frozen=True)
class PredictFiles:
    """Task: read and predict a block of a file."""

    directory: Path

    @cached_property
    def model(self) -> Model:
        """The model, loaded once in every process."""
        return load_model(self.directory)

    @cached_property
    def opened(self) -> Callable[[Path], Survey]:
        """Opens files, each once in a process."""
        return lru_cache(maxsize=2)(open_file)

    def __call__(self, block: FileBlock) -> BlockPrediction | InputError:
        """Predict a block; an error of its file is returned, since it must not end the work on other files."""
        try:
            return self.model.predict_block(self.opened(block.path), block.block)
        except InputError as error:
            return error


def _predict(
    model: Model, directory: Path, samples: Sequence[tuple[Path, Stars]]
) -> defaultdict[int, list[BlockPrediction | InputError]]:
    """Predict the stars of files; return the predictions by the number of the file."""
    every = (
        FileBlock(number, path, block) for number, (path, stars) in enumerate(samples) for block in model.blocks(stars)
    )
    first = list(islice(every, 2))
    predictions: defaultdict[int, list[BlockPrediction | InputError]] = defaultdict(list)
    progress = Progress("predict", sum(len(stars) for _, stars in samples))
    with start_workers(ClusterSettings(), preload=("specdis.model.files",)) as workers:
        # The start of other processes takes longer than a single block.
        here = len(first) < 2 or jaxed.on_gpu()
        for block, found in workers.each(PredictFiles(directory), chain(first, every), may_kill=True, here=here):
            if isinstance(found, Died):
                message = f"{found.reason}. The file is damaged and crashes its reader: replace it."
                rows = np.arange(len(block.block.stars))
                found = BlockPrediction([], [Fault("killed-its-reader", str(block.path), message, rows)], [])
            predictions[block.file].append(found)
            progress.advance(len(block.block.stars))
    progress.close()
    return predictions


def _joined(paths: Sequence[Path], parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """Join the catalogues of several files: every spectrum once, and at most one SELECTED row of every star."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    kept, _, worse = repeats(columns, columns["SELECTED"])
    columns["SELECTED"][worse] = False
    columns["FLAGS"][worse] |= Flag.NOT_TRAINABLE
    left = np.setdiff1d(np.arange(len(columns["TARGETID"])), kept)
    _require_equal_stars(columns, kept, left, paths)
    file = np.repeat(np.arange(len(parts)), [len(part["TARGETID"]) for part in parts])
    for number, path in enumerate(paths):
        if count := int((file[left] == number).sum()):
            logger.warning("%s: %d spectra that are also in another input are left out", path, count)
    rows = np.sort(kept)
    return {name: values[rows] for name, values in columns.items()}


def _require_equal_stars(columns: Mapping[str, Array], kept: Int64, left: Int64, paths: Sequence[Path]) -> None:
    """Raise an `InputError` if repeated identifiers in different inputs may mean different stars.

    DESI's identifiers are unique; those of two spectra tables mean the same star only if SOURCE_ID agrees.
    """
    key = hash64(0, *(columns[name] for name in IDENTIFIER))
    order = kept[np.argsort(key[kept])]
    twin = order[np.searchsorted(key[order], key[left])]
    source = columns["SOURCE_ID"]
    other = (source[left] != source[twin]) | ((source[left] <= 0) & (columns["SURVEY"][left] == b"table"))
    if other.any():
        raise InputError(
            ", ".join(map(str, paths)),
            expected="identifiers that mean one star in all inputs",
            found=f"{other.sum()} that another file has with a different SOURCE_ID, or none: TARGETID "
            f"{columns['TARGETID'][left[other][0]]}",
            remedy="Predict these files one by one, or add a column SOURCE_ID, or use other numbers in TARGETID.",
        )


def _say_what_is_missing(flags: Array) -> None:
    for flag, description in DESCRIPTIONS.items():
        count = int((flags & flag > 0).sum())
        if count:
            logger.warning("%d of %d stars: %s", count, len(flags), description)
