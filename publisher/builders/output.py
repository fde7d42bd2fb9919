"""What a tool prints, as lines of text for people: whole, without secrets, and without what moves a terminal's cursor."""

from __future__ import annotations

import codecs
import os
import re
import selectors
import time
from collections.abc import Callable, Iterator
from typing import IO

from publisher.redaction import redacted

_BLOCK = 1 << 16  # bytes read at once, and characters after which a line without end is given in pieces
_HELD = 1 << 13  # characters of such a piece that wait for the next one: no secret is cut in two
_PAUSE = 0.5  # seconds between two checks
_LINGER = 5.0  # seconds for which a tool's children are listened to after its end
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


def lines(stream: IO[bytes], check: Callable[[], None], ended: Callable[[], bool]) -> Iterator[str]:
    """Lines as they come, none of them empty, until `stream` is closed.

    `check` is called between them, and at least every half second; what it raises passes. `ended` tells whether the
    tool is gone: a child that has outlived it may hold the stream open for ever.
    """
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    rest, last = "", None
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while last is None or time.monotonic() < last:
            check()
            gone = ended()  # before looking, so that its last words are not missed
            if gone and last is None:
                last = time.monotonic() + _LINGER
            if not selector.select(0 if gone else _PAUSE):
                if gone:
                    break
                continue
            block = os.read(stream.fileno(), _BLOCK)
            *whole, rest = (rest + decode(block)).split("\n")
            yield from filter(None, map(_plain, whole))
            if len(rest) > _BLOCK:
                text = redacted(rest)
                rest = text[-_HELD:]
                yield from filter(None, [_plain(text[:-_HELD])])
            if not block:
                break
    yield from filter(None, [_plain(rest)])


def _plain(line: str) -> str:
    """`line` as it looks in the end: a progress bar writes over itself."""
    return redacted(_ESCAPES.sub("", line.rstrip().rpartition("\r")[2]))
