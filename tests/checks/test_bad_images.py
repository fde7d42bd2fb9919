"""Images from strangers: broken files, hostile paths, archives without end. A verdict within bounds, and no error."""

from __future__ import annotations

import io
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from publisher.checks import elf, loader, tree
from publisher.checks.surveys import Surveys
from publisher.oci import layout_folder
from publisher.oci.layout import LAYER_GZIP, BytesBlob, Layout
from tests.checks import elves
from tests.checks.images import At, Files, base, folder, image, layer, link, looked, verdict
from tests.threats.archives import packed, raw_header

GOOD = elves.make(needed=["libc.so.6"], wants={"libc.so.6": ["GLIBC_2.17"]})
SO = "usr/lib/x86_64-linux-gnu/libbroken.so"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (GOOD[:-40], "is cut short"),
        (GOOD[:20], "no ELF header"),
        (elf.MAGIC, "no ELF header"),
        (GOOD[:56] + b"\xfe\xff" + GOOD[58:], "65,534 segments"),
    ],
    ids=["cut", "header", "magic", "segments"],
)
def test_a_broken_elf_file(content: bytes, expected: str) -> None:
    """A library that no loader takes is a fault, told with its file; the same bytes as data are a note."""
    (found,) = looked(base(), {SO: content}).findings
    assert found.path == f"/{SO}"
    assert expected in found.text
    data = looked(base(), {"app/model/weights.bin": At(content=content, mode=0o644)})
    assert (data.state, len(data.notes)) == ("ok", 1)


def test_elf_files_of_noise() -> None:
    """Bytes changed at random, and files cut anywhere: facts or a fault, and never an error."""
    chance = random.Random(7)
    whole = elves.make(
        needed=["a", "b"],
        rpath="$ORIGIN",
        wants={"a": ["A_1", "A_2"], "b": ["B_1"]},
        gives=["C_1", "C_2"],
        interpreter="/lib/ld.so",
    )
    faults = 0
    for _ in range(2000):
        content = bytearray(whole[: chance.randrange(5, len(whole))] if chance.random() < 0.3 else whole)
        for _ in range(chance.randint(0, 8)):
            content[chance.randrange(4, len(content))] = chance.choice(
                [0, 1, 127, 255, chance.randrange(256)]
            )
        faults += bool(elf.read(io.BytesIO(bytes(content))).fault)
    assert 200 < faults < 2000


def test_tables_without_end() -> None:
    """Of parts that name themselves as their next, and of more than any real file has."""
    whole = bytearray(elves.make(wants={"a": ["A_1"]}))
    at = 64 + 3 * 56
    whole[at + 2 : at + 4] = b"\xff\xff"  # parts of the first entry
    begin = time.monotonic()
    assert "symbol versions" in elf.read(io.BytesIO(bytes(whole))).fault
    many = elves.make(gives=[f"A_{number}" for number in range(3000)])
    assert "symbol versions" in elf.read(io.BytesIO(many)).fault
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    "path", ["../../etc/x", "/../x", "a/../../x", "a/../b", f"{'n' * 300}/x", "a/" * 2500 + "x"]
)
def test_hostile_paths(path: str) -> None:
    """Named as a fault of the layer, and nothing else is lost by it."""
    result = looked(base(), {path: b"x"}, Cmd=["python3"])
    assert result.state == "failed"
    assert len(result.findings) == 1
    assert "path" in result.findings[0].text


def test_links_never_leave_the_image() -> None:
    """Links above the root end at the root; loops and links to nowhere are nothing."""
    layers: Files = {
        "usr/up": link("../../../../../../../usr"),
        "app/lib": link("/usr/up/lib"),
        "app/round": link("/app/about"),
        "app/about": link("/app/round"),
        "app/nowhere": link("/proc/self/exe"),
    }
    assert looked(base(), layers, Cmd=["/app/../../app/lib/../bin/python3"]).state == "ok"
    for name in ("round", "nowhere"):
        assert "is not in the image" in looked(base(), layers, Cmd=[f"/app/{name}"]).reason


@pytest.mark.parametrize(
    ("upper", "said"),
    [
        ({"etc/passwd/x": b"x"}, "lies below a file"),
        ({"app/x": At(tarfile.LNKTYPE, "app/none")}, "a hard link to what is not there"),
        ({"app/x": At(tarfile.LNKTYPE, "../../etc/passwd")}, "a hard link to what is not there"),
    ],
)
def test_layers_that_contradict_each_other(upper: Files, said: str) -> None:
    """What no engine can unpack is a fault."""
    assert said in looked(base(), upper).reason


