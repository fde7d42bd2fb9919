"""The notebooks are kept without outputs, and the README's lines are as few as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
(README_LINES,) = re.findall(
    r"<!-- ten lines -->\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL
)
# Addresses of a network that nobody else is in (RFC 1918, RFC 6598, loopback), and folders of a person.
PRIVATE = re.compile(
    r"\b(10|127)\.\d+\.\d+\.\d+|\b192\.168\.\d+\.\d+|\b172\.(1[6-9]|2\d|3[01])\.\d+\.\d+|localhost|/home/|/root/"
)


def stripped(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The same without what a run left in it."""
    bare = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for cell in bare.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    bare.metadata = {key: bare.metadata[key] for key in ("kernelspec", "language_info")}
    return bare


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_hold_no_outputs(path: Path) -> None:
    """Stripped of outputs, counts and a kernel's details, each is the file that it was, and names no private place."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert nbformat.writes(stripped(notebook)) + "\n" == path.read_text("utf-8")
    assert not PRIVATE.search(path.read_text("utf-8"))


def test_both_notebooks_are_there() -> None:
    """Those that the page names."""
    named = re.findall(r"\.\./notebooks/(\w+\.ipynb)\)", (ROOT / "docs" / "notebook.md").read_text("utf-8"))
    assert sorted(set(named)) == sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def test_the_readme_needs_at_most_ten_lines() -> None:
    """From `import` to a published image; the page has the same lines."""
    lines = [line for line in README_LINES.splitlines() if line.strip()]
    assert len(lines) <= 10
    assert "import" in lines[0]
    assert README_LINES.strip() in (ROOT / "docs" / "notebook.md").read_text("utf-8")
