"""docs/security.md names tests that are there, and every file of these tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"^\* `(tests/[\w/]+\.py)(?:::(\w+))?`$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[f"{file}::{test}" for file, test in NAMED])
def test_what_the_page_names_is_there(file: str, test: str) -> None:
    """A test that the page calls a proof exists, under that very name."""
    tree = ast.parse((ROOT / file).read_text())
    tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert test in tests if test else any(name.startswith("test_") for name in tests)


def test_the_page_names_all_files() -> None:
    """Each file of tests in this folder proves something that the page says."""
    here = {f"tests/threats/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert here - {f"tests/threats/{Path(__file__).name}"} <= {file for file, _ in NAMED}
    assert f"tests/threats/{Path(__file__).name}" in PAGE
    assert len(NAMED) > 40
