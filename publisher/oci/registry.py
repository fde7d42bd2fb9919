"""A client of container registries (distribution-spec 1.1), streaming, with flat memory."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import requests
import urllib3

from publisher.errors import RegistryError, RegistryUnavailableError, TransferError
from publisher.oci import endpoints
from publisher.oci.answers import discard, unreachable
from publisher.oci.authorization import Scopes
from publisher.oci.connections import BLOCK
from publisher.oci.credentials import Credentials
from publisher.oci.downloads import BlobStream
from publisher.oci.layout import INDEX_TYPES, MANIFEST_TYPES, Descriptor, digest_of
from publisher.oci.reference import Repository, is_digest
from publisher.oci.retries import AgainError, Retries
from publisher.oci.transport import REALMS, Transport
from publisher.oci.uploads import Upload

_MANIFEST_LIMIT = 8 << 20  # bytes; registries refuse more than 4 MiB
_KINDS = (*INDEX_TYPES, *MANIFEST_TYPES)
_ACCEPT = {"Accept": ", ".join(_KINDS)}
# Registries that are not strongly consistent do not know for a moment what they were just sent.
_UNKNOWN = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class Registry:
    """One registry. Safe for several threads. A method takes the repository's name first.

    All raise RegistryUnavailableError (retries are used up), AuthenticationError, RegistryError.
    `insecure`: plain HTTP, which loopback hosts get anyway. `timeout` in seconds.
    """

    def __init__(
        self,
        host: str,
        credentials: Credentials,
        *,
        insecure: bool = False,
        timeout: float = 60.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        realms: Mapping[str, frozenset[str]] = REALMS,
        certificates: str | None = None,
    ) -> None:
        self.host = host
        self._transport = Transport(
            host,
            credentials,
            insecure=insecure,
            timeout=timeout,
            retries=retries,
            realms=realms,
            certificates=certificates,
        )

    def head_blob(self, name: str, digest: str) -> int | None:
        """Its size in bytes (0 where the registry does not tell), None where it is absent."""
        response = self._ask("HEAD", endpoints.blob(name, digest), name, endpoints.pull(name), ok=(200, 404))
        discard(response)
        if response.status_code == 404:
            return None
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else 0

    def open_blob(self, name: str, digest: str) -> BinaryIO:
        """Its bytes from the first, verified: raises TransferError at the end where they are others."""

        def fetch(offset: int) -> requests.Response:
            more = {"Range": f"bytes={offset}-"} if offset else {}
            return self._ask(
                "GET", endpoints.blob(name, digest), name, endpoints.pull(name), ok=(200, 206), headers=more
            )

        return io.BufferedReader(BlobStream(digest, self.host, fetch), BLOCK)

    def mount_blob(self, name: str, digest: str, source_name: str) -> bool:
        """Have the registry share a blob between repositories; False where it will not, for any reason."""
        url = endpoints.mount(name, digest, source_name)
        scopes = (*endpoints.push(name), *endpoints.pull(source_name))
        try:
            response = self._ask("POST", url, name, scopes, ok=(201, 202))
        except RegistryUnavailableError:
            raise
        except RegistryError:
            return False  # the upload that follows tells what is wrong, if it is not the mount alone
        discard(response)
        if response.status_code == 202 and "Location" in response.headers:
            with suppress(RegistryError, AgainError):  # a kindness: registries purge old sessions themselves
                session = self._transport.origin.locate(response.url, response.headers["Location"])
                discard(self._once("DELETE", session, name, endpoints.push(name), ok=(204, 404)))
        return response.status_code == 201

    def push_blob(
        self,
        name: str,
        digest: str,
        size: int,
        open: Callable[[], BinaryIO],
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Upload `size` bytes in one request. Each retry opens a new session, and the blob anew.

        `on_bytes` hears what went out; a negative number where an attempt failed. Raises BuildError where the
        blob has another size, HostError where it cannot be read.
        """
        upload = Upload(self._transport, name, digest, size, open=open, on_bytes=on_bytes or (lambda _: None))
        upload.run(lambda: self.head_blob(name, digest) is not None)

    def head_manifest(self, name: str, reference: str) -> Descriptor | None:
        """What a tag or digest stands for, None where it is absent."""
        response = self._ask(
            "HEAD",
            endpoints.manifest(name, reference),
            name,
            endpoints.pull(name),
            ok=(200, 404),
            headers=_ACCEPT,
        )
        discard(response)
        if response.status_code == 404:
            return None
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        digest = response.headers.get("Docker-Content-Digest", reference)
        length = response.headers.get("Content-Length", "")
        if not (kind and is_digest(digest) and length.isdigit()):
            found = self.get_manifest(name, reference)  # old registries answer a HEAD with less
            return found[0] if found else None
        return Descriptor(kind, digest, int(length))

    def get_manifest(self, name: str, reference: str) -> tuple[Descriptor, bytes] | None:
        """A manifest or index with its exact bytes, None where it is absent.

        Raises TransferError where the bytes are not those of the digest.
        """

        def attempt() -> tuple[Descriptor, bytes] | None:
            response = self._once(
                "GET",
                endpoints.manifest(name, reference),
                name,
                endpoints.pull(name),
                ok=(200, 404),
                headers=_ACCEPT,
            )
            if response.status_code == 404:
                discard(response)
                return None
            try:
                content: bytes = response.raw.read(_MANIFEST_LIMIT + 1)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise unreachable(self.host, error) from None
            discard(response)
            place = f"{self.host}/{name} {reference}"
            if len(content) > _MANIFEST_LIMIT:
                raise RegistryError(f"the manifest {place} is larger than {_MANIFEST_LIMIT >> 20} MiB")
            expected = response.headers.get("Docker-Content-Digest", "")
            expected = reference if is_digest(reference) else expected
            if is_digest(expected) and digest_of(content) != expected:
                raise AgainError(TransferError(f"the manifest {place} is not what its digest says"))
            return Descriptor.of(_kind(response, content, place), content), content

        return self._transport.patiently(attempt)

    def put_manifest(self, name: str, reference: str, media_type: str, content: bytes) -> None:
        """Store a manifest under a tag or its digest. What it names must be there."""

        def attempt() -> requests.Response:
            try:
                return self._once(
                    "PUT",
                    endpoints.manifest(name, reference),
                    name,
                    endpoints.push(name),
                    ok=(200, 201),
                    headers={"Content-Type": media_type},
                    body=lambda: content,
                )
            except RegistryError as error:
                if _UNKNOWN & set(error.detail.split()):
                    raise AgainError(error) from None
                raise

        response = self._transport.patiently(attempt)
        discard(response)
        stored = response.headers.get("Docker-Content-Digest", "")
        if is_digest(stored) and stored != digest_of(content):
            raise RegistryError(
                f"the registry {self.host} stored {name} as {stored}, and not as the {digest_of(content)} sent",
                hint="It rewrites manifests; use a registry that keeps them as they are",
            )

    def _once(self, method: str, url: str, name: str, scopes: Scopes, **more: Any) -> requests.Response:
        verb = "reading" if method in ("GET", "HEAD") else "pushing to"
        return self._transport.request(method, url, what=f"{verb} {name}", scopes=scopes, **more)

    def _ask(self, method: str, url: str, name: str, scopes: Scopes, **more: Any) -> requests.Response:
        return self._transport.patiently(lambda: self._once(method, url, name, scopes, **more))


