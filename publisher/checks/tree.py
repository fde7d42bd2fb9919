"""The file system that an image's layers make together, in memory: upper layers over lower ones, whiteouts, links.

As engines unpack it: a folder over a link replaces the link, whiteouts concern lower layers only, and a path is
followed through the image's own links, never above its root.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from publisher.checks.elf import Elf
from publisher.checks.packages import Package
from publisher.checks.survey import Entry, Survey
from publisher.errors import BuildError

_HOPS = 40  # of links on the way of one path, as in the kernel
_STEPS = 30_000_000  # names that are looked up for one image, links included: a minute of a hostile one
_MOST = 1_000_000  # entries of all layers
_FAULTS = 50


@dataclass(slots=True, eq=False)
class Folder:
    """`layer`: the digest of the layer that it came with last, empty where none names it."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    layer: str = ""
    inside: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class File:
    """A regular file, or a device or the like (`regular` False). Hard links are one File at several paths."""

    path: str  # where it was first
    layer: str
    mode: int
    uid: int
    gid: int
    size: int
    package: Package | None
    line: str
    elf: Elf | None
    regular: bool = True


@dataclass(slots=True, eq=False)
class Link:
    target: str
    layer: str


Node = Folder | File | Link


class Tree:
    """`faults`: layer, path, and what is wrong with an entry there. Raises BuildError for more than any image holds."""

    def __init__(self, surveys: Sequence[Survey]) -> None:
        self.root = Folder()
        self.texts: dict[str, str] = {}
        self.packages: list[Package] = []
        self.faults: list[tuple[str, str, str]] = []
        self._steps = 0
        if sum(len(survey.entries) for survey in surveys) > _MOST:
            raise BuildError(f"the image has more than {_MOST:,} files")
        for survey in surveys:
            self._add(survey)

    def find(self, path: str, start: str = "/") -> tuple[str, Node] | None:
        """The real path and what is there, all links followed; None where nothing is. `start`: of a relative path."""
        return self._walk(path if path.startswith("/") else f"{start}/{path}", last=True)

    def file(self, path: str, start: str = "/") -> File | None:
        found = self.find(path, start)
        return found[1] if found and isinstance(found[1], File) else None

    def folder(self, path: str) -> Folder | None:
        found = self.find(path)
        return found[1] if found and isinstance(found[1], Folder) else None

    def text(self, path: str) -> str:
        """The content of a file that the loader or `User` goes by; empty where there is none."""
        found = self.find(path)
        return self.texts.get(found[0][1:], "") if found and isinstance(found[1], File) else ""

    def files(self) -> Iterator[tuple[str, File]]:
        """Every file with its path, no link followed."""
        stack = [("", self.root)]
        while stack:
            above, folder = stack.pop()
            for name, node in folder.inside.items():
                if isinstance(node, File):
                    yield f"{above}/{name}", node
                elif isinstance(node, Folder):
                    stack.append((f"{above}/{name}", node))

    def _walk(self, path: str, *, last: bool) -> tuple[str, Node] | None:
        done: list[tuple[str, Folder]] = []
        here, todo, hops = self.root, [part for part in reversed(path.split("/")) if part], 0
        while todo:
            self._steps += 1
            if self._steps > _STEPS:
                raise BuildError("the links of the image lead on and on")
            part = todo.pop()
            if part == ".":
                continue
            if part == "..":
                here = done.pop()[1] if done else self.root
                continue
            node = here.inside.get(part)
            if isinstance(node, Folder):
                done.append((part, here))
                here = node
            elif isinstance(node, Link) and (todo or last):
                hops += 1
                if hops > _HOPS:
                    return None
                if node.target.startswith("/"):
                    done, here = [], self.root
                todo += [part for part in reversed(node.target.split("/")) if part]
            elif node is None or todo:
                return None
            else:
                return "/".join(["", *(name for name, _ in done), part]), node
        return "/".join(["", *(name for name, _ in done)]) or "/", here

    def _add(self, survey: Survey) -> None:
        self.faults += [(survey.digest, f"/{path}", fault) for path, fault in survey.faults]
        for entry in survey.entries:  # they concern what lies below, wherever in the layer they stand
            if entry.kind in ("gone", "opaque"):
                self._remove(entry)
        self.packages += survey.packages
        above, folder = "", self.root
        for entry in survey.entries:
            if entry.kind in ("gone", "opaque") or not entry.path:
                continue
            head, _, name = entry.path.rpartition("/")
            if head != above or above == "":
                made = self._make(head, survey.digest)
                if made is None:
                    self._fault(survey.digest, entry.path, "lies below a file")
                    continue
                above, folder = head, made
            self._put(folder, name, entry, survey)
            if entry.kind != "file":  # a link or a folder may have come between `above` and the root
                above = ""

    def _put(self, folder: Folder, name: str, entry: Entry, survey: Survey) -> None:
        node: Node
        if entry.kind == "folder":
            there = folder.inside.get(name)
            node = there if isinstance(there, Folder) else Folder()
            node.mode, node.uid, node.gid, node.layer = entry.mode, entry.uid, entry.gid, survey.digest
        elif entry.kind == "link":
            node = Link(entry.target, survey.digest)
        elif entry.kind == "hard":
            found = self._walk(entry.target, last=False) if entry.target else None
            if found is None or isinstance(found[1], Folder):
                self._fault(survey.digest, entry.path, "is a hard link to what is not there")
                return
            node = found[1]
        else:
            package = survey.packages[entry.package] if entry.package >= 0 else None
            facts = entry.mode, entry.uid, entry.gid, entry.size, package, entry.line, entry.elf
            node = File(f"/{entry.path}", survey.digest, *facts, regular=entry.kind == "file")
            self.texts.pop(entry.path, None)
            if entry.path in survey.texts:
                self.texts[entry.path] = survey.texts[entry.path]
        folder.inside[name] = node

    def _make(self, path: str, layer: str) -> Folder | None:
        """The folder `path`, made where it is not there; None where a file is in its way."""
        found = self._walk(path, last=True)
        if found:
            return found[1] if isinstance(found[1], Folder) else None
        head, _, name = path.rpartition("/")
        here, missing = self.root, [name]
        while head and not (found := self._walk(head, last=True)):
            head, _, name = head.rpartition("/")
            missing.append(name)
        if head and found:
            if not isinstance(found[1], Folder):
                return None
            here = found[1]
        for part in reversed(missing):
            if isinstance(here.inside.get(part), (File, Link)):
                return None  # or a link to nowhere, through which no engine makes a folder
            here = here.inside.setdefault(part, Folder(layer=layer))  # type: ignore[assignment]
        return here

    def _remove(self, entry: Entry) -> None:
        head, _, name = entry.path.rpartition("/")
        found = self._walk(head if entry.kind == "gone" else entry.path, last=True)
        if not found or not isinstance(found[1], Folder):
            return
        if entry.kind == "gone":
            found[1].inside.pop(name, None)
        else:
            found[1].inside.clear()

    def _fault(self, layer: str, path: str, text: str) -> None:
        if len(self.faults) < _FAULTS:
            self.faults.append((layer, f"/{path}", text))
