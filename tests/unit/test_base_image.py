"""What becomes of Debian packages, with small packages made here."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher.baseimage import ldcache
from publisher.baseimage.debs import Package, read
from publisher.baseimage.packages import reachable
from publisher.baseimage.rootfs import Facts, facts, rootfs
from publisher.baseimage.stdlib import modules
from publisher.baseimage.tree import Tree
from publisher.errors import EngineError

Files = dict[str, bytes | tuple[bytes, str]]  # content, or the kind of a link and its target
MakeDeb = Callable[..., Package]


def _tar(files: Files, mode: int = 0o4755) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mode = mode
            if isinstance(content, tuple):
                info.type, info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def _ar(members: dict[str, bytes]) -> bytes:
    whole = b"!<arch>\n"
    for name, content in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        whole += head + content + b"\n" * (len(content) % 2)
    return whole


@pytest.fixture
def make_deb(tmp_path: Path) -> MakeDeb:
    """Write a package: ``make_deb("libc6", "2.36-9", {"./lib/x": b""}, Depends="libgcc-s1 (>= 3)")``."""

    def make(name: str, version: str = "1.0-1", files: Files | None = None, **fields: str) -> Package:
        lines = [
            f"Package: {name}",
            f"Version: {version}",
            *(f"{key}: {value}" for key, value in fields.items()),
        ]
        control = _tar({"./control": ("\n".join(lines) + "\nDescription: one\n two\n").encode()})
        path = tmp_path / f"{name}.deb"
        parts = {"control.tar.xz": lzma.compress(control), "data.tar.xz": lzma.compress(_tar(files or {}))}
        path.write_bytes(_ar({"debian-binary": b"2.0\n", **parts}))
        return read(path)

    return make


@pytest.fixture
def platform(make_deb: MakeDeb) -> Callable[[Files], list[Package]]:
    """The least set of packages that makes a tree, with some files more."""

    def make(files: Files) -> list[Package]:
        accounts: Files = {
            "./usr/share/base-passwd/passwd.master": b"root:*:0:0:root:/root:/bin/bash\n",
            "./usr/share/base-passwd/group.master": b"root:*:0:\n",
        }
        return [
            make_deb("base-passwd", files=accounts),
            make_deb("libc6", "2.36-9+deb12u1"),
            make_deb("python3.11-minimal", "3.11.2-6+deb12u9"),
            make_deb("under-test", files=files),
        ]

    return make


def test_control(make_deb: MakeDeb) -> None:
    """A package's fields are read, with continued lines, and its dependencies without their conditions."""
    package = make_deb(
        "a", "1:2.3.4-5", Depends="b (>= 1) | c:any, d", **{"Pre-Depends": "e"}, Provides="f (= 1)"
    )
    assert package.fields["Description"] == "one\n two"
    assert package.needs() == [["e"], ["b", "c"], ["d"]]
    assert package.provides() == ["a", "f"]
    assert package.upstream == "2.3.4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no archive", "is not a Debian package"),
        (_ar({"debian-binary": b"2.0\n"}), "holds no control.tar"),
        (_ar({"control.tar.zst": b"xx"}), "packed as control.tar.zst"),
        (_ar({"control.tar": _tar({"./md5sums": b""})}), "holds no control file"),
    ],
)
def test_no_package(content: bytes, message: str, tmp_path: Path) -> None:
    """What is no package, or one of an unknown form, is told by the file's name, with a hint."""
    path = tmp_path / "x.deb"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=f"x.deb.*{message}") as caught:
        read(path)
    assert caught.value.hint


def test_cut(make_deb: MakeDeb) -> None:
    """Packages that only install scripts need go, and what only those need, unless somebody asks for one."""
    packages = [
        make_deb("tool", Depends="dpkg, libnsl2, awk, libreal"),
        make_deb("libreal"),
        make_deb("dpkg", Depends="tar"),
        make_deb("tar"),
        make_deb("mawk", Provides="awk"),
        make_deb("libnsl2", Depends="libkrb5"),
        make_deb("libkrb5"),
    ]
    assert [p.name for p in reachable(packages, ["tool"])] == ["libreal", "tool"]
    assert [p.name for p in reachable(packages, ["tool", "libkrb5"])] == ["libkrb5", "libreal", "tool"]
    assert [p.name for p in reachable(packages, ["tool", "mawk"])] == ["libreal", "mawk", "tool"]


def test_merged_usr(platform: Callable[[Files], list[Package]]) -> None:
    """What packages put into /bin and /lib lies in /usr, and links still lead to where they led."""
    up = (tarfile.SYMTYPE, "../../usr/lib/real.so")
    files: Files = {"./bin/tool": b"x", "./lib/x86_64-linux-gnu/a.so": up, "./usr/lib/real.so": b"y"}
    tree = rootfs(platform(files))
    assert tree.content("usr/bin/tool") == b"x"
    assert tree.entries["usr/lib/x86_64-linux-gnu/a.so"].target == "/usr/lib/real.so"
    assert {name: tree.entries[name].target for name in ("bin", "lib")} == {
        "bin": "usr/bin",
        "lib": "usr/lib",
    }
    assert "lib64" not in tree.entries  # nothing is in it


