"""File system: a base image's layers are unpacked for its interpreter, and nothing outside their folder changes."""

from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from publisher.builders.base import Remembered
from publisher.builders.bases import LABEL, Bases
from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci import layout as layouts
from publisher.oci import rootfs, untar
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.layout import Blob, BytesBlob
from publisher.oci.registry import Registries
from tests.threats.archives import KINDS, Entry, layer, packed, raw_header, untouched

LIB = "usr/lib/python3.11"
EVIL = b"evil"


def inside(root: Path) -> None:
    """Fail where a link leads out of the folder, or something is neither file, folder nor link."""
    for path in root.rglob("*"):
        assert path.is_symlink() or path.is_dir() or path.is_file(), path
        real = Path(os.path.realpath(path))  # takes a loop of links for what it is: a way to nowhere
        assert real.is_relative_to(root.resolve()), (path, path.readlink())
        assert not path.lstat().st_mode & 0o6000 or path.is_symlink()


def unpack(folder: Path, *entries: Entry) -> str:
    """Unpack, or be refused with a BuildError, whose text comes back; in both cases nothing else changed."""
    said = ""
    with untouched(folder) as root:
        try:
            rootfs.unpack([layer(entries)], root)
        except BuildError as error:
            said = str(error)
        inside(root)
    return said


ESCAPES: dict[str, list[Entry]] = {
    "parent": [("file", f"{LIB}/../../../../canary", EVIL)],
    "absolute": [("file", f"/{LIB}/../../../../../../canary", EVIL)],
    "link and write through it": [
        ("link", LIB, "../../../.."),
        ("file", f"{LIB}/canary", EVIL),
    ],
    "link to a file and write to it": [
        ("link", f"{LIB}/x", "../../../../canary"),
        ("file", f"{LIB}/x", EVIL),
    ],
    "hard link to the canary": [("hard", f"{LIB}/x", "../canary"), ("file", f"{LIB}/x", EVIL)],
    "hard link through a link": [
        ("link", f"{LIB}/up", "../../../.."),
        ("hard", f"{LIB}/x", f"{LIB}/up/canary"),
        ("file", f"{LIB}/x", EVIL),
    ],
    "a folder that becomes a link": [
        ("folder", LIB, ""),
        ("link", LIB, "../../.."),
        ("file", f"{LIB}/canary", EVIL),
    ],
    # Its relative way was reckoned from where it seems to be, and made where its parent leads to.
    "a link made through a link": [
        ("link", f"{LIB}/x", "/"),
        ("link", LIB, "/"),
        ("link", "usr/lib/python3/a/b/c", "/"),
        ("link", "usr/lib/python3/a/b", "/usr"),
        ("link", "usr/lib/python3", "/"),
    ],
    "a link to itself by its parent": [("link", LIB, "."), ("link", f"{LIB}/{'python3.11/' * 30}x", "..")],
}


@pytest.mark.parametrize("name", ESCAPES)
def test_no_entry_leaves_the_folder(tmp_path: Path, name: str) -> None:
    """Parent references, absolute paths, links and hard links, and links made through links: the canaries stay."""
    unpack(tmp_path, *ESCAPES[name])


def test_the_layout_of_cve_2025_4517(tmp_path: Path) -> None:
    """Links whose resolved path is too long for the kernel, so that checks by realpath stop half-way, lead nowhere."""
    entries: list[Entry] = []
    path, steps = LIB, "abcdefghijklmnop"
    for step in steps:
        entries += [("folder", f"{path}/{'d' * 247}", ""), ("link", f"{path}/{step}", "d" * 247)]
        path += f"/{'d' * 247}"
    way = f"{LIB}/{'/'.join(steps)}/{'l' * 254}"
    entries += [
        ("link", way, "../" * len(steps)),
        ("link", f"{LIB}/escape", f"/{way}/../../../../../canary"),
        ("hard", f"{LIB}/flag", f"{LIB}/escape"),
        ("file", f"{LIB}/flag", EVIL),
        ("file", f"{LIB}/escape/canary", EVIL),
    ]
    unpack(tmp_path, *entries)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "device" in kind or kind == "pipe"])
def test_devices_are_left_out(tmp_path: Path, kind: str) -> None:
    """No device and no pipe is made, not even by root."""
    assert unpack(tmp_path, (kind, f"{LIB}/x", "")) == ""
    assert not (tmp_path / "a/b/c/d/root" / LIB / "x").exists()


