"""Unpacking a base image's Python: only what is wanted, and never outside its folder."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from publisher.errors import BuildError
from publisher.oci import rootfs


def layer(*entries: tuple[str, str, bytes | str], packed: bool = True) -> io.BytesIO:
    """A layer of (kind, path, content or target) entries; kinds: file, link, hard, dir."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for kind, path, content in entries:
            info = tarfile.TarInfo(path)
            if kind == "file" and isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
                continue
            info.type = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "dir": tarfile.DIRTYPE}[kind]
            info.linkname = str(content)
            archive.addfile(info)
    return io.BytesIO(gzip.compress(sink.getvalue()) if packed else sink.getvalue())


PYTHON = ("file", "usr/bin/python3.11", b"#!python")


def test_the_interpreter_is_found(tmp_path: Path) -> None:
    """Merged-usr links, relative and absolute, lead to the interpreter and the C library inside the folder."""
    base = layer(
        ("link", "bin", "usr/bin"),
        ("link", "lib", "usr/lib"),
        PYTHON,
        ("link", "usr/bin/python3", "/usr/bin/python3.11"),
        (
            "file",
            "lib/x86_64-linux-gnu/libc.so.6",
            b"xx GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n",
        ),
        ("file", "usr/share/doc/huge", b"not wanted"),
    )
    root = tmp_path / "root"
    rootfs.unpack([base], root)
    assert rootfs.find_python(root, ["/usr/local/bin", "/usr/bin"]) == "/usr/bin/python3.11"
    assert rootfs.glibc_of(root) == (2, 36)
    assert (root / "usr/lib/x86_64-linux-gnu/libc.so.6").is_file()
    assert not (root / "usr/share").exists()


def test_later_layers_win(tmp_path: Path) -> None:
    """A file of an upper layer replaces the lower one's, plain tar or gzip."""
    upper = layer(("file", "usr/bin/python3.11", b"newer"), packed=False)
    rootfs.unpack([layer(PYTHON), upper], tmp_path / "root")
    assert (tmp_path / "root/usr/bin/python3.11").read_bytes() == b"newer"


@pytest.mark.parametrize(
    "entries",
    [
        [("file", "../canary", b"evil")],
        [("file", "usr/lib/python3.11/../../../../canary", b"evil")],
        [("link", "usr/lib/python3", "../../../.."), ("file", "usr/lib/python3/canary", b"evil")],
        [("link", "usr/lib/python3", "/"), ("file", "usr/lib/python3/canary", b"evil")],
        [
            ("link", "usr/lib/python3", ".."),
            ("link", "usr/lib/python4", "python3/../.."),
            ("file", "usr/lib/python4/canary", b"e"),
        ],
        [("hard", "usr/bin/python3.11", "../canary"), ("file", "usr/bin/python3.11", b"evil")],
        [("link", "usr/bin/python3.11", "../../../canary"), ("file", "usr/bin/python3.11", b"evil")],
        [("link", "usr/lib/python3.11", "/tmp"), ("file", "usr/lib/python3.11/x", b"evil")],
    ],
)
def test_nothing_leaves_the_folder(tmp_path: Path, entries: list[tuple[str, str, bytes | str]]) -> None:
    """Parent references, and links that point outside, cannot change or create a file outside."""
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    root = tmp_path / "deep" / "root"
    root.parent.mkdir()
    (tmp_path / "deep" / "canary").write_text("as it was")
    rootfs.unpack([layer(*entries)], root)
    assert canary.read_text() == "as it was"
    assert (tmp_path / "deep" / "canary").read_text() == "as it was"
    for path in root.rglob("*"):
        assert path.resolve().is_relative_to(root.resolve()), path


def test_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    """Links that lead to each other are told, and do not hang."""
    loop = [("link", "usr/lib/python3.1", "python3.2"), ("link", "usr/lib/python3.2", "python3.1")]
    with pytest.raises(BuildError, match="loop of links"):
        rootfs.unpack([layer(*loop, ("file", "usr/lib/python3.1/x", b""))], tmp_path / "root")


@pytest.mark.parametrize("data", [b"", b"\x1f\x8bnot gzip at all", b"<html>sign in</html>"])
def test_what_is_no_layer_is_told(tmp_path: Path, data: bytes) -> None:
    """An empty, cut or foreign stream is an error with one line, never a folder that looks whole."""
    with pytest.raises(BuildError, match="cannot be read"):
        rootfs.unpack([io.BytesIO(data)], tmp_path / "root")


@pytest.mark.parametrize("packed", [True, False])
def test_a_layer_that_is_cut_short_within_a_file(tmp_path: Path, packed: bool) -> None:
    """It is told as such, whichever of the formats notices."""
    whole = layer(("file", "usr/bin/python3.11", bytes(range(256)) * 4000), packed=packed).getvalue()
    with pytest.raises(BuildError, match="cannot be read"):
        rootfs.unpack([io.BytesIO(whole[: len(whole) // 2])], tmp_path / "root")
