"""What is rendered for fixed versions is what lies in tests/golden/files: a change of a template shows there.

PUBLISHER_UPDATE_GOLDEN=1 pytest tests/golden    writes the files anew; git diff tells what changed
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.golden.versions import VERSIONS

FILES = Path(__file__).with_name("files")
# Of these it is pinned that they are there, and with which modes: their content is not rendered.
_COPIED = ("model/", "mymodel/", "client/", "runtime/", "templates/")


@pytest.mark.parametrize("name", VERSIONS)
def test_rendered_files(name: str, tmp_path: Path) -> None:
    """Every rendered file has the bytes of its golden one, and the context holds the same files with the same modes."""
    made = VERSIONS[name](tmp_path)
    found = {
        path.relative_to(made.folder).as_posix(): path
        for path in sorted(made.folder.rglob("*"))
        if path.is_file()
    }
    texts = {path: file.read_text() for path, file in found.items() if not path.startswith(_COPIED)}
    texts["LISTING"] = "".join(f"{file.stat().st_mode & 0o777:o} {path}\n" for path, file in found.items())
    if os.environ.get("PUBLISHER_UPDATE_GOLDEN"):
        _write(FILES / name, texts)
    golden = {
        path.relative_to(FILES / name).as_posix(): path.read_text()
        for path in (FILES / name).rglob("*")
        if path.is_file()
    }
    assert texts == golden


def test_each_golden_folder_has_its_version() -> None:
    assert {path.name for path in FILES.iterdir()} == set(VERSIONS)


def _write(folder: Path, texts: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
