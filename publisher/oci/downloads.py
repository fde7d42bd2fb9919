"""A blob as a stream that is verified while it is read, and goes on after a reset."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import requests
import urllib3
from typing_extensions import Buffer

from publisher.errors import TransferError
from publisher.oci.paced import Pace

_RESUMES = 5


class BlobStream(io.RawIOBase):
    """Raises TransferError at the end where the bytes do not have the digest: use nothing before that.

    `fetch(offset)` asks for the blob from a byte on: the answer is 206, or 200 with the blob from its start.
    """

    def __init__(self, digest: str, host: str, fetch: Callable[[int], requests.Response]) -> None:
        self._digest = digest
        self._host = host
        self._fetch = fetch
        self._hash = hashlib.sha256()
        self._count = 0
        self._resumes = 0
        self._verified = False
        self._pace = Pace()
        self._response = fetch(0)
        length = self._response.headers.get("Content-Length", "")
        self._size = int(length) if length.isdigit() else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        chunk = self._read(len(view)) if len(view) and not self._verified else b""
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._response.close()
        super().close()

    def _read(self, amount: int) -> bytes:
        while True:
            try:
                chunk = self._pace.read(self._response.raw, amount)
                if chunk or self._size is None or self._count >= self._size:
                    break
                reason = "it ends early"
            except (urllib3.exceptions.HTTPError, OSError) as error:
                reason = str(error) if type(error) is TimeoutError else type(error).__name__
            self._resume(reason)
        self._hash.update(chunk)
        self._count += len(chunk)
        # A reader that knows the size never asks for the empty end: the last bytes are verified with the others.
        if not chunk or self._count == self._size:
            self._verify()
        return chunk

    def _resume(self, reason: str) -> None:
        self._response.close()
        self._resumes += 1
        if self._resumes > _RESUMES:
            raise TransferError(
                f"the blob {self._digest} from {self._host} breaks off after {self._count} bytes: {reason}",
                hint="Try again later",
            )
        self._response, self._pace = self._fetch(self._count), Pace()
        if self._response.status_code == 206:
            return
        skip = self._count
        try:
            while skip:
                chunk = self._pace.read(self._response.raw, min(skip, 1 << 20))
                if not chunk:
                    return  # the next read finds the end, and resumes again
                skip -= len(chunk)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._resume(type(error).__name__)

    def _verify(self) -> None:
        self._verified = True
        found = f"sha256:{self._hash.hexdigest()}"
        if found != self._digest:
            raise TransferError(
                f"the blob {self._digest} from {self._host} arrived as {found}",
                hint="Try again; if it stays so, the registry's copy is corrupt",
            )
