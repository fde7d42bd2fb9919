"""Uploads: streamed with flat memory, counted, checked for their length, and started anew when they break."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from publisher.errors import BuildError, HostError, RegistryError, RegistryUnavailableError
from publisher.oci import endpoints
from publisher.oci.answers import discard, read_answer
from publisher.oci.connections import BLOCK
from publisher.oci.retries import AgainError
from publisher.oci.transport import Transport

_COMMIT_BYTES_A_SECOND = 10e6


class UploadBody:
    """A body for one attempt. Raises BuildError where the stream's length is not `size`."""

    def __init__(self, digest: str, size: int, stream: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._digest = digest
        self._size = size
        self._stream = stream
        self._on_bytes = on_bytes
        self._told = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(BLOCK), b"")

    def read(self, amount: int = -1) -> bytes:
        left = self._size - self._told
        try:
            chunk = self._stream.read(left + 1 if amount < 0 else min(amount, left + 1))
        except OSError as error:
            # requests would take it for a fault of the network
            raise HostError(f"the blob {self._digest} cannot be read: {error.strerror or error}") from error
        if len(chunk) > left or (not chunk and left):
            raise BuildError(
                f"the blob {self._digest} is {'longer' if chunk else 'shorter'} than the {self._size} bytes"
                " of its manifest"
            )
        self._told += len(chunk)
        if chunk:
            self._on_bytes(len(chunk))
        return chunk

    def close(self) -> None:
        self._stream.close()

    def take_back(self) -> None:
        """The attempt failed: what was told as sent will be sent again."""
        if self._told:
            self._on_bytes(-self._told)
        self._told = 0


class Upload:
    """One blob on its way into one repository."""

    def __init__(
        self,
        transport: Transport,
        name: str,
        digest: str,
        size: int,
        *,
        open: Callable[[], BinaryIO],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._name = name
        self._digest = digest
        self._size = size
        self._open = open
        self._on_bytes = on_bytes
        self._body: UploadBody | None = None

    def run(self, present: Callable[[], bool]) -> None:
        """Until it is there, or the retries are used up. `present` tells whether the registry has the blob."""

        def attempt() -> None:
            # The attempt before may have been complete, and only its answer was lost.
            if self._body is None or not present():
                self._attempt()

        try:
            self._transport.patiently(attempt)
        except BaseException:
            if self._body:
                self._body.take_back()
            raise
        finally:
            if self._body:
                self._body.close()

    def _attempt(self) -> None:
        what, scopes = f"pushing to {self._name}", endpoints.push(self._name)
        start = self._transport.request(
            "POST", endpoints.uploads(self._name), what=what, scopes=scopes, ok=(202,)
        )
        discard(start)
        if "Location" not in start.headers:
            raise RegistryError(f"{self._transport.host} does not speak the registry protocol: no Location")
        place = self._transport.origin.locate(start.url, start.headers["Location"])
        answer = self._transport.request(
            "PUT",
            endpoints.commit(place, self._digest),
            what=what,
            scopes=scopes,
            ok=(201, 204, 404, 416),
            headers={"Content-Type": "application/octet-stream"},
            body=self._next_body,
            # A registry hashes, and copies to its storage, before it answers.
            seconds=60.0 + self._size / _COMMIT_BYTES_A_SECOND,
        )
        if answer.status_code in (404, 416):
            text = read_answer(answer).text
            raise AgainError(
                RegistryUnavailableError(
                    f"the registry {self._transport.host} loses uploads to {self._name}: {text}",
                    hint="If it has several replicas, they need one storage and one shared secret",
                    status=answer.status_code,
                )
            )
        discard(answer)

    def _next_body(self) -> UploadBody | bytes:
        if self._body:
            self._body.take_back()
            self._body.close()
        self._body = UploadBody(self._digest, self._size, self._open(), self._on_bytes)
        return self._body if self._size else b""
