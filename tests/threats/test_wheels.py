"""File system: wheels are converted and compiled, never installed; what they hold runs nothing and exhausts nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import requests

from publisher.builders.layers import bytecode, compiler, download
from publisher.builders.layers.worker import Workers
from publisher.domain import Wheel
from publisher.errors import BuildError, TransferError
from tests import wheels
from tests.contract.fronts import front

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
GOOD = {"pkg/__init__.py": b"value = 1\n"}


def convert(folder: Path, *paths: Path) -> list[str]:
    """The names in the layer that a real worker makes of the wheels."""
    with Workers(1) as workers:
        workers.make_wheels(paths, MINOR, folder / "layer")
    with tarfile.open(folder / "layer") as archive:
        return archive.getnames()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "../x.py",
            "/x.py",
            "a/../../x.py",
            "./x.py",
            "a//x.py",
            "a\\..\\x.py",
            "a\nx.py",
            ".wh.x",
            "a/.wh..wh..opq",
        ),
        *(
            "a" * 256,
            "a/" * 1100 + "x",
            "\u202egnp.py",
            "x\x9b31m.py",
            "pkg-1.0.data/data/../../x",
            "pkg-1.0.data/x",
        ),
    ],
)
def test_hostile_names(tmp_path: Path, name: str) -> None:
    """A path that leaves its folder, deletes a lower layer's file or looks like another is refused."""
    with pytest.raises(BuildError):
        convert(tmp_path, wheels.make(tmp_path, "pkg", {**GOOD, name: b""}))
    assert not (tmp_path / "layer").exists()


@pytest.mark.parametrize("kind", [0o12, 0o2, 0o6, 0o1, 0o4], ids=["link", "char", "block", "pipe", "folder"])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    """A wheel holds files: a link, a device or a pipe in it is refused."""
    path = wheels.make(tmp_path, "pkg", GOOD)
    member = zipfile.ZipInfo("pkg/link")
    member.external_attr = (kind << 12 | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, "../../../etc/passwd")
    with pytest.raises(BuildError, match="link, a device"):
        convert(tmp_path, path)


def test_members_that_share_their_bytes(tmp_path: Path) -> None:
    """A bomb of overlapping members, each in itself in order, is told by what they sum up to."""
    path = wheels.make(tmp_path, "pkg", {**GOOD, "pkg/data": os.urandom(1 << 20)})
    with zipfile.ZipFile(path, "a") as archive:
        original = archive.getinfo("pkg/data")
        for number in range(50):
            copy = zipfile.ZipInfo(f"pkg/data{number}", (2020, 1, 1, 0, 0, 0))
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(copy, field, getattr(original, field))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive._didModify = True
    assert path.stat().st_size < 2 << 20
    with pytest.raises(BuildError, match="bomb"):
        convert(tmp_path, path)


@pytest.mark.parametrize("name", ["pkg-1.0.data/scripts/run", "pkg-1.0.dist-info/entry_points.txt"])
def test_what_is_read_whole_is_small(tmp_path: Path, name: str) -> None:
    """Scripts and entry points are held in memory, so 17 MiB of either, packed into some kilobytes, are refused."""
    with pytest.raises(BuildError, match="larger than 16 MiB"):
        convert(tmp_path, wheels.make(tmp_path, "pkg", {**GOOD, name: b"#!python\n" + bytes(17 << 20)}))


def test_random_damage(tmp_path: Path) -> None:
    """A wheel with bytes changed at random is converted or refused with a BuildError: never a crash or a hang."""
    good = wheels.make(tmp_path, "pkg", {**GOOD, "pkg/data": b"data" * 1000}).read_bytes()
    chance = random.Random(5)
    with Workers(2) as workers:
        for number in range(300):
            content = bytearray(good)
            for _ in range(chance.randint(1, 6)):
                content[chance.randrange(len(content))] = chance.randrange(256)
            path = tmp_path / f"{number}.whl"
            path.write_bytes(content)
            for attempt in (
                lambda path=path: workers.make_wheels([path], MINOR, tmp_path / "layer"),
                lambda path=path: bytecode.survey(path, MINOR),
            ):
                with contextlib.suppress(BuildError):
                    attempt()