def test_left_out(platform: Callable[[Files], list[Package]]) -> None:
    """Manuals, translations, headers and tests go; licences, the C locale and everything unknown stay."""
    kept = ["usr/share/doc/a/copyright", "usr/lib/locale/C.utf8/LC_CTYPE", "etc/a.conf", "usr/lib/x/a.py"]
    gone = [
        "usr/share/doc/a/README",
        "usr/share/man/man1/a.1.gz",
        "usr/share/locale/de/a.mo",
        "usr/include/a.h",
    ]
    gone += ["usr/lib/python3.11/test/a.py", "usr/lib/x/__pycache__/a.pyc", "usr/lib/liba.a", "lib/systemd/a"]
    tree = rootfs(platform({f"./{path}": b"" for path in kept + gone}))
    assert [path for path in kept if path not in tree.entries] == []
    assert [path for path in gone if path in tree.entries or f"usr/{path}" in tree.entries] == []
    listed = tree.content("var/lib/dpkg/info/under-test.list").decode().split("\n")
    assert listed[1:-1] == [f"/{path}" for path in kept]


def test_modes_and_links(platform: Callable[[Files], list[Package]]) -> None:
    """Set-uid bits are dropped, a hard link becomes a file, and a device ends the build."""
    hard = (tarfile.LNKTYPE, "./usr/bin/one")
    tree = rootfs(platform({"./usr/bin/one": b"1", "./usr/bin/two": hard}))
    assert (tree.entries["usr/bin/one"].mode, tree.content("usr/bin/two")) == (0o755, b"1")
    with pytest.raises(EngineError, match=r"holds \./etc/console"):
        rootfs(platform({"./etc/console": (tarfile.CHRTYPE, "")}))


def test_made_files(platform: Callable[[Files], list[Package]]) -> None:
    """What install scripts would have made is there: accounts, certificates, links, writable folders."""
    folder = "./usr/share/ca-certificates/mozilla"
    tree = rootfs(platform({f"{folder}/b.crt": b"B\n", f"{folder}/a.crt": b"A\n", f"{folder}/README": b"no"}))
    assert tree.content("etc/ssl/certs/ca-certificates.crt") == b"A\nB\n"
    assert tree.content("etc/passwd").splitlines() == [
        b"root:*:0:0:root:/root:/bin/sh",
        b"model:x:10001:10001::/home/model:/bin/sh",
    ]
    assert tree.entries["tmp"].mode == tree.entries["var/tmp"].mode == 0o1777
    assert tree.entries["home/model"].owner == 10001
    assert tree.entries["usr/bin/python3"].target == "python3.11"
    assert b"Package: libc6\nStatus: install ok installed\nVersion: 2.36" in tree.content(
        "var/lib/dpkg/status"
    )


def test_facts(make_deb: MakeDeb) -> None:
    """Versions come from the packages; no Python, or two, is told."""
    libc, one = make_deb("libc6", "2.41-12"), make_deb("python3.13-minimal", "3.13.5-2")
    two = make_deb("python3.12-minimal", "3.12.1-2")
    assert facts([libc, one]) == Facts("3.13.5", "2.41")
    assert facts([libc, one]).minor == "3.13"
    for packages in ([libc], [libc, one, two], [one]):
        with pytest.raises(EngineError):
            facts(packages)


def test_shared_modules() -> None:
    """Only modules that are the same everywhere get shared bytecode, and none that a platform alone could have."""
    trees = [Tree(), Tree()]
    for number, tree in enumerate(trees):
        tree.file("lib/same.py", "a = 1")
        tree.file("lib/other.py", f"a = {number}")
        tree.file("lib/_sysconfigdata__x.py", "a = 1")
        tree.file("lib/same.txt", "a")
    trees[0].file("lib/first.py", "")
    trees[0].file("lib/only.py", "x")
    assert modules(trees, "lib") == {"lib/same.py": b"a = 1"}
    assert set(modules(trees[1:], "lib")) == {"lib/other.py", "lib/same.py"}


def test_loader_cache() -> None:
    """The cache lists what programs name, highest first as the loader's search by halves expects."""
    tree = Tree()
    folder = "usr/lib/x86_64-linux-gnu"
    for name in ("libz.so.1.2.13", "libq-9.so", "libq-10.so", "liba.txt"):
        tree.file(f"{folder}/{name}", b"")
    tree.link(f"{folder}/libz.so.1", "libz.so.1.2.13")
    content = ldcache.cache(ldcache.libraries(tree))
    assert content[:20] == b"glibc-ld.so.cache1.1"
    number = struct.unpack_from("<I", content, 20)[0]
    paths = []
    for index in range(number):
        kind, key, value = struct.unpack_from("<iII", content, 48 + 24 * index)
        path = content[value : content.index(b"\0", value)].decode()
        assert (kind, path.rpartition("/")[2]) == (0x303, content[key : content.index(b"\0", key)].decode())
        paths.append(path.rpartition("/")[2])
    assert paths == ["libz.so.1", "libq-10.so", "libq-9.so"]
