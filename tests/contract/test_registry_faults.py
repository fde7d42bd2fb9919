"""The registry client when a registry, or the way to it, misbehaves; a real registry is behind it."""

from __future__ import annotations

import io
import os
import time

import pytest

from publisher.errors import AuthenticationError, RegistryError, RegistryUnavailableError, TransferError
from publisher.oci.access import Access
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.layout import digest_of
from publisher.oci.registry import Registry
from publisher.oci.retries import Retries
from tests.contract.fronts import Front, Handler, blob_upload, front, once
from tests.engines import free_port
from tests.engines.registry import RealRegistry, TokenService

QUICK = Access(retries=Retries(tries=4, first_wait=0.05, longest_wait=0.2))
CONTENT = os.urandom(3 << 20)
DIGEST = digest_of(CONTENT)


def client(at: Front | RealRegistry, auth: BasicAuth | None = None) -> Registry:
    return Registry(at.host, Credentials({at.host: auth} if auth else {}), QUICK)


def upload(to: Registry, repository: str) -> int:
    """Push CONTENT; what the progress heard in all."""
    heard: list[int] = []
    to.push_blob(repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT), heard.append)
    return sum(heard)


def test_retry_after(registry: RealRegistry, repository: str) -> None:
    """A 429 is waited out for as long as it asks, and then the upload goes through."""

    def busy(handler: Handler) -> bool:
        return handler.answer(429, {"Retry-After": "1"})

    with front(once(lambda handler: handler.command == "POST", busy), registry.host) as before:
        start = time.monotonic()
        upload(client(before), repository)
        assert 1.0 <= time.monotonic() - start < 4
        assert len(before.methods("POST")) == 2
    assert client(registry).head_blob(repository, DIGEST) == len(CONTENT)


def test_cut_in_mid_upload(registry: RealRegistry, repository: str) -> None:
    """A connection that breaks in mid-blob costs a new session and the blob again, and the progress is right."""
    with front(once(blob_upload, lambda handler: handler.cut(1 << 20)), registry.host) as before:
        assert upload(client(before), repository) == len(CONTENT)
        assert len(before.methods("POST")) == 2
        assert len({put.path for put in before.methods("PUT")}) == 2
    assert client(registry).head_blob(repository, DIGEST) == len(CONTENT)


@pytest.mark.parametrize("status", [404, 416])
def test_lost_session(registry: RealRegistry, repository: str, status: int) -> None:
    """An upload whose session the registry no longer knows starts anew."""
    with front(once(blob_upload, lambda handler: handler.answer(status)), registry.host) as before:
        upload(client(before), repository)
        assert len(before.methods("POST")) == 2
    assert client(registry).head_blob(repository, DIGEST) == len(CONTENT)


def test_lost_answer(registry: RealRegistry, repository: str) -> None:
    """Where only the answer to an upload was lost, the blob is found and not sent a second time."""

    def swallow(handler: Handler) -> bool:
        upload(client(registry), repository)
        return handler.cut(len(CONTENT))

    with front(once(blob_upload, swallow), registry.host) as before:
        upload(client(before), repository)
        assert len(before.methods("PUT")) == 1


def test_down_for_good(repository: str) -> None:
    """A registry that always fails is asked a bounded number of times, and its last answer is told."""
    body = b'{"errors":[{"code":"UNAVAILABLE","message":"storage is away"}]}'
    with front(lambda handler: handler.answer(503, content=body)) as before:
        with pytest.raises(RegistryUnavailableError, match="UNAVAILABLE: storage is away") as caught:
            upload(client(before), repository)
        assert len(before.seen) == QUICK.retries.tries
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "DENIED", AuthenticationError, "refuses pushing"),
        (404, "NAME_UNKNOWN", RegistryError, "must exist first"),
        (413, "SIZE_INVALID", RegistryError, "limits the size of a request"),
        (405, "UNSUPPORTED", RegistryError, "UNSUPPORTED: no such luck"),
    ],
)
def test_permanent(status: int, code: str, kind: type[RegistryError], words: str, repository: str) -> None:
    """A permanent refusal is heard once, with the registry's code and message, and a hint where we know one."""
    body = f'{{"errors":[{{"code":"{code}","message":"no such luck"}}]}}'.encode()
    with front(lambda handler: handler.answer(status, content=body)) as before:
        with pytest.raises(RegistryError) as caught:
            upload(client(before), repository)
        assert len(before.seen) == 1
    assert type(caught.value) is kind
    assert words in caught.value.line
    assert f"{code}: no such luck" in str(caught.value)


