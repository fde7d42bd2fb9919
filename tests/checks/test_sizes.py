"""What weighs how much: by package with its bytecode, by folder for the rest, each file once."""

from __future__ import annotations

import tarfile

from publisher.checks.sizes import weights
from publisher.checks.surveys import Surveys
from publisher.checks.tree import Tree
from tests.checks.images import SITE, At, Files, image, layer, wheel


def weighed(*layers: Files) -> list[tuple[str, int]]:
    whole = image([layer(files) for files in layers])
    found = weights(Tree(Surveys().of(whole, whole.layers(whole.top.digest))))
    return [(str(each.package or each.place), each.size) for each in found]


def test_packages_own_their_bytecode_and_their_scripts() -> None:
    """In a layer of its own, beside a module of one file too; and what RECORD names outside of the site."""
    files: Files = {"six.py": bytes(10), "pkg/a.py": bytes(100), "../../../bin/pkg": bytes(1000)}
    bytecode: Files = {
        f"{SITE}/pkg/__pycache__/a.cpython-311.pyc": bytes(10_000),
        f"{SITE}/__pycache__/six.cpython-311.pyc": bytes(100_000),
    }
    own = {
        path.replace(f"{SITE}/../../..", "opt/venv"): content for path, content in wheel("pkg", files).items()
    }
    sizes = dict(weighed(own, bytecode, {"app/model/x": bytes(1_000_000)}))
    assert set(sizes) == {"pkg 1.0", "/app/model"}
    assert 111_110 < sizes["pkg 1.0"] < 112_000


def test_each_file_once_and_as_the_image_shows_it() -> None:
    """Hard links, files that an upper layer replaces or removes; the heaviest first."""
    lower: Files = {"a/b/one": bytes(100), "a/b/two": At(tarfile.LNKTYPE, "a/b/one"), "c/d/e": bytes(300)}
    upper: Files = {"a/b/three": bytes(50), "c/d/.wh.e": b"", "c/d/f": bytes(7), "top": bytes(3)}
    assert weighed(lower, upper) == [("/a/b", 150), ("/c/d", 7), ("/", 3)]
