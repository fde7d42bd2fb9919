"""The bytes of a blob as bodies of requests: streamed, counted, held against the size that was promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from publisher.errors import BuildError, HostError
from publisher.oci.connections import BLOCK


class Blob:
    """One blob, of which parts are sent, some of them again. `on_bytes` hears what went out, in all as often
    as forth as back. Raises BuildError where the blob has another size, HostError where it cannot be read."""

    def __init__(
        self, digest: str, size: int, open: Callable[[], BinaryIO], on_bytes: Callable[[int], None]
    ) -> None:
        self.digest = digest
        self.size = size
        self._open = open
        self._on_bytes = on_bytes
        self._stream: BinaryIO | None = None
        self._position = 0
        self._told = 0

    def part(self, start: int, length: int) -> Part | bytes:
        """The body with the bytes from `start` on. What was told of them before is taken back."""
        self.told(start)
        if self._stream is None or self._position != start:
            self.close()
            self._stream, self._position = self._open(), 0
            self._skip(self._stream, start)
        return Part(self, length) if length else b""

    def _skip(self, stream: BinaryIO, start: int) -> None:
        if start and stream.seekable():
            stream.seek(start)
            self._position = start
        while self._position < start:
            self._position += len(self._read(stream, min(BLOCK, start - self._position)))

    def read(self, amount: int, left: int) -> bytes:
        """Up to `amount` of the `left` bytes of a part; at the blob's end, whether it ends there too."""
        stream = self._stream
        if stream is None:
            return b""
        chunk = b""
        if left:
            chunk = self._read(stream, min(amount, left))
            self._position += len(chunk)
            self._told += len(chunk)
            self._on_bytes(len(chunk))
        if self._position == self.size and self._raw(stream, 1):
            raise self._wrong("longer")
        return chunk

    def told(self, position: int) -> None:
        """The progress is at `position`, whatever was heard before."""
        if position != self._told:
            self._on_bytes(position - self._told)
        self._told = position

    def close(self) -> None:
        if self._stream:
            self._stream.close()
        self._stream = None

    def _read(self, stream: BinaryIO, amount: int) -> bytes:
        chunk = self._raw(stream, amount)
        if not chunk:
            raise self._wrong("shorter")
        return chunk

    def _raw(self, stream: BinaryIO, amount: int) -> bytes:
        try:
            return stream.read(amount)
        except OSError as error:
            # requests would take it for a fault of the network
            raise HostError(f"the blob {self.digest} cannot be read: {error.strerror or error}") from error

    def _wrong(self, how: str) -> BuildError:
        return BuildError(f"the blob {self.digest} is {how} than the {self.size} bytes of its manifest")


class Part:
    """What requests streams: its length is the Content-Length."""

    def __init__(self, blob: Blob, length: int) -> None:
        self._blob = blob
        self._length = length
        self._left = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(BLOCK), b"")

    def read(self, amount: int = -1) -> bytes:
        chunk = self._blob.read(self._left if amount < 0 else amount, self._left)
        self._left -= len(chunk)
        return chunk
