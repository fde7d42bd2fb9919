"""Credentials stay with the host that they are for: hostile registries, and a canary that must not arrive."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.errors import AuthenticationError, RegistryError
from publisher.oci.access import Access
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.layout import digest_of
from publisher.oci.registry import Registry
from publisher.oci.retries import Retries
from tests.contract.fronts import Front, Handler, front
from tests.engines.registry import RealRegistry

AUTH = BasicAuth("ci", "canary-9313")
CONTENT = b"a blob" * 1000
DIGEST = digest_of(CONTENT)
ONCE = Access(retries=Retries(tries=1))


def hostile(at: Front, realms: frozenset[str] = frozenset()) -> Registry:
    """A client with credentials for `at`, which turned against us."""
    return Registry(at.host, Credentials({at.host: AUTH}), replace(ONCE, realms=realms))


def basic(handler: Handler) -> bool:
    """Ask for Basic credentials, once: True where they were not there."""
    if "Authorization" in handler.headers:
        return False
    return handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'})


def canaries(at: Front) -> list[str]:
    """All forms in which our password arrived at `at`."""
    texts = [f"{seen.path} {seen.headers}" for seen in at.seen]
    return [text for text in texts if any(secret in text for secret in AUTH.secrets())]


def elsewhere(handler: Handler) -> bool:
    """The other host: takes what it is given, and asks for more."""
    if handler.command == "GET" and "Authorization" not in handler.headers and "asks" in handler.path:
        return handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
    return handler.answer(201 if handler.command == "PUT" else 200, content=CONTENT)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect(address: str, status: int, repository: str) -> None:
    """A blob may come from another host or port, as big registries do it, and that host sees no credentials."""
    with front(elsewhere, address=address) as other:
        place = {"Location": f"http://{other.host}/blob"}
        with front(lambda handler: basic(handler) or handler.answer(status, place)) as bad:
            assert hostile(bad).open_blob(repository, DIGEST).read() == CONTENT
            assert canaries(bad)
        assert other.seen
        assert not canaries(other)


def test_redirect_that_asks(repository: str) -> None:
    """A host that we were sent to, and that then asks for credentials, gets an error and no credentials."""
    with front(elsewhere) as other:
        place = {"Location": f"http://{other.host}/asks"}
        with (
            front(lambda handler: basic(handler) or handler.answer(307, place)) as bad,
            pytest.raises(AuthenticationError),
        ):
            hostile(bad).open_blob(repository, DIGEST)
        assert len(other.seen) == 1
        assert not canaries(other)


def test_upload_location(repository: str) -> None:
    """An upload that is to go to another host goes there without credentials."""
    with front(elsewhere) as other:
        place = {"Location": f"http://{other.host}/upload?state=1"}
        with front(lambda handler: basic(handler) or handler.answer(202, place)) as bad:
            hostile(bad).push_blob(repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT))
            assert canaries(bad)
        assert [seen.method for seen in other.seen] == ["PUT"]
        assert "state=1&digest=sha256" in other.seen[0].path
        assert not canaries(other)


def test_realm_elsewhere(repository: str) -> None:
    """A token service on another host sees no request at all, unless the settings allow it."""
    with front(lambda handler: handler.answer(200, content=b'{"token":"t"}'), address="127.0.0.2") as other:
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{other.host}/token",service="x"'}
        with front(
            lambda handler: handler.answer(
                *((404,) if "Authorization" in handler.headers else (401, challenge))
            )
        ) as bad:
            with pytest.raises(AuthenticationError, match=r"send its credentials to 127\.0\.0\.2: not done"):
                hostile(bad).head_manifest(repository, "v1")
            assert not other.seen
            assert hostile(bad, frozenset({"127.0.0.2"})).head_manifest(repository, "v1") is None
        assert canaries(other)


@pytest.mark.parametrize(
    "realm",
    [
        "http://tokens.example.org/token",
        "file:///etc/passwd",
        "https://a@tokens.example.org/",
        "http://[",
        "x",
    ],
)
def test_realm_that_is_no_service(realm: str, repository: str) -> None:
    """A realm without encryption, with a user in it, or that is no web address, is refused."""
    with (
        front(lambda handler: handler.answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'})) as bad,
        pytest.raises(RegistryError, match=r"not followed|not done"),
    ):
        hostile(bad).head_manifest(repository, "v1")


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "http://[", "https://user@127.0.0.1/", "gopher://x/"]
)
def test_location_that_is_no_address(place: str, repository: str) -> None:
    """A Location that is no web address, or has a user in it, ends the request with an error."""
    with (
        front(lambda handler: handler.answer(307, {"Location": place})) as bad,
        pytest.raises(RegistryError, match="not followed"),
    ):
        hostile(bad).open_blob(repository, DIGEST)


def test_endless_redirects(repository: str) -> None:
    """Redirects in a circle end after a few."""
    with front(lambda handler: handler.answer(302, {"Location": handler.path})) as bad:
        with pytest.raises(RegistryError, match="without end"):
            hostile(bad).open_blob(repository, DIGEST)
        assert len(bad.seen) < 10


def test_netrc(
    registry: RealRegistry, repository: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password of ~/.netrc is for other programs: no registry sees it, not after a redirect either."""
    netrc = tmp_path / "netrc"
    netrc.write_text("default login ci password canary-9313\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with front(elsewhere) as other:
        place = {"Location": f"http://{other.host}/blob"}
        with front(lambda handler: handler.answer(307, place)) as bad:
            Registry(bad.host, Credentials(), ONCE).open_blob(repository, DIGEST)
            assert bad.seen
            assert other.seen
            assert not canaries(bad) + canaries(other)


def test_digest_as_a_path(registry: RealRegistry, repository: str) -> None:
    """A digest that is really a path never becomes part of a request."""
    with pytest.raises(RegistryError, match="not a SHA-256 digest"):
        Registry(registry.host, Credentials()).head_blob(repository, "sha256:../../../../secret")
    assert not registry.requests("HEAD", "secret")
