"""File system: all layers of an image are unpacked for a prediction, and nothing outside their folder changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from publisher.checks import trees, unpacked
from publisher.checks.own_python import Roots
from publisher.checks.surveys import Surveys
from publisher.checks.tree import Tree
from publisher.checks.unpacked import Plan
from publisher.domain import Platform
from publisher.errors import BuildError, HostError
from publisher.oci.layout import BytesBlob, Layout
from tests.checks.images import image
from tests.threats.archives import KINDS, Entry, layer, untouched
from tests.threats.test_unpacking import ESCAPES, inside

EVIL = b"evil"
CANARY = "../../../../canary"
LAYERS: dict[str, list[list[Entry]]] = {
    **{name: [entries] for name, entries in ESCAPES.items()},
    "a link below, a file through it above": [
        [("link", "app", CANARY.rpartition("/")[0]), ("link", "abs", "/"), ("link", "up", "..")],
        [("file", "app/canary", EVIL), ("file", "abs/canary", EVIL), ("file", "up/canary", EVIL)],
    ],
    "steps up behind a link": [
        [("link", "a/b/c", "../.."), ("link", "a/b/d", "c/../../.."), ("link", "a/x", "b/c/../../../canary")],
        [("file", "a/b/d/canary", EVIL), ("hard", "a/y", "a/x"), ("file", "a/y", EVIL)],
    ],
    "a hard link to a link, over it a file": [
        [("link", "l", CANARY), ("hard", "h", "l")],
        [("file", "h", EVIL), ("file", "l", EVIL)],
    ],
    "a folder that becomes a link above": [
        [("folder", "d", ""), ("file", "d/x", b"x")],
        [("link", "d", "../../.."), ("file", "d/canary", EVIL)],
    ],
    "whiteouts of what is outside": [
        [("file", ".wh...", b""), ("file", "a/.wh..", b""), ("file", "../.wh.canary", b"")],
        [("link", "d", "../../../.."), ("file", "d/.wh.canary", b""), ("file", "d/.wh..wh..opq", b"")],
    ],
    "where file systems are mounted": [
        [("link", "proc", "/etc"), ("link", "dev", "../.."), ("file", "tmp", EVIL), ("link", "sys", "/")],
        [("file", "dev/canary", EVIL), ("file", "proc/canary", EVIL)],
    ],
    "one path many times": [
        [
            ("file", "x", b"1"),
            ("link", "x", CANARY),
            ("file", "x", EVIL),
            ("hard", "z", "x"),
            ("file", "x", EVIL),
        ]
    ],
}


def made(*layers: Sequence[Entry]) -> Layout:
    return image([layer(entries).getvalue() for entries in layers])


def unpack(folder: Path, layout: Layout) -> str:
    """Unpack, or be refused, by what comes back; in both cases nothing else changed."""
    said = ""
    with untouched(folder) as root:
        try:
            layers = layout.layers(layout.top.digest)
            plan = Plan.of(Tree(Surveys().of(layout, layers)))
            unpacked.write(plan, layers, layout.blobs, root)
        except BuildError as error:
            said = str(error)
        if root.exists():
            inside(root)
    return said


@pytest.mark.parametrize("name", LAYERS)
def test_no_layer_leaves_the_folder(tmp_path: Path, name: str) -> None:
    """Links, hard links, whiteouts and paths of one layer or of several: the canaries stay, no link leads out."""
    unpack(tmp_path, made(*LAYERS[name]))


def test_random_layers_stay_inside(tmp_path: Path) -> None:
    """Whatever layers say of few names, upon each other."""
    dice = random.Random(7)
    names = ["a", "b", "a/b", "b/a", "a/b/c", "proc", ".wh.a", "a/.wh.b", "b/.wh..wh..opq", "../a", "c"]
    targets = ["/", "..", "../..", "a", "/a/b", "b/../..", "../../../../canary", "a/b/../../..", "c", ""]
    for number in range(150):
        layers: list[list[Entry]] = [
            [
                (kind, dice.choice(names), EVIL if kind == "file" else dice.choice(targets))
                for kind in dice.choices(["file", "link", "hard", "folder"], k=dice.randint(1, 9))
            ]
            for _ in range(dice.randint(1, 4))
        ]
        (tmp_path / str(number)).mkdir()
        unpack(tmp_path / str(number), made(*layers))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "device" in kind or kind == "pipe"])
def test_no_device_is_made(tmp_path: Path, kind: str) -> None:
    """Not even by root."""
    assert unpack(tmp_path, made([(kind, "x", ""), ("file", "y", b"good")])) == ""
    assert not (tmp_path / "a/b/c/d/root/x").exists()
    assert (tmp_path / "a/b/c/d/root/y").read_bytes() == b"good"


def test_rights_are_left_out(tmp_path: Path) -> None:
    """No set-id bit is taken over, and no other user may write."""
    unpack(tmp_path, made([("file", "x", b"#!")]))
    assert (tmp_path / "a/b/c/d/root/x").stat().st_mode & 0o7777 == 0o755


def test_what_is_taken_away_is_never_written(tmp_path: Path) -> None:
    """Thousands of files of a layer below, which one above hides."""
    many: list[Entry] = [("file", f"d{number % 100}/{number}", b"") for number in range(10_000)]
    gone: list[Entry] = [("file", ".wh..wh..opq", b""), ("file", "left", b"x")]
    assert unpack(tmp_path, made(many, gone)) == ""
    left = [path.name for path in (tmp_path / "a/b/c/d/root").rglob("*")]
    assert sorted(left) == sorted(["left", *unpacked.MOUNTED])


def test_a_layer_of_another_digest(tmp_path: Path) -> None:
    """What is not what its manifest names is not kept, and no later image is made of it."""
    good = made([("file", "usr/bin/python3", b"good")])
    layers = good.layers(good.top.digest)
    surveys = Surveys()
    found = surveys.of(good, layers)
    other = layer([("file", "usr/bin/python3", EVIL)]).getvalue()
    bad = Layout(good.top, good.manifests, {**good.blobs, layers[0].digest: BytesBlob(other)}, good.sizes)
    opened = trees.unpack(tmp_path, bad, layers, found, Tree(found), way="limits")
    with pytest.raises(BuildError, match=r"digest|longer"), opened:
        pass
    assert not list((tmp_path / "unpacked").iterdir())


def test_more_than_the_disk_has(tmp_path: Path) -> None:
    """It is told before anything is written."""
    plan = Plan(files={"x": {"y": ["y"]}}, size=1 << 60)
    with pytest.raises(HostError, match="no room"):
        unpacked.write(plan, [], {}, tmp_path / "root")
    assert not list((tmp_path / "root").iterdir())


def test_a_python_that_is_none(tmp_path: Path) -> None:
    """An interpreter that is a link out, a text or a folder is not started: nothing of this machine's runs in its place."""
    for entries in (
        [("link", "usr/bin/python3", "/../../../usr/bin/python3"), ("link", "usr/bin/python", CANARY)],
        [("file", "usr/bin/python3", b"#!/bin/sh\n")],
        [("folder", "usr/bin/python3", "")],
        [("file", "usr/bin/python3", b"\x7fELF" + bytes(100))],
    ):
        hostile = made(entries)
        with (
            pytest.raises(BuildError, match="no Python"),
            Roots(tmp_path).open(hostile, Platform("linux", "amd64"), hostile.top.digest, emulate=True),
        ):
            pass


def test_layers_in_another_form(tmp_path: Path) -> None:
    """What is no gzip and no tar is told, and not guessed at."""
    strange = image([b"x"], kind="application/vnd.oci.image.layer.v1.tar+zstd")
    opened = Roots(tmp_path).open(strange, Platform("linux", "amd64"), strange.top.digest, emulate=True)
    with pytest.raises(BuildError, match="zstd, which is not read here"), opened:
        pass
