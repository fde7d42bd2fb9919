"""File system: a lock that a model brings along names files by hash and URL; neither leads anywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.builders.layers.cache import Cache
from publisher.domain import BaseImage, Platform
from publisher.environments import read
from publisher.environments.lock import Resolver
from publisher.errors import BuildError, RequirementsError

BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
HASH = "ab" * 32
URL = "https://index.invalid/pkg-1.0-py3-none-any.whl"


def lock(folder: Path, wheel: str) -> None:
    """Read and lock a model whose pylock.toml has one package with this one wheel."""
    model = folder / "model"
    model.mkdir()
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "requirements.txt").write_text("pkg\n")
    (model / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "pkg"\nversion = "1.0"\n'
        f"[[packages.wheels]]\n{wheel}\n"
    )
    resolver = Resolver.load(folder / "cache", {"HOME": str(folder)})
    resolver.lock(read(model, serve=False), Platform("linux", "amd64"), BASE, registered=None)


def wheel(url: str = URL, sha256: str = HASH, path: str = "") -> str:
    place = f"path = '{path}'" if path else f"url = '{url}'"
    return f"name = 'pkg-1.0-py3-none-any.whl'\n{place}\nhashes = {{ sha256 = '{sha256}' }}"


@pytest.mark.parametrize(
    "entry",
    [
        *(
            wheel(sha256="../../../../etc/x"),
            wheel(sha256="/etc/x"),
            wheel(sha256=HASH + "/../x"),
            wheel(sha256=""),
        ),
        *(
            wheel("file:///etc/passwd"),
            wheel("file:///dev/zero"),
            wheel("http://index.invalid/x"),
            wheel("ftp://x/y"),
        ),
        *(wheel("FILE:///etc/passwd"), wheel("//index.invalid/pkg.whl")),
        *(
            wheel(path="../../etc/passwd"),
            wheel(path="/etc/passwd"),
            wheel(path="a/../../x.whl"),
            wheel(path="link.whl"),
        ),
    ],
)
def test_hostile_entries(tmp_path: Path, entry: str) -> None:
    """A hash that is a path, a URL of this machine, a path out of the model's folder: refused, and nothing is made."""
    (tmp_path / "canary").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(RequirementsError):
        lock(tmp_path, entry)
    assert {path.name for path in tmp_path.iterdir()} - set(before) <= {"model", "cache"}


def test_the_cache_takes_no_path_for_a_hash(tmp_path: Path) -> None:
    """Whatever a lock says, the cache names files by 64 hex digits alone."""
    for name in ("../x", "/etc/passwd", "AB" * 32, "", f"{HASH}\n", f"{HASH}/x"):
        with pytest.raises(BuildError, match="no SHA-256"):
            Cache(tmp_path).wheel(name)
    assert Cache(tmp_path).wheel(HASH).parent == tmp_path / "wheels"
