"""Uploads: in one request where that goes, else in chunks; gone on with or begun anew when they break."""

from __future__ import annotations

import re
from collections.abc import Callable

import requests

from publisher.errors import AuthenticationError, RegistryError, RegistryUnavailableError
from publisher.oci import endpoints
from publisher.oci.answers import discard, read_answer
from publisher.oci.bodies import Blob
from publisher.oci.retries import AgainError
from publisher.oci.transport import Transport

_COMMIT_BYTES_A_SECOND = 10e6
_STEPS = (64 << 20, 16 << 20, 4 << 20, 1 << 20)  # bytes; nginx takes 1 MiB unless it is told more
_LOST = (404, 416)  # a session that the registry does not know, or that is elsewhere than we are
# Nothing, or a gateway that gave up on the one behind it: a smaller request may come through.
_BREAKS = (None, 408, 502, 504)
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


class Limits:
    """The most that a registry, or a proxy before it, takes in one request; in bytes, 0 for no limit.
    What one blob learned serves the next."""

    def __init__(self, chunk: int = 0) -> None:
        self.chunk = chunk

    def lower(self, to: int) -> None:
        self.chunk = min(self.chunk or to, to)


class Upload:
    """One blob on its way into one repository."""

    def __init__(self, transport: Transport, name: str, blob: Blob, limits: Limits) -> None:
        self._transport = transport
        self._name = name
        self._blob = blob
        self._limits = limits
        self._place: str | None = None  # of the session
        self._least = 0  # bytes of a chunk that the registry takes
        self._own = 0  # our own limit, after breaks
        self._last = 0  # bytes of the last request
        self._kept = 0  # bytes that the registry confirmed
        self._breaks = 0
        self._tried = self._resumed = self._whole_only = False

    def run(self, present: Callable[[], bool]) -> None:
        """Until it is there, or the retries are used up without a step forward. `present` tells whether the
        registry has the blob."""
        try:
            while not self._arrived(present):
                pass
        except BaseException:
            self._blob.told(0)
            raise
        finally:
            self._blob.close()

    def _arrived(self, present: Callable[[], bool]) -> bool:
        def attempt() -> None:
            # The attempt before may have been complete, and only its answer was lost.
            if not (self._tried and present()):
                self._attempt()

        before = self._kept
        try:
            self._transport.patiently(attempt)
        except RegistryUnavailableError:
            if self._kept <= before:
                raise
            return False
        return True

    def _attempt(self) -> None:
        try:
            self._send(self._resume())
        except AgainError as again:
            if getattr(again.fault, "status", None) in _BREAKS:
                self._breaks += 1
                # Once may be chance; of a large blob, too much would have to be sent again.
                if not self._whole_only and (self._breaks > 1 or self._blob.size > _STEPS[0]):
                    self._own = _below(self._last) or self._own
            if not self._chunk():
                self._place = None
            raise
        if self._own and self._kept:
            self._limits.lower(self._own)

    def _send(self, offset: int) -> None:
        while True:
            chunk, left = self._chunk(), self._blob.size - offset
            try:
                if self._place is None:
                    offset = self._begin()
                elif not offset and (not chunk or left <= chunk):
                    return self._commit(left)
                elif not left:
                    return self._commit(0)
                else:
                    offset = self._patch(offset, min(chunk or left, left))
            except RegistryError as error:
                if error.status != 413 or not _below(self._last) or self._last <= self._least:
                    raise
                self._limits.lower(_below(self._last))
                self._place = self._place if offset else None

    def _chunk(self) -> int:
        """How much goes into one request; 0 for all."""
        wanted = min(filter(None, (self._limits.chunk, self._own)), default=0)
        return max(wanted, self._least) if wanted else 0

    def _resume(self) -> int:
        """How much of the blob the registry has by now; no session is left where that cannot be found out."""
        if self._place is None:
            return 0
        try:
            state = self._ask("GET", self._place, ok=(200, 202, 204, *_LOST))
        except AuthenticationError:
            raise
        except RegistryError:
            self._place = None
            return 0
        discard(state)
        offset = 0 if state.status_code in _LOST else _received(state)
        if not offset or offset > self._blob.size:
            self._place = None
            return 0
        self._move(state)
        self._resumed, self._kept = True, offset
        return offset

    def _begin(self) -> int:
        start = self._ask("POST", endpoints.uploads(self._name), ok=(202,))
        discard(start)
        if "Location" not in start.headers:
            raise RegistryError(f"{self._transport.host} does not speak the registry protocol: no Location")
        self._move(start)
        least = start.headers.get("OCI-Chunk-Min-Length", "")
        self._least = int(least) if least.isdigit() else 0
        self._resumed = False
        return 0

    def _patch(self, offset: int, length: int) -> int:
        """Send a chunk; how much the registry then has."""
        headers = {"Content-Range": f"{offset}-{offset + length - 1}"}
        try:
            answer = self._bytes("PATCH", self._place or "", offset, length, ok=(202, 204), headers=headers)
        except (RegistryUnavailableError, AuthenticationError):
            raise
        except RegistryError as error:
            if error.status == 413 or self._limits.chunk:
                raise
            # To send it in chunks was our own idea: there are registries that cannot.
            self._whole_only, self._own, self._place = True, 0, None
            raise AgainError(error) from None
        if answer.status_code in _LOST:
            raise self._lost(answer)
        discard(answer)
        self._move(answer)
        received = _received(answer) if "Range" in answer.headers else offset + length
        if not offset < received <= offset + length:
            raise self._lost(answer)
        self._kept = received
        return received

    def _commit(self, length: int) -> None:
        """End the upload, with `length` bytes, which are all, or with none, where chunks brought them."""
        place = endpoints.commit(self._place or "", self._blob.digest)
        start = self._blob.size - length
        headers = {"Content-Type": "application/octet-stream"}
        try:
            answer = self._bytes("PUT", place, start, length, ok=(201, 204), headers=headers)
        except RegistryError as error:
            if not self._resumed or "DIGEST_INVALID" not in error.detail.split():
                raise
            # What it said to have was something else; so not to be relied on again.
            self._whole_only, self._own, self._place = True, 0, None
            raise AgainError(error) from None
        if answer.status_code in _LOST:
            raise self._lost(answer)
        discard(answer)

    def _bytes(
        self,
        method: str,
        url: str,
        start: int,
        length: int,
        *,
        ok: tuple[int, ...],
        headers: dict[str, str],
    ) -> requests.Response:
        self._tried, self._last = True, length
        return self._transport.request(
            method,
            url,
            what=f"pushing to {self._name}",
            scopes=endpoints.push(self._name),
            ok=(*ok, *_LOST),
            headers=headers,
            body=lambda: self._blob.part(start, length),
            # A registry hashes, and copies to its storage, before it answers.
            seconds=60.0 + self._blob.size / _COMMIT_BYTES_A_SECOND,
        )

    def _ask(self, method: str, url: str, ok: tuple[int, ...]) -> requests.Response:
        what, scopes = f"pushing to {self._name}", endpoints.push(self._name)
        return self._transport.request(method, url, what=what, scopes=scopes, ok=ok)

    def _move(self, answer: requests.Response) -> None:
        if "Location" in answer.headers:
            self._place = self._transport.origin.locate(answer.url, answer.headers["Location"])

    def _lost(self, answer: requests.Response) -> AgainError:
        self._place = None
        text = read_answer(answer).text
        return AgainError(
            RegistryUnavailableError(
                f"the registry {self._transport.host} loses uploads to {self._name}: {text}",
                hint="If it has several replicas, they need one storage and one shared secret",
                status=answer.status_code,
            )
        )


def _below(size: int) -> int:
    """The next smaller step, 0 where there is none."""
    return next((step for step in _STEPS if step < size), 0)


def _received(answer: requests.Response) -> int:
    """Bytes of a session's ``Range``; 0 where it has none that can be read. ``0-0`` is how registries say none."""
    match = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    return int(match[1]) + 1 if match and match[1] != "0" else 0
