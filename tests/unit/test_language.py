"""One word for each thing: each term of the glossary is defined once, and no banned word is left anywhere."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
BANNED_HEADING = "Words that are not used"
HISTORY = {ROOT / "CHANGELOG.md"}
"""What was changed stays as it was written."""


def tables() -> dict[str, list[list[str]]]:
    """Return the rows of each table of the glossary, without its head, by heading."""
    found = {}
    for part in GLOSSARY.read_text().split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("|")]
        found[heading] = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    return found


@cache
def banned() -> dict[str, str]:
    """Return each banned word with what is used instead."""
    return dict(tables()[BANNED_HEADING])


@cache
def texts() -> dict[str, str]:
    """Return the texts that keep to the glossary, by path."""
    source = [path for ending in ("py", "j2", "js", "css") for path in (ROOT / "src").rglob(f"*.{ending}")]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").rglob("*.toml")]
    paths = sorted({*source, *pages} - HISTORY - {GLOSSARY})
    return {str(path.relative_to(ROOT)): path.read_text() for path in paths}


def uses(text: str, word: str) -> list[int]:
    """Return the lines on which a word or phrase begins, across line ends and comment signs, in any case."""
    pattern = r"(?:\s|#|>)+".join(map(re.escape, word.split()))
    return [text.count("\n", 0, hit.start()) + 1 for hit in re.finditer(rf"\b{pattern}\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("word", banned())
def test_banned_words_are_not_used(word):
    hits = [f"{path}:{line}" for path, text in texts().items() for line in uses(text, word)]
    assert not hits, f"{word!r}: use {banned()[word]!r}"


def test_the_search_crosses_line_ends_and_finds_whole_words_only():
    text = 'x = 1  # as So\n    # many as are\nrecommend = "mend"\n'
    assert uses(text, "so many") == [1]
    assert uses(text, "mend") == [3]
    assert len(texts()) > 150


def test_every_term_is_defined_once():
    rows = [row for heading, table in tables().items() if heading != BANNED_HEADING for row in table]
    terms = Counter(term.strip() for row in rows for term in row[0].split(","))
    assert [term for term, count in terms.items() if count > 1] == []
    assert len(terms) > 50
    assert all(row[1].endswith(".") for row in rows)
    assert [term for term in terms if term in banned()] == []


def test_what_is_used_instead_is_not_banned_itself():
    for word, instead in banned().items():
        assert not [other for other in banned() if uses(instead, other)], word