@pytest.mark.parametrize("status", [200, 404, 501])
def test_a_web_server(status: int, repository: str) -> None:
    """A host that answers with web pages is told as one that does not speak the protocol."""
    page = b"<html>Welcome</html>"
    with (
        front(lambda handler: handler.answer(status, {"Content-Type": "text/html"}, page)) as before,
        pytest.raises(RegistryError, match="does not speak the registry protocol"),
    ):
        upload(client(before), repository)


def test_error_texts_are_harmless(repository: str) -> None:
    """What a registry says is told without our secrets, signed URLs, users, control characters or excess."""
    auth = BasicAuth("ci", "canary-5520")

    def echo(handler: Handler) -> bool:
        if "Authorization" not in handler.headers:
            return handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
        said = (
            f"{handler.headers['Authorization']} canary-5520 \x1b[31m https://u:p@s3/b?sig=abc " + "x" * 9999
        )
        return handler.answer(400, content=said.encode())

    with front(echo) as before, pytest.raises(RegistryError) as caught:
        upload(client(before, auth), repository)
    text = str(caught.value)
    for secret in ("canary-5520", auth.header().removeprefix("Basic "), "sig=abc", "u:p", "\x1b"):
        assert secret not in text
    assert "https://s3/b?..." in text
    assert len(text) < 2300


def test_absent_registry(repository: str) -> None:
    """A registry that is not there is told within five seconds, with its host and the reason."""
    host = f"127.0.0.1:{free_port()}"
    start = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match=f"{host}: Connection refused"):
        Registry(host, Credentials()).head_manifest(repository, "v1")
    assert time.monotonic() - start < 5


def test_unknown_host(repository: str) -> None:
    """A host that no name server knows is told within five seconds, and as what it is."""
    start = time.monotonic()
    with pytest.raises(RegistryUnavailableError, match=r"cannot reach the registry no-such\.invalid: "):
        Registry("no-such.invalid", Credentials()).head_manifest(repository, "v1")
    assert time.monotonic() - start < 5


def test_cut_in_mid_download(registry: RealRegistry, repository: str) -> None:
    """A download that breaks goes on from where it was, and its digest still holds."""
    upload(client(registry), repository)

    def short(handler: Handler) -> bool:
        handler.answer(200, {"Content-Length": str(len(CONTENT))}, CONTENT[: 1 << 20])
        return handler.cut()

    with front(once(lambda handler: handler.command == "GET", short), registry.host) as before:
        assert client(before).open_blob(repository, DIGEST).read() == CONTENT
        resumed = before.methods("GET")[1].headers["Range"]
    assert int(resumed.removeprefix("bytes=").rstrip("-")) > 0


def test_download_of_other_bytes(repository: str) -> None:
    """A manifest or blob with other bytes than its digest says is never handed over."""
    with front(lambda handler: handler.answer(200, content=b"{}")) as before:
        with pytest.raises(TransferError, match="arrived as"):
            client(before).open_blob(repository, DIGEST).read()
        with pytest.raises(TransferError, match="not what its digest says"):
            client(before).get_manifest(repository, DIGEST)


def test_token_service_elsewhere(
    token_registry: RealRegistry, token_service: TokenService, repository: str
) -> None:
    """A registry whose token service is an address of its own host, on another port, is served tokens."""
    auth = BasicAuth(token_service.user, token_service.password)
    with front(lambda _: False, token_registry.host) as before:
        upload(client(before, auth), repository)
    assert client(token_registry, auth).head_blob(repository, DIGEST) == len(CONTENT)
