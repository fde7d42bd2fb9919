"""ELF files for any machine, as small as a loader's view of them allows: nothing in them can run."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence

MACHINES = {"amd64": 62, "arm64": 183, "386": 3, "cuda": 190}
_BASE = 64 + 3 * 56  # the header, and three program headers


def make(
    architecture: str = "amd64",
    *,
    needed: Sequence[str] = (),
    soname: str = "",
    rpath: str = "",
    runpath: str = "",
    wants: Mapping[str, Sequence[str]] | None = None,
    gives: Sequence[str] = (),
    interpreter: str = "",
    kind: int = 3,  # ET_DYN
    weak: bool = False,
) -> bytes:
    """A library, or with an `interpreter` a program."""
    texts = bytearray(b"\0")

    def text(value: str) -> int:
        place = len(texts)
        texts.extend(value.encode() + b"\0")
        return place

    tags = [(1, text(name)) for name in needed]
    tags += [(tag, text(value)) for tag, value in ((14, soname), (15, rpath), (29, runpath)) if value]
    need, define = _needs(wants or {}, text, 2 * weak), _definitions(gives, text)
    counts = (bool(wants) and len(wants or {}), len(gives))
    at = _BASE
    interp, at = (at, at + len(interpreter) + 1) if interpreter else (0, at)
    need_at, define_at = at, at + len(need)
    texts_at = define_at + len(define)
    tags += [(5, texts_at), (10, len(texts))]
    tags += [(0x6FFFFFFE, need_at), (0x6FFFFFFF, int(counts[0]))] if need else []
    tags += [(0x6FFFFFFC, define_at), (0x6FFFFFFD, counts[1])] if define else []
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in [*tags, (0, 0)])
    body = (interpreter.encode() + b"\0" if interpreter else b"") + need + define + bytes(texts)
    dynamic_at = _BASE + len(body)
    length = dynamic_at + len(dynamic)
    segments = [(1, 0, length), (2, dynamic_at, len(dynamic))]
    segments += [(3, interp, len(interpreter) + 1)] if interpreter else [(4, 0, 0)]
    headers = b"".join(struct.pack("<IIQQQQQQ", k, 4, at, at, at, n, n, 8) for k, at, n in segments)
    head = struct.pack(
        "<4sBBBB8xHHIQQQIHHHHHH",
        *(b"\x7fELF", 2, 1, 1, 0, kind, MACHINES[architecture], 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0),
    )
    return head + headers + body + dynamic


def _needs(wants: Mapping[str, Sequence[str]], text: Callable[[str], int], flags: int) -> bytes:
    out = b""
    for number, (library, versions) in enumerate(wants.items(), 1):
        size = 16 + 16 * len(versions)
        out += struct.pack("<HHIII", 1, len(versions), text(library), 16, size if number < len(wants) else 0)
        for place, version in enumerate(versions, 1):
            out += struct.pack("<IHHII", 0, flags, 2, text(version), 16 if place < len(versions) else 0)
    return out


def _definitions(gives: Sequence[str], text: Callable[[str], int]) -> bytes:
    out = b""
    for number, version in enumerate(gives, 1):
        out += struct.pack("<HHHHIII", 1, 0, number, 1, 0, 20, 28 if number < len(gives) else 0)
        out += struct.pack("<II", text(version), 0)
    return out