class Registries:
    """The registries of one run, by host: one client each, with its connections and tokens.

    `insecure_hosts` are spoken to in plain HTTP. `options` go to each `Registry`.
    """

    def __init__(
        self, credentials: Credentials, insecure_hosts: Collection[str] = frozenset(), **options: Any
    ) -> None:
        self._credentials = credentials
        self._insecure = frozenset(insecure_hosts)
        self._options = options
        self._made: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def at(self, host: str) -> Registry:
        with self._lock:
            if host not in self._made:
                self._made[host] = Registry(
                    host, self._credentials, insecure=host in self._insecure, **self._options
                )
            return self._made[host]

    def open_blob(self, repository: Repository, digest: str) -> BinaryIO:
        """As `Registry.open_blob`: the opener of a `RemoteBlob`."""
        return self.at(repository.host).open_blob(repository.name, digest)


def _kind(response: requests.Response, content: bytes, place: str) -> str:
    """The media type of a manifest: as it was sent, or where that says nothing, as the manifest says."""
    sent = response.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        kind = sent if sent in _KINDS else json.loads(content).get("mediaType")
    except (ValueError, AttributeError):
        kind = None
    if kind not in _KINDS:
        raise RegistryError(
            f"{place} is not a manifest that is known here, but {kind or sent or 'something else'}"
        )
    return str(kind)
