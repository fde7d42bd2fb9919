"""A client of container registries (distribution-spec 1.1), streaming, with flat memory."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import requests

from publisher.errors import AuthenticationError, RegistryError, RegistryUnavailableError
from publisher.oci import endpoints
from publisher.oci.access import PLAIN, Access
from publisher.oci.answers import discard
from publisher.oci.authorization import Scopes
from publisher.oci.bodies import Blob
from publisher.oci.connections import BLOCK
from publisher.oci.credentials import Credentials
from publisher.oci.downloads import BlobStream
from publisher.oci.layout import Descriptor, digest_of
from publisher.oci.manifests import KINDS, read_manifest
from publisher.oci.reference import Repository, is_digest
from publisher.oci.retries import AgainError
from publisher.oci.transport import Transport
from publisher.oci.uploads import Limits, Upload

_ACCEPT = {"Accept": ", ".join(KINDS)}
_VERBS = {"GET": "reading", "HEAD": "reading", "DELETE": "deleting in"}
# Registries that are not strongly consistent do not know for a moment what they were just sent.
_UNKNOWN = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})


class Registry:
    """One registry. Safe for several threads. A method takes the repository's name first.

    All raise RegistryUnavailableError (retries are used up), AuthenticationError, RegistryError.
    """

    def __init__(self, host: str, credentials: Credentials, access: Access = PLAIN) -> None:
        self.host = host
        self._transport = Transport(host, credentials, access)
        self._limits = Limits(access.chunk_size)

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
        if response.status_code == 202:
            self._cancel(response, name)
        return response.status_code == 201

    def push_blob(
        self,
        name: str,
        digest: str,
        size: int,
        open: Callable[[], BinaryIO],
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """Upload `size` bytes, in one request where the registry takes that.

        `on_bytes` hears what went out; a negative number where an attempt failed. Raises BuildError where the
        blob has another size, HostError where it cannot be read.
        """
        blob = Blob(digest, size, open, on_bytes or (lambda _: None))
        Upload(self._transport, name, blob, self._limits).run(
            lambda: self.head_blob(name, digest) is not None
        )

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
        if not (kind in KINDS and is_digest(digest) and length.isdigit()):
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
            return read_manifest(response, self.host, name, reference)

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

    def delete_manifest(self, name: str, reference: str) -> bool:
        """Remove a tag, or by a digest the manifest with all its tags; False where it was absent.

        Raises RegistryError with status 405 where the registry does not delete such a thing.
        """
        url = endpoints.manifest(name, reference)
        try:
            response = self._ask("DELETE", url, name, endpoints.delete(name), ok=(200, 202, 204, 404))
        except AuthenticationError:
            raise
        except RegistryError as error:
            codes, by_tag = set(error.detail.split()), not is_digest(reference)
            # distribution before 3.0 takes the tag for a digest that is not one.
            if error.status == 405 or "UNSUPPORTED" in codes or (by_tag and "DIGEST_INVALID" in codes):
                what = "tags" if by_tag else "manifests"
                raise RegistryError(
                    f"the registry {self.host} does not delete {what}: {name} {reference} stays",
                    hint="Delete it in the registry's own way, or let its operator allow deletion",
                    detail=error.detail,
                    status=405,
                ) from None
            raise
        discard(response)
        return response.status_code != 404

    def try_push(self, name: str) -> None:
        """Whether we may push to `name`, by an upload that is begun and cancelled: raises where we may not."""
        response = self._ask("POST", endpoints.uploads(name), name, endpoints.push(name), ok=(202,))
        discard(response)
        self._cancel(response, name)

    def _cancel(self, started: requests.Response, name: str) -> None:
        """End the upload that `started` opened. A kindness: registries purge old ones themselves."""
        if "Location" not in started.headers:
            return
        with suppress(RegistryError, AgainError):
            session = self._transport.origin.locate(started.url, started.headers["Location"])
            discard(self._once("DELETE", session, name, endpoints.cancel(name), ok=(204, 404)))

    def _once(self, method: str, url: str, name: str, scopes: Scopes, **more: Any) -> requests.Response:
        verb = _VERBS.get(method, "pushing to")
        return self._transport.request(method, url, what=f"{verb} {name}", scopes=scopes, **more)

    def _ask(self, method: str, url: str, name: str, scopes: Scopes, **more: Any) -> requests.Response:
        return self._transport.patiently(lambda: self._once(method, url, name, scopes, **more))


class Registries:
    """The registries of one run, by host: one client each, with its connections and tokens.

    `access`: how each host is reached; `default` is for the others.
    """

    def __init__(
        self, credentials: Credentials, access: Mapping[str, Access] | None = None, default: Access = PLAIN
    ) -> None:
        self._credentials = credentials
        self._access = dict(access or {})
        self._default = default
        self._made: dict[str, Registry] = {}
        self._lock = threading.Lock()

    def at(self, host: str) -> Registry:
        with self._lock:
            if host not in self._made:
                access = self._access.get(host, self._default)
                self._made[host] = Registry(host, self._credentials, access)
            return self._made[host]

    def open_blob(self, repository: Repository, digest: str) -> BinaryIO:
        """As `Registry.open_blob`: the opener of a `RemoteBlob`."""
        return self.at(repository.host).open_blob(repository.name, digest)
