"""Reading what a stranger sends: an answer that comes a byte a minute ends like one that does not come at all.

Timeouts of sockets start anew with each byte. These are of the whole.
"""

from __future__ import annotations

import time
from typing import Any

SECONDS = 60.0  # for a small answer, whole
GRACE = 60.0  # seconds of waiting before a large one is judged by its pace
SLOWEST = 1024  # bytes a second


def read(raw: Any, limit: int, *, decode: bool = False) -> bytes:
    """At most `limit` bytes of a urllib3 response; raises TimeoutError after SECONDS, and what urllib3 raises."""
    end = time.monotonic() + SECONDS
    found = bytearray()
    while len(found) < limit and (chunk := raw.read1(limit - len(found), decode_content=decode)):
        found += chunk
        if time.monotonic() > end:
            raise TimeoutError(f"the answer was not complete after {SECONDS:.0f} s")
    return bytes(found)


class Pace:
    """How fast one large body comes, by the time that was spent waiting for it."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._count = 0

    def read(self, raw: Any, amount: int) -> bytes:
        """Some bytes, at most `amount`; raises TimeoutError where they come too slowly, all in all."""
        begin = time.monotonic()
        chunk: bytes = raw.read1(amount)
        self._waited += time.monotonic() - begin
        self._count += len(chunk)
        if self._waited > GRACE and self._count < SLOWEST * self._waited:
            raise TimeoutError("it comes too slowly")
        return chunk
