"""What a relative path from a stranger must look like before anything is written or read below a folder.

Paths come from tags, artifact listings, archives and wheels. They are checked as text, before any file system
sees them, so the same path is refused on every machine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

MAX_LENGTH = 1024  # characters of a whole path
MAX_NAME = 255  # bytes of one name: NAME_MAX of Linux' file systems
MAX_DEPTH = 64


def relative(text: str) -> str:
    """Return `text`, a relative POSIX path of plain names; raises ValueError saying what is wrong with it."""
    fault = _fault(text)
    if fault:
        raise ValueError(fault)
    return text


def is_relative(text: str) -> bool:
    """True when `relative` would take `text`."""
    return _fault(text) is None


def clash(paths: Iterable[str]) -> tuple[str, str] | None:
    """The first two paths that are one on a disk that ignores case or Unicode form (macOS, Windows), else None."""
    seen: dict[str, str] = {}
    for path in paths:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        if seen.setdefault(key, path) != path:
            return seen[key], path
    return None


def _fault(text: str) -> str | None:
    names = text.split("/")
    # Cc: control characters; Cs: halves of surrogate pairs, which no file system takes; Zl, Zp and Cf (line
    # separators, and marks that reorder text) would let a path look like another one in a log.
    odd = any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)
    faults = (
        (not text, "it is empty"),
        (len(text) > MAX_LENGTH, f"it is longer than {MAX_LENGTH} characters"),
        (text.startswith("/"), "it is absolute"),
        ("\\" in text, "it holds a backslash"),
        (odd, "it holds control characters"),
        (len(names) > MAX_DEPTH, f"it is more than {MAX_DEPTH} folders deep"),
    )
    return next((fault for wrong, fault in faults if wrong), None) or next(
        filter(None, map(_name_fault, names)), None
    )


def _name_fault(name: str) -> str | None:
    if not name:
        return "it has an empty part"
    if name in (".", ".."):
        return f"it has the part {name!r}"
    if len(name.encode()) > MAX_NAME:
        return f"one of its names is longer than {MAX_NAME} bytes"
    return None
