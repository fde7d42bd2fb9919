"""A file tree in memory, which becomes one layer. A base image's is some 50 MB."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from publisher.oci.layer import LayerWriter


@dataclass(frozen=True, slots=True)
class Entry:
    """A file with its bytes, a directory, or a link with its target. All but directories belong to root."""

    kind: Literal["file", "directory", "link"]
    mode: int = 0o644
    content: bytes = b""
    target: str = ""
    owner: int = 0


@dataclass(slots=True)
class Tree:
    """Entries by path, without a leading slash. What is added later replaces what was there."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def file(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        data = content.encode() if isinstance(content, str) else content
        self.entries[path] = Entry("file", mode, data)

    def directory(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        self.entries[path] = Entry("directory", mode, owner=owner)

    def link(self, path: str, target: str) -> None:
        self.entries[path] = Entry("link", target=target)

    def content(self, path: str) -> bytes:
        """A file's bytes; empty where there is no such file."""
        entry = self.entries.get(path)
        return entry.content if entry else b""

    def files(self, folder: str, suffix: str = "") -> Iterator[tuple[str, bytes]]:
        """The regular files below `folder`, sorted, with their bytes."""
        for path, entry in sorted(self.entries.items()):
            if entry.kind == "file" and path.startswith(f"{folder}/") and path.endswith(suffix):
                yield path, entry.content

    def parents(self) -> None:
        """Add the directories that entries lie in and that nobody named."""
        for path in list(self.entries):
            while path := posixpath.dirname(path):
                self.entries.setdefault(path, Entry("directory", 0o755))

    def fill(self, writer: LayerWriter) -> None:
        """Write every entry in the order of its path, which puts a folder before what is in it."""
        for path, entry in sorted(self.entries.items()):
            if entry.kind == "directory":
                writer.directory(path, entry.mode, entry.owner)
            elif entry.kind == "link":
                writer.symlink(path, entry.target)
            else:
                writer.file(path, entry.content, entry.mode)
