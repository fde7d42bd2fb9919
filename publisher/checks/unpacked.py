"""The file system of an image's layers, or what of it is not there yet, as files in a new folder.

Where each file goes is known before any is written, from the tree that the layers' surveys make: so layers are read
side by side, a file that a layer above replaces is never written, and whiteouts need no work. Every folder is made
first, and every link last: nothing is written through a link. Devices, owners and set-id bits are left out.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from publisher import machine
from publisher.checks.survey import Proven, path_of
from publisher.checks.tree import File, Folder, Link, Node, Tree
from publisher.errors import BuildError, HostError
from publisher.oci import untar
from publisher.oci.layout import Blob, Descriptor

# What a name that no file system takes comes to; the last: a link without a target.
_NO_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ENOENT}
# Whatever the umask says: another user than this one may be the one who reads.
_FOLDER, _PROGRAM, _PLAIN = 0o755, 0o755, 0o644
_SPARE = 1 << 30  # bytes of the disk that are left to others
# Where the system's own file systems are mounted: what an image has there is hidden in a container, too.
MOUNTED = ("dev", "proc", "sys", "tmp")


@dataclass(slots=True)
class Plan:
    """What of a tree is to be made, and how. Paths are relative, of folders first and of what is in them after."""

    folders: list[str] = field(default_factory=list)
    joints: list[str] = field(default_factory=list)  # folders that the tree below has as they are
    kept: list[str] = field(default_factory=list)  # files that the tree below has
    files: dict[str, dict[str, list[str]]] = field(default_factory=dict)  # layer -> path in it -> places
    links: list[tuple[str, str]] = field(default_factory=list)
    size: int = 0  # bytes of the files

    @classmethod
    def of(cls, tree: Tree, below: Tree | None = None, *, joined: bool = True) -> Plan:
        """All of `tree`; what `below` has just so is told apart: the topmost such folders, and files beside others.

        `joined` False: only files are.
        """
        plan = cls()
        same = _same(tree.root, below.root) if below and joined else set()
        stack: list[tuple[str, Folder, Folder | None]] = [("", tree.root, below.root if below else None)]
        while stack:
            above, folder, twin = stack.pop()
            for name, node in folder.inside.items():
                path = f"{above}/{name}" if above else name
                other = twin.inside.get(name) if twin else None
                if not above and name in MOUNTED:
                    continue
                if isinstance(node, Folder):
                    if id(node) in same:
                        plan.joints.append(path)
                    else:
                        plan.folders.append(path)
                        stack.append((path, node, other if isinstance(other, Folder) else None))
                elif isinstance(node, Link):
                    if target := _inside(tree, above, node.target):
                        plan.links.append((path, target))
                elif node.regular and other is not None and _equal(node, other):
                    plan.kept.append(path)
                elif node.regular:
                    plan._file(path, node)
        plan.folders += MOUNTED
        return plan

    def _file(self, path: str, node: File) -> None:
        places = self.files.setdefault(node.layer, {}).setdefault(node.path[1:], [])
        self.size += 0 if places else node.size
        places.append(path)


def write(
    plan: Plan,
    layers: Sequence[Descriptor],
    blobs: Mapping[str, Blob],
    folder: Path,
    below: Path | None = None,
) -> None:
    """Make what `plan` says in the new folder `folder`; `below`: where the tree below is, on the same disk.

    Raises BuildError for layers that are not what was surveyed, HostError where the disk has no room for them.
    """
    folder.mkdir(parents=True)
    if plan.size > shutil.disk_usage(folder).free - _SPARE:
        raise HostError(
            f"the image unpacks to {plan.size >> 20:,} MiB, and the disk of {folder} has no room for it",
            hint="Free space, or choose another cache_folder",
        )
    try:
        for path in (*plan.folders, *plan.joints):
            (folder / path).mkdir()
            (folder / path).chmod(_FOLDER)
        wanted = {layer.digest: layer for layer in layers if layer.digest in plan.files}
        with ThreadPoolExecutor(max(2, machine.processors())) as pool:
            ordered = sorted(wanted.values(), key=lambda layer: -layer.size)
            for _ in pool.map(
                lambda one: _layer(one, blobs[one.digest], plan.files[one.digest], folder), ordered
            ):
                pass
        for path in plan.kept:
            (folder / path).hardlink_to((below or folder) / path)
        for path, target in plan.links:
            (folder / path).symlink_to(target)
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it
        if isinstance(error, OSError) and error.errno not in _NO_NAME:
            raise
        said = error.strerror if isinstance(error, OSError) else error
        raise BuildError(f"the files of the image cannot be unpacked: {said}") from error


def _layer(layer: Descriptor, blob: Blob, places: Mapping[str, Sequence[str]], folder: Path) -> None:
    with closing(Proven(blob.open(), layer)) as stream:
        try:
            for archive, entry in untar.entries([cast("BinaryIO", stream)], "the image"):
                if entry.isreg() and (found := places.get(path_of(entry.name)[0])):
                    _file(cast("BinaryIO | None", archive.extractfile(entry)), entry.mode, found, folder)
        except untar.UNREADABLE as error:
            raise BuildError(f"a layer of the image cannot be read: {error}") from error
        stream.finish()


def _file(source: BinaryIO | None, mode: int, places: Sequence[str], folder: Path) -> None:
    first, *others = [f"{folder}/{place}" for place in places]
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    permissions = _PROGRAM if mode & 0o111 else _PLAIN
    try:
        descriptor = os.open(first, flags, permissions)
    except FileExistsError:  # twice in one layer: the last one counts
        for place in (first, *others):
            Path(place).unlink()
        descriptor = os.open(first, flags, permissions)
    try:
        os.fchmod(descriptor, permissions)
        while source and (chunk := source.read(untar.BLOCK)):
            while chunk:
                chunk = chunk[os.write(descriptor, chunk) :]
    finally:
        os.close(descriptor)
    for place in others:
        os.link(first, place)


def _inside(tree: Tree, folder: str, target: str) -> str:
    """What a link in `folder` says, so that it leads nowhere but into the tree; empty where it leads nowhere.

    A link lies in a real folder, so steps up at its beginning are what they look like. Later ones may follow
    a link, and are taken here.
    """
    depth = folder.count("/") + 1 if folder else 0
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = next((number for number, part in enumerate(parts) if part != ".."), len(parts))
    rest = parts[up:]
    if target.startswith("/") or up > depth:
        up = depth
    if ".." in rest:
        found = tree.find(target, f"/{folder}")
        if found is None:
            return ""
        up, rest = depth, [part for part in found[0].split("/") if part]
    return "/".join([".."] * up + rest) or "."


def _same(root: Folder, twin: Folder) -> set[int]:
    """The ids of the folders below `root` that are in `twin` with all that is in them, no more and no less."""
    pairs: list[tuple[Folder, Folder]] = []
    stack = [(root, twin)]
    while stack:
        mine, other = stack.pop()
        pairs.append((mine, other))
        for name, node in mine.inside.items():
            there = other.inside.get(name)
            if isinstance(node, Folder) and isinstance(there, Folder):
                stack.append((node, there))
    same: set[int] = set()
    for mine, other in reversed(pairs):  # what lies deeper comes first
        if len(mine.inside) == len(other.inside) and all(
            id(node) in same if isinstance(node, Folder) else _equal(node, other.inside.get(name))
            for name, node in mine.inside.items()
        ):
            same.add(id(mine))
    return same


def _equal(node: Node, other: Node | None) -> bool:
    if isinstance(node, File):
        return isinstance(other, File) and (node.layer, node.path) == (other.layer, other.path)
    return isinstance(node, Link) and isinstance(other, Link) and node.target == other.target
