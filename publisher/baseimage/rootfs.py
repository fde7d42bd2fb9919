"""From packages to the file tree of a platform: what is left out, and what install scripts would have made."""

from __future__ import annotations

import posixpath
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.baseimage import ldcache
from publisher.baseimage.debs import Package
from publisher.baseimage.tree import Entry, Tree
from publisher.errors import EngineError

USER = 10001
HOME = "home/model"
_MERGED = ("bin", "lib", "lib64", "sbin")  # /bin is a link to /usr/bin, and so on: Debian's merged /usr

# Copyright files and the licences that they name stay (100 kB): binaries may not be passed on without them.
_LEFT_OUT = re.compile(
    "|".join(
        (
            r"usr/share/(bash-completion|base-passwd|binfmts|bug|ca-certificates|debconf|gdb|info|lintian|locale)/.+",
            r"usr/share/(man|menu|pixmaps|python3|zoneinfo/posix|zoneinfo/right)/.+",
            r"usr/share/doc/[^/]+/(?!copyright$).+",
            r"usr/lib/(binfmt\.d|locale/(?!C\.utf8).+|mime|pcrlib|systemd|sysusers\.d|tmpfiles\.d|udev)/.+",
            r"usr/lib/[^/]+/gconv/(EBCDIC|IBM)[^/]*",  # mainframes' code pages, 1 MB
            r"usr/include/.+|usr/lib/pkgconfig/.+|.+\.(a|la|pyc)|.+/__pycache__(/.+)?",
            r"usr/lib/python3[^/]*/(test|idlelib|turtledemo|lib2to3/tests|distutils/tests|config-3[^/]*)/.+",
            r"usr/lib/python3[^/]*/lib-dynload/nis\..+",  # its libraries are cut, see packages.py
            r"usr/bin/(c_rehash|openssl|py3\w+|pdb3.*|pydoc3.*|pygettext3.*|localedef)",
            r"usr/sbin/(update-ca-certificates|update-passwd|iconvconfig|zic|zdump)",
            r"etc/(apt|ca-certificates|cron\.\w+|default|dpkg|init\.d|logrotate\.d|pam\.d|skel|update-motd\.d)/.+",
            r"(dev|proc|sys|boot|media|mnt|srv)/.+",
        )
    )
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the packages tell of a platform's Python and libc."""

    python: str  # 3.11.2
    glibc: str  # 2.36

    @property
    def minor(self) -> str:
        return ".".join(self.python.split(".")[:2])


def facts(packages: Sequence[Package]) -> Facts:
    """Versions by the packages' names; raises EngineError where one is missing or there are two Pythons."""
    pythons = [p for p in packages if re.fullmatch(r"python3\.[0-9]+-minimal", p.name)]
    libc = [p for p in packages if p.name == "libc6"]
    if len(pythons) != 1 or not libc:
        found = ", ".join(p.name for p in pythons) or "no python3.X-minimal"
        raise EngineError(
            f"the suite gives {found}", hint="Name a suite with one Python 3, such as bookworm."
        )
    return Facts(pythons[0].upstream, libc[0].upstream)


def rootfs(packages: Sequence[Package]) -> Tree:
    """The file tree of a platform from its packages, merged-usr, with Debian's package list for scanners."""
    tree = Tree()
    for package in packages:
        listed = [path for path in _unpack(package, tree) if path]
        tree.file(f"var/lib/dpkg/info/{package.name}.list", "".join(f"/{path}\n" for path in ("./", *listed)))
    masters = {name: tree.content(f"usr/share/base-passwd/{name}.master") for name in ("passwd", "group")}
    bundle = b"".join(content for _, content in tree.files("usr/share/ca-certificates/mozilla", ".crt"))
    tree.entries = {path: entry for path, entry in tree.entries.items() if not _LEFT_OUT.fullmatch(path)}
    _accounts(tree, masters["passwd"].decode(), masters["group"].decode())
    _files(tree, facts(packages), bundle)
    tree.file("var/lib/dpkg/status", "".join(f"{_status(package)}\n\n" for package in packages))
    tree.parents()
    return tree


def _unpack(package: Package, tree: Tree) -> list[str]:
    """Add a package's entries; gives the paths that stay."""
    paths = []
    for info, content in package.members():
        path = _merged(posixpath.normpath(info.name).lstrip("/"))
        if path == "." or path in _MERGED or path.startswith("../"):
            continue
        entry = _entry(info, content, tree)
        if info.isdir():
            tree.entries.setdefault(path, entry)
        else:
            tree.entries[path] = entry
        if not _LEFT_OUT.fullmatch(path):
            paths.append(path)
    return paths


def _entry(info: tarfile.TarInfo, content: bytes, tree: Tree) -> Entry:
    if info.isdir():
        return Entry("directory", info.mode & 0o1777)
    if info.issym():
        target = info.linkname
        here = posixpath.dirname(posixpath.normpath(info.name))
        if not target.startswith("/") and here.split("/", 1)[0] in _MERGED and target.startswith("../"):
            target = posixpath.normpath(f"/{here}/{target}")  # the link moved one level down
        return Entry("link", target=target)
    if info.islnk():
        first = tree.entries[_merged(posixpath.normpath(info.linkname).lstrip("/"))]
        return Entry("file", first.mode, first.content)
    if not info.isreg():
        raise EngineError(f"a package holds {info.name}, which is no file, directory or link")
    return Entry("file", info.mode & 0o777, content)  # nothing in the image is set-uid


def _merged(path: str) -> str:
    return f"usr/{path}" if path.split("/", 1)[0] in _MERGED and "/" in path else path


def _accounts(tree: Tree, passwd: str, group: str) -> None:
    passwd = passwd.replace(":/bin/bash\n", ":/bin/sh\n")
    tree.file("etc/passwd", f"{passwd}model:x:{USER}:{USER}::/{HOME}:/bin/sh\n")
    tree.file("etc/group", f"{group}model:x:{USER}:\n")
    tree.directory("root", 0o700)
    tree.directory(HOME, owner=USER)


def _files(tree: Tree, known: Facts, bundle: bytes) -> None:
    for name in _MERGED:
        if any(path.startswith(f"usr/{name}/") for path in tree.entries):  # lib64 is x86-64's alone
            tree.link(name, f"usr/{name}")
    tree.link("usr/bin/sh", "dash")
    tree.link("usr/bin/python3", f"python{known.minor}")
    tree.link("usr/bin/python", "python3")
    for path in ("tmp", "var/tmp"):
        tree.directory(path, 0o1777)
    for path in ("dev", "proc", "sys", "run/lock", "usr/local/bin"):
        tree.directory(path)
    tree.link("var/run", "/run")
    tree.link("var/lock", "/run/lock")
    tree.file("etc/ld.so.cache", ldcache.cache(ldcache.libraries(tree)))
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
    tree.file("etc/ssl/certs/ca-certificates.crt", bundle)
    tree.link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
    tree.file("etc/timezone", "Etc/UTC\n")


def _status(package: Package) -> str:
    name, _, rest = package.control.partition("\n")
    return f"{name}\nStatus: install ok installed\n{rest}"
