"""Paths from strangers."""

from __future__ import annotations

import random
from pathlib import Path, PurePosixPath

import pytest

from publisher.paths import clash, is_relative, relative


@pytest.mark.parametrize(
    "path", ["a", "a/b.c", "..a", "a..", "...", "a b", "ü/ß", "-x", "~", "a:b", "%2e%2e"]
)
def test_plain_paths(path: str) -> None:
    """A path of plain names is taken as it is, however odd its names look."""
    assert relative(path) == path
    assert is_relative(path)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "empty"),
        ("/etc/passwd", "absolute"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("a\\b", "backslash"),
        ("a\0b", "control"),
        ("a\nb", "control"),
        ("a\x7fb", "control"),
        ("a\u202eb", "control"),
        ("a\u2028b", "control"),
        ("\ud800", "control"),
        ("x" * 256, "255 bytes"),
        ("ü" * 128, "255 bytes"),
        ("a/" * 600, "1024 characters"),
        ("a/" * 64 + "a", "64 folders"),
    ],
)
def test_refused_paths(path: str, said: str) -> None:
    """Whatever could leave its folder, or look like another path, is refused with its cause."""
    with pytest.raises(ValueError, match=said):
        relative(path)
    assert not is_relative(path)


def test_what_is_taken_stays_inside(tmp_path: Path) -> None:
    """Of many random paths, each that is taken names something below the folder that it is joined to."""
    chance = random.Random(7)
    pieces = ["..", ".", "/", "//", "a", "b", "\\", "\0", "\n", "..a", "~", "%2e", "C:", "\u202e", " "]
    taken = 0
    for _ in range(20_000):
        path = "".join(chance.choices(pieces, k=chance.randint(1, 6)))
        if is_relative(path):
            taken += 1
            assert (tmp_path / path).resolve().is_relative_to(tmp_path)
            assert str(PurePosixPath(path)) == path
    assert taken > 1000


@pytest.mark.parametrize("pair", [("a/B", "a/b"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")])
def test_names_that_are_one_elsewhere(pair: tuple[str, str]) -> None:
    """Two names that one disk holds apart and another takes for one are found."""
    assert clash(["other", *pair]) == pair


def test_names_that_differ() -> None:
    """Different names do not clash, and a name does not clash with itself."""
    assert clash(["a", "b", "a/b", "a"]) is None