def test_files_folders_and_links_in_one_place() -> None:
    """As engines unpack it: a folder over a link replaces it, a file over a folder replaces all of that."""
    over: Files = {"lib64": folder(), "lib64/x": b"x"}
    assert "ld-linux" in looked(base(), over, Cmd=["python3"]).reason
    assert "libc.so.6" in looked(base(), {"usr/lib": b"x"}, Cmd=["python3"]).reason
    devices: Files = {"dev/null": At(tarfile.CHRTYPE), "app/pipe": At(tarfile.FIFOTYPE)}
    assert looked(base(), devices).state == "ok"
    assert "is no file" in looked(base(), devices, Cmd=["/app/pipe"]).reason


def test_a_hundred_thousand_files(tmp_path: Path) -> None:
    """Within seconds, and some hundred bytes for each: counted in a process that does nothing else."""
    many = {f"app/{number // 100}/{number}": b"" for number in range(100_000)}
    layout_folder.write(image([layer(base()), layer(many)], Cmd=["python3"]), tmp_path)
    code = f"""
import pathlib, re, time
from publisher.oci import layout_folder
from tests.checks.images import verdict
peak = lambda: int(re.search("VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
whole, before, begin = layout_folder.read(pathlib.Path({str(tmp_path)!r})), peak(), time.process_time()
print(verdict(whole).state, peak() - before, time.process_time() - begin)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    state, kilobytes, seconds = done.stdout.split()
    assert state == "ok"
    assert int(kilobytes) < 200_000
    assert float(seconds) < 30


def test_archives_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """More files, links, libraries or names than any image has: a failed check that says so."""
    monkeypatch.setattr(tree, "_STEPS", 5000)
    circle: Files = {f"a{n}": link("/".join([f"a{n - 1}"] * 20)) for n in range(1, 30)}
    assert (
        "lead on and on" in looked({"a0": link("."), **circle}, {f"a29/{n}": b"" for n in range(200)}).reason
    )
    monkeypatch.setattr(tree, "_STEPS", 30_000_000)
    monkeypatch.setattr(tree, "_MOST", 100)
    assert "more than 100 files" in looked({f"{n}": b"" for n in range(101)}).reason
    monkeypatch.setattr(tree, "_MOST", 1_000_000)
    monkeypatch.setattr(loader, "_LOOKS", 100)
    hungry = elves.make(needed=[f"lib{n}.so" for n in range(50)])
    assert "more libraries than any program" in looked(base(), {SO: hungry}).reason


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise" * 1000,
        packed(raw_header("x", 1 << 60)).getvalue(),
        packed(raw_header("x", -512)).getvalue(),
    ],
    ids=["empty", "noise", "huge", "negative"],
)
def test_a_layer_that_is_none(content: bytes) -> None:
    """Told as the image's fault, and never another error."""
    assert verdict(image([layer(base()), content], Cmd=["python3"])).state == "failed"


def test_a_layer_that_is_not_its_digest(tmp_path: Path) -> None:
    """Other bytes under a digest are refused, and what is kept under that digest stays true."""
    good = image([layer(base())], Cmd=["python3"])
    digest = good.layers(good.top.digest)[0].digest
    forged = Layout(
        good.top, good.manifests, {**good.blobs, digest: BytesBlob(layer({"x": b""}))}, good.sizes
    )
    surveys = Surveys(tmp_path)
    assert "does not have the digest" in verdict(forged, surveys).reason
    longer = BytesBlob(layer(base()) + bytes(1 << 20))
    forged = Layout(good.top, good.manifests, {**good.blobs, digest: longer}, good.sizes)
    assert "longer than its manifest says" in verdict(forged, surveys).reason
    assert list(tmp_path.rglob("*.json")) == []
    assert verdict(good, surveys).state == "ok"


def test_layers_of_another_kind() -> None:
    """zstd is not read here: not looked at, which is not ok."""
    result = verdict(image([b"\x28\xb5\x2f\xfd"], kind=LAYER_GZIP.replace("gzip", "zstd")))
    assert result.state == "not looked at"
    assert "zstd" in result.reason
