"""/etc/ld.so.cache, which ldconfig makes when packages are installed, and which nothing here runs.

The loader finds libraries without it, but ctypes.util.find_library asks ``ldconfig -p`` alone, which prints it.
The format is struct cache_file_new of glibc's dl-cache.h, since 2.32 the only one that ldconfig writes.
"""

from __future__ import annotations

import posixpath
import re
import struct

from publisher.baseimage.tree import Tree

_KINDS = {"x86_64-linux-gnu": 0x0303, "aarch64-linux-gnu": 0x0A03}  # FLAG_ELF_LIBC6 and the architecture
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2


def libraries(tree: Tree) -> dict[str, int]:
    """Paths of the libraries that programs may be linked with, each with its kind."""
    found = {}
    for folder, kind in _KINDS.items():
        inside = {
            path: entry
            for path, entry in tree.entries.items()
            if posixpath.dirname(path) == f"usr/lib/{folder}"
            and re.match(r"(lib|ld-).*\.so(\.|$)", path.rpartition("/")[2])
        }
        linked = {posixpath.basename(entry.target) for entry in inside.values() if entry.kind == "link"}
        for path in inside:  # libz.so.1 is what programs name, libz.so.1.2.13 only what that leads to
            if posixpath.basename(path) not in linked:
                found[f"/lib/{folder}/{posixpath.basename(path)}"] = kind
    return found


def cache(found: dict[str, int]) -> bytes:
    """The file's bytes. The loader searches it by halves, so its order is part of the format."""
    ordered = sorted(found, key=lambda path: _order(posixpath.basename(path)), reverse=True)
    start = _HEADER.size + _ENTRY.size * len(ordered)
    strings, entries = b"", b""
    for path in ordered:
        value = start + len(strings)
        key = value + path.rindex("/") + 1  # the name is the end of the path
        entries += _ENTRY.pack(found[path], key, value, 0, 0)
        strings += path.encode() + b"\0"
    head = _HEADER.pack(b"glibc-ld.so.cache1.1", len(ordered), len(strings), _LITTLE_ENDIAN, 0)
    return head + entries + strings


def _order(name: str) -> list[tuple[int, int]]:
    """As _dl_cache_libcmp compares: runs of digits by value, and after any other character."""
    return [
        (1, int(part)) if part.isdigit() else (0, ord(part)) for part in re.findall(r"[0-9]+|[^0-9]", name)
    ]
