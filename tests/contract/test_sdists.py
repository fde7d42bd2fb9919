"""Packages that are there as source alone: built once, shut in, the same everywhere; or refused with a reason."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from publisher.domain import BaseImage, Environment, Lock, Platform, Target
from publisher.environments.lock import Resolver
from publisher.errors import EngineError, ResolutionError
from tests import sources, wheels
from tests.engines import require
from tests.engines.packages import PackageIndex, serve

pytestmark = pytest.mark.engine("bubblewrap")
BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    require("bwrap", "bubblewrap")
    folder = tmp_path / "packages"
    folder.mkdir()
    with serve(folder, secret=False) as running:
        yield running


def lock(
    index: PackageIndex,
    cache: Path,
    *lines: str,
    platform: Platform = AMD64,
    sdist: str = "isolated",
    **more: str,
) -> Lock:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("UV_", "PIP_"))}
    variables = {**kept, "UV_DEFAULT_INDEX": index.url, "PIP_CONFIG_FILE": os.devnull, **more}
    target = Target("t", "T", "quay.io/x", (platform,), "base", sdist=sdist)  # type: ignore[arg-type]
    resolver = Resolver.load(cache, variables).at(target)
    return resolver.lock(Environment(lines), platform, BASE, registered=None)


def test_one_wheel_for_all_platforms_and_machines(index: PackageIndex, tmp_path: Path) -> None:
    """A source that another package needs becomes one wheel, with the same bytes from two empty caches."""
    sources.make(index.folder, "plain")
    wheels.make(index.folder, "needs_plain", {"needs_plain/__init__.py": b""}, requires=("plain",))
    found = [
        lock(index, tmp_path / cache, "needs-plain", platform=platform)
        for cache, platform in (("one", AMD64), ("one", ARM64), ("two", AMD64))
    ]
    made = [next(wheel for wheel in each.wheels if wheel.name == "plain") for each in found]
    assert {wheel.filename for wheel in made} == {"plain-1.0-py3-none-any.whl"}
    assert len({wheel.sha256 for wheel in made}) == 1
    assert len({wheel.url for wheel in made}) == 2  # one cache, one build
    assert "plain 1.0 has no wheel and was built of its source" in found[0].notes
    with zipfile.ZipFile(Path(made[0].url.removeprefix("file://"))) as archive:
        assert archive.read("plain/__init__.py") == b"made = 1\n"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.infolist()[-1].filename.endswith("RECORD")


HOSTILE = """
import pathlib, socket
seen = []
for path in {paths!r}:
    try:
        seen.append(pathlib.Path(path).read_text())
    except OSError as error:
        seen.append(type(error).__name__)
try:
    pathlib.Path({canary!r}).write_text("x")
    seen.append("wrote")
except OSError:
    pass
try:
    socket.create_connection(("127.0.0.1", {port}), 2)
    seen.append("connected")
except OSError:
    pass
try:
    os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)  # which the kernel lets root's number do
    seen.append("kernel")
except OSError:
    pass
seen += [key for key in os.environ if "CANARY" in key]
seen += ["processes" for entry in os.listdir("/proc") if entry == str({pid})]
open(os.devnull, "w")
assert set(seen) <= {{"FileNotFoundError", "PermissionError"}}, [each[:20] for each in set(seen)]
"""


def test_the_author_s_code_is_shut_in(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build sees no file of the host, no variable, no process, no network: it asserts so itself, and succeeds."""
    secret = tmp_path / "secret"
    secret.write_text("canary")
    monkeypatch.setenv("REGISTRY_TOKEN_CANARY", "canary")
    paths = [
        str(secret),
        str(Path.home() / ".docker" / "config.json"),
        "/etc/passwd",
        f"/proc/{os.getpid()}/environ",
    ]
    extra = HOSTILE.format(paths=paths, canary=str(tmp_path / "written"), port=index.port, pid=os.getpid())
    sources.make(index.folder, "hostile", extra=extra)
    assert lock(index, tmp_path / "cache", "hostile").wheels
    # The same code without the enclosure meets all of it, so the test above can fail.
    with pytest.raises(ResolutionError) as caught:
        lock(index, tmp_path / "other", "hostile", sdist="build")
    for each in ("AssertionError", "wrote", "connected", "processes", "'canary'"):
        assert each in str(caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"tag": "cp311-cp311-linux_x86_64"},
            "its source is native: it became bad-1.0-cp311-cp311-linux_x86_64.whl",
        ),
        (
            {"extra": "raise SystemExit('no compiler')", "more": "src/fast.c"},
            "it has native parts (bad-1.0/src/fast.c)",
        ),
        ({"requires": '["no-such-backend"]'}, "what its build needs is not to be had"),
        (
            {"requires": '["x @ https://evil.example/x-1.0-py3-none-any.whl"]'},
            "its build requires 'x @ https",
        ),
        ({"requires": '["x --index-url https://evil.example/"]'}, "its build requires 'x --index-url"),
        (
            {"extra": "import shutil; shutil.rmtree('/work/out'); os.symlink('/tmp', '/work/out')"},
            "cannot be built",
        ),
    ],
)
def test_what_cannot_be_built_says_why(
    index: PackageIndex, tmp_path: Path, change: dict[str, str], told: str
) -> None:
    """Package, platform, reason and the engines that can, in one line; no temporary file is left."""
    sources.make(index.folder, "bad", **change)
    with pytest.raises(ResolutionError) as caught:
        lock(index, tmp_path / "cache", "bad", platform=ARM64)
    assert str(caught.value).startswith("bad 1.0 has no wheel for linux/arm64, and ")
    assert told in str(caught.value)
    assert "buildx, kaniko or buildah" in caught.value.hint
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".whl", ".gz")]


def test_wheels_of_other_platforms_tell_that_a_source_is_native(index: PackageIndex, tmp_path: Path) -> None:
    """Nothing is built where the index itself shows machine code of that version."""
    sources.make(index.folder, "mixed", extra="raise SystemExit('was run')")
    wheels.make(index.folder, "mixed", {"mixed/x.so": b""}, tag="cp311-cp311-win_amd64")
    with pytest.raises(ResolutionError) as caught:
        lock(index, tmp_path / "cache", "mixed")
    assert "it is native: its index has mixed-1.0-cp311-cp311-win_amd64.whl" in str(caught.value)


def test_the_target_may_refuse_and_a_host_may_lack_the_tool(
    index: PackageIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`refuse` builds nothing; without bubblewrap it is the site's fault, with the way out in the hint."""
    sources.make(index.folder, "plain")
    with pytest.raises(ResolutionError) as refused:
        lock(index, tmp_path / "cache", "plain", sdist="refuse")
    assert 'sdist = "refuse"' in str(refused.value)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError) as lacking:
        lock(index, tmp_path / "cache", "plain")
    assert "bubblewrap" in lacking.value.line
    assert 'sdist = "build"' in lacking.value.hint