def test_nothing_of_a_wheel_runs(tmp_path: Path) -> None:
    """.pth files, sitecustomize, modules named as the library's: converted and compiled, and no marker appears."""
    marker = tmp_path / "marker"
    payload = f"open({str(marker)!r}, 'w')\n".encode()
    files = dict.fromkeys(("sitecustomize.py", "usercustomize.py", "json.py", "os.py", "setup.py"), payload)
    files |= {
        "evil.pth": b"import os; " + payload,
        "pkg/__init__.py": payload + b"import json, os, sitecustomize\n",
    }
    path = wheels.make(tmp_path, "pkg", files, entry_points="[console_scripts]\nrun = pkg:main\n")
    folder = tmp_path / "work"
    folder.mkdir()
    assert any(name.endswith("evil.pth") for name in convert(folder, path))
    assert compile_in(folder, path, ["pkg"])["pkg"][0] is not None
    assert not marker.exists()


def test_a_worker_does_not_look_into_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called from a folder of downloaded models, publisher imports none of their modules."""
    marker, here = tmp_path / "marker", tmp_path / "here"
    here.mkdir()
    for name in ("zipfile", "json", "publisher", "deflate"):
        (here / f"{name}.py").write_text(f"open({str(marker)!r}, 'w')\n")
    monkeypatch.chdir(here)
    assert convert(tmp_path, wheels.make(tmp_path, "pkg", GOOD))
    assert not marker.exists()


def compile_in(folder: Path, path: Path, seeds: list[str]) -> dict[str, list[object]]:
    """What the compiler says of a wheel's modules, run alone as in an image."""
    modules = {name: [0, *where, source[2]] for name, source, where in bytecode.survey(path, MINOR)}
    job = {"archives": [str(path)], "native": [False], "modules": modules, "known": {}, "seeds": seeds}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", Path(compiler.__file__).read_text()],
        input=json.dumps({**job, "out": str(folder / "out"), "workers": 2}),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_sources_that_exhaust_a_compiler(tmp_path: Path) -> None:
    """Nesting that overflows the stack, an expression of 500 MB: those modules have no bytecode, others have."""
    files = {
        "brackets.py": b"x = " + b"[" * 150_000 + b"]" * 150_000,
        "minus.py": b"x = " + b"-" * 1_000_000 + b"1",
        "sums.py": b"x = " + b"1+" * 2_000_000 + b"1",
        "dots.py": b"x = a" + b".b" * 1_000_000,
        "lambdas.py": b"x = " + b"lambda: " * 100_000 + b"1",
        "power.py": b"x = 9**9**9**9; y = 'a' * 10**10; z = 1 << 10**10; t = ((1,) * 10**5,) * 10**5\n",
        "huge.py": b"x = " + b"1+" * (250 << 20) + b"1",
        "last.py": b"fine = 1\n",
    }
    path = wheels.make(tmp_path, "pkg", {**GOOD, **files})
    begin = time.monotonic()
    found = compile_in(tmp_path, path, [*(name[:-3] for name in files), "pkg"])
    assert {"last", "pkg"} <= {name for name, (place, _) in found.items() if place}
    assert found["huge"][0] is None
    assert set(found) == {*(name[:-3] for name in files), "pkg"}
    assert time.monotonic() - begin < 60


def test_processes_that_compile_have_limits(tmp_path: Path) -> None:
    """Each has little memory, little time for a batch, and leaves no image of its memory on the disk."""
    code = Path(compiler.__file__).read_text().replace('if __name__ == "__main__":\n    main()', "")
    code += "limit(); wind_up(); names = 'AS', 'CPU', 'CORE'\n"
    code += "print(*(resource.getrlimit(getattr(resource, 'RLIMIT_' + name))[0] for name in names))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    memory, seconds, core = map(int, done.stdout.split())
    assert (memory, core) == (compiler.MEMORY, 0)
    assert 0 < seconds <= compiler.SECONDS + 2


@pytest.mark.parametrize("told", [1000, 0])
def test_a_download_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: int) -> None:
    """An index that sends more than it says, or without end, fills no disk."""
    monkeypatch.setattr(download, "_LARGEST", 1 << 20)
    with front(lambda handler: handler.answer(200, content=bytes(4 << 20))) as index:
        url = f"http://{index.host}/pkg.whl"
        wheel = Wheel("pkg", "1.0", "pkg-1.0-py3-none-any.whl", url, "0" * 64, told)
        with pytest.raises(TransferError, match="larger than its package index says"):
            download.download(requests.Session(), wheel, tmp_path / "wheels" / "x.whl", lambda _: None)
    assert not [path for path in tmp_path.rglob("*.whl*") if path.is_file()]


def test_a_member_that_is_not_where_it_should_be(tmp_path: Path) -> None:
    """The directory of a zip file may point anywhere: bytes that are no member are never taken for one."""
    path = wheels.make(tmp_path, "pkg", GOOD)
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    content[start + 42 : start + 46] = struct.pack("<I", len(content) - 40)
    path.write_bytes(content)
    with pytest.raises(BuildError):
        convert(tmp_path, path)
