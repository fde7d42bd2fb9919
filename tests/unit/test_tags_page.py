"""docs/tags.md names the tags that the code reads and writes, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from publisher.decide import NO, YES
from publisher.domain import State
from publisher.sources.base import MODEL_TAGS
from publisher.status import FIELDS

TEXT = (Path(__file__).parents[2] / "docs" / "tags.md").read_text("utf-8")
READ, WRITTEN = TEXT.split("## Tags that are written")


def first_cells(text: str) -> list[str]:
    return re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)


def test_tags_that_are_read() -> None:
    """Each MODEL_ tag has its row."""
    rows = {word for cell in first_cells(READ) for word in re.findall(r"`(MODEL_\w+)`", cell)}
    assert rows == set(MODEL_TAGS)


def test_values_of_a_targets_tag() -> None:
    """The rows of yes and no have the values that count as such."""
    rows = [tuple(re.findall(r"`(\w+)`", cell)) for cell in first_cells(READ)]
    assert YES in rows
    assert NO in rows


def test_tags_that_are_written() -> None:
    """Each field of a status has its row, and each state is named."""
    assert sorted(first_cells(WRITTEN)) == sorted(f"`{field}`" for field in FIELDS)
    [states] = [line for line in WRITTEN.splitlines() if line.startswith("| `state` |")]
    assert set(re.findall(r"`(\w+)`", states)) == {"state", *get_args(State)}