@pytest.mark.parametrize(
    "name",
    ["x" * 10_000, "a/" * 2000 + "x", "nul\0x", "line\nx", "\u202egnp.exe", ".wh.x", ".wh..wh..opq", "."],
    ids=["10,000 bytes", "2,000 folders", "NUL", "line", "bidi", "whiteout", "opaque", "dot"],
)
def test_odd_names_are_left_out(tmp_path: Path, name: str) -> None:
    """Names that no Python has are passed over; what is beside them is unpacked."""
    entries: list[Entry] = [("file", f"{LIB}/{name}", EVIL), ("hard", f"{LIB}/y", f"{LIB}/{name}")]
    entries += [("link", f"{LIB}/z", name), ("file", f"{LIB}/os.py", b"good")]
    with untouched(tmp_path) as root:
        rootfs.unpack([layer(entries)], root)
        assert (root / LIB / "os.py").read_bytes() == b"good"
        inside(root)


def test_files_and_folders_in_one_place(tmp_path: Path) -> None:
    """A file below a file is told; a file that replaces a folder does."""
    said = unpack(tmp_path, ("file", f"{LIB}/x", EVIL), ("file", f"{LIB}/x/y", EVIL))
    assert "contradict each other" in said
    root = tmp_path / "second"
    rootfs.unpack([layer([("file", f"{LIB}/x/y", EVIL), ("file", f"{LIB}/x", b"file")])], root)
    assert (root / LIB / "x").read_bytes() == b"file"


def test_names_that_differ_in_case_stay_apart(tmp_path: Path) -> None:
    """On a disk that tells them apart, and only there is an image's Python run, both are there."""
    rootfs.unpack([layer([("file", f"{LIB}/A", b"1"), ("file", f"{LIB}/a", b"2")])], tmp_path / "root")
    assert [(tmp_path / "root" / LIB / name).read_bytes() for name in "Aa"] == [b"1", b"2"]


def test_links_that_multiply(tmp_path: Path) -> None:
    """Links whose targets name other links many times over end after as many steps as in the kernel."""
    entries: list[Entry] = [("link", f"{LIB}/0", ".")]
    entries += [("link", f"{LIB}/{n}", "/".join([str(n - 1)] * 20)) for n in range(1, 35)]
    begin = time.monotonic()
    assert "loop of links" in unpack(tmp_path, *entries, ("file", f"{LIB}/34/x", EVIL))
    assert time.monotonic() - begin < 20


def test_random_layouts_stay_inside(tmp_path: Path) -> None:
    """Some hundred random archives of folders, files, links and hard links, named by a few words and dots."""
    chance = random.Random(11)
    words = ["..", ".", "a", "b", "python3", "/", "canary", "usr/lib", LIB]
    for number in range(300):
        entries: list[Entry] = []
        for _ in range(chance.randint(2, 12)):
            path = f"{LIB}/{'/'.join(chance.choices(words, k=chance.randint(1, 4)))}"
            kind = chance.choice(["file", "link", "link", "hard", "folder"])
            target = "/".join(chance.choices(words, k=chance.randint(1, 6)))
            entries.append((kind, path, EVIL if kind == "file" else target))
        folder = tmp_path / str(number)
        unpack(folder, *entries)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (raw_header(f"{LIB}/x", 5 << 30), "larger than 4 GiB"),
        (raw_header(f"{LIB}/x", 1 << 60), "larger than 4 GiB"),
        (raw_header("././@LongLink", 1 << 40, tarfile.GNUTYPE_LONGNAME), "header of"),
        (raw_header("pax", 1 << 40, tarfile.XHDTYPE), "header of"),
        (raw_header(f"{LIB}/x", 1 << 40, tarfile.GNUTYPE_SPARSE), "sparse"),
        (raw_header(f"{LIB}/x", -512), "header of"),  # CVE-2025-8194: tarfile went back, for ever
    ],
    ids=["large", "huge", "name", "pax", "sparse", "negative"],
)
def test_promises_cost_nothing(tmp_path: Path, content: bytes, said: str) -> None:
    """An entry of petabytes, a name of terabytes, a hole, a negative size: refused by their header."""
    with untouched(tmp_path) as root, pytest.raises(BuildError, match=said):
        rootfs.unpack([packed(content, bytes(1 << 20))], root)


