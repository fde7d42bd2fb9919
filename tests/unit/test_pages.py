"""What the pages say exists, exists: links, files, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from publisher.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page is a file of the repository."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_house_has_its_rooms() -> None:
    """Every Python file that docs/architecture.md names is in publisher/."""
    named = set(re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs" / "architecture.md").read_text("utf-8")))
    known = {path.name for path in (ROOT / "publisher").rglob("*.py")}
    assert named
    assert {name.rpartition("/")[2] for name in named} <= known


def test_commands_are_real() -> None:
    """Every `publisher COMMAND` of the README's table is a command, and no command is missing there."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    shown = {name for name, command in commands.items() if not command.hidden}
    text = (ROOT / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| `publisher ([a-z-]+)", text, re.MULTILINE)) == shown


def test_make_targets_are_real() -> None:
    """What the README says to make can be made."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert (
        set(re.findall(r"^make ([a-z]+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)) <= targets
    )