def test_bombs_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What inflates without end, or has entries without end, is stopped by count, over all layers together."""
    monkeypatch.setattr(untar, "MAX_INFLATED", 8 << 20)
    with pytest.raises(BuildError, match="layers are larger"):
        rootfs.unpack([layer([("file", "unwanted", bytes(5 << 20))]) for _ in range(2)], tmp_path / "one")
    monkeypatch.setattr(untar, "MAX_INFLATED", 1 << 40)
    monkeypatch.setattr(untar, "MAX_ENTRIES", 1000)
    with pytest.raises(BuildError, match="more than 1,000 files"):
        rootfs.unpack(
            [layer([("folder", f"{LIB}/{n}", "") for n in range(600)]) for _ in "12"], tmp_path / "two"
        )


def test_entries_without_end_take_no_memory(tmp_path: Path) -> None:
    """Entries that fill no disk fill no memory either: none is kept after it was looked at."""
    path = tmp_path / "layer"
    path.write_bytes(packed(raw_header("unwanted", 0) * 60_000).getvalue())
    code = f"""
import pathlib, re
from publisher.oci import rootfs
peak = lambda: int(re.search("VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
before = peak()
rootfs.unpack([open({str(path)!r}, "rb")], pathlib.Path({str(tmp_path / "root")!r}))
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 15_000  # kilobytes


@pytest.mark.parametrize(
    "path", ["../../../../../../usr/bin", "usr/bin/../../../../../../usr/bin", "/../usr/bin"]
)
def test_the_path_of_an_image_finds_no_python_of_ours(tmp_path: Path, path: str) -> None:
    """PATH comes from the image's config: an entry that climbs out of the folder is passed over."""
    (tmp_path / "root").mkdir()
    assert rootfs.find_python(tmp_path / "root", [path]) is None


def test_a_layer_of_noise(tmp_path: Path) -> None:
    """Random bytes, with and without a tar's magic, are an error that says so and never another one."""
    chance = random.Random(3)
    for number in range(200):
        content = bytearray(raw_header(f"{LIB}/x", 100))
        for _ in range(chance.randint(1, 40)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        if chance.random() < 0.5:  # a checksum that is right, so that the rest is believed
            content[148:156] = b" " * 8
            content[148:156] = b"%06o\0 " % sum(content)
        with contextlib.suppress(BuildError):
            rootfs.unpack([io.BytesIO(bytes(content) + bytes(1024))], tmp_path / str(number))


@pytest.mark.parametrize(
    "executable", ["/../../../usr/bin/python3", "usr/bin/python3", "/", "", "/usr/\nbin"]
)
def test_the_interpreter_lies_in_the_image(tmp_path: Path, executable: str) -> None:
    """Labels and what a cache repository remembers name the program that is started here: only inside the image."""
    config = {"os": "linux", "architecture": "amd64", "config": {"Env": ["PYTHON_VERSION=3.11.2"]}}
    labels = {f"{LABEL}.executable": executable or "/usr/bin/x", f"{LABEL}.glibc": "2.36"}
    config["config"]["Labels"] = labels  # type: ignore[index]
    content = layouts.encode(config)
    manifest = {"config": {"digest": layouts.digest_of(content)}, "layers": []}
    top = layouts.Descriptor.of(layouts.MANIFEST, layouts.encode(manifest))
    layout = layouts.Layout(
        top, {top.digest: layouts.encode(manifest)}, {layouts.digest_of(content): BytesBlob(content)}, {}
    )
    images = Images(Registries(Credentials()), _known={"base": layout})
    remembered = Remembered(
        f"base-{top.digest[7:]}", {"python": "3.11.2", "glibc": "2.36", "executable": executable}
    )
    for memory in ([], [_Memory(remembered)]) if executable else ([_Memory(remembered)],):
        with pytest.raises(BuildError, match="no Python that its settings and files agree on"):
            Bases(images, tmp_path).resolve("base", [Platform("linux", "amd64")], memory)


class _Memory:
    def __init__(self, remembered: Remembered) -> None:
        self._remembered = remembered

    def find(self, key: str) -> Remembered | None:
        return self._remembered if key == self._remembered.key else None

    def blob(self, digest: str) -> Blob:
        raise AssertionError(digest)
