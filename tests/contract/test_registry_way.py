"""An image through a proxy that spoils one request, at each step of the way: it arrives, and the tag comes last."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from publisher.errors import RegistryError, RegistryUnavailableError
from publisher.oci.access import Access
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.layout import digest_of
from publisher.oci.push import push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from publisher.oci.retries import Retries
from tests.contract.fronts import Front, Handler, Rule, front, once
from tests.contract.test_registry import small_image
from tests.engines.registry import RealRegistry, TokenService, running

QUICK = Retries(tries=4, first_wait=0.02, longest_wait=0.1)
PAGE = b"<html>Bad Gateway</html>"
HTML = {"Content-Type": "text/html; charset=utf-8"}

FAULTS: dict[str, Rule] = {
    "cut": lambda handler: handler.cut(100),
    "cut behind": lambda handler: handler.cut_behind(100),
    "answer lost": lambda handler: handler.swallow(),
    "late": lambda handler: time.sleep(0.4) or handler.cut(),  # type: ignore[func-returns-value]
    "429": lambda handler: handler.answer(429, {"Retry-After": "0"}),
    "500": lambda handler: handler.answer(500),
    "502": lambda handler: handler.answer(502, HTML, PAGE),
}


def is_blob(handler: Handler) -> bool:
    return handler.command == "PUT" and "/blobs/" in handler.path


def is_manifest(handler: Handler) -> bool:
    return handler.command == "PUT" and "/manifests/sha256:" in handler.path


STEPS: dict[str, Callable[[Handler], bool]] = {
    "look": lambda handler: handler.command == "HEAD",
    "begin": lambda handler: handler.command == "POST",
    "blob": is_blob,
    "manifest": is_manifest,
    "tag": lambda handler: handler.command == "PUT" and handler.path.endswith("/manifests/v1"),
}


def clients(at: Front, auth: BasicAuth | None = None, **more: Any) -> Registries:
    access = Access(retries=QUICK, timeout=0.3, **more)
    return Registries(Credentials({at.host: auth} if auth else {}), default=access)


def publish(at: Front, repository: str, known: Registries) -> None:
    image, place = small_image(repository), Repository(at.host, repository)
    push(image, place, known)
    tag(image.top, image.manifests[image.top.digest], place, "v1", known)


def arrived(registry: RealRegistry, repository: str, auth: BasicAuth | None = None) -> bool:
    """Whether the tag stands for the image, with every blob of it."""
    image = small_image(repository)
    client = Registry(registry.host, Credentials({registry.host: auth} if auth else {}))
    return client.head_manifest(repository, "v1") == image.top and all(
        client.head_blob(repository, digest) == size
        for digest, size in image.sizes.items()
        if digest in image.blobs
    )


def in_order(at: Front) -> bool:
    """Whether no manifest was sent before the last blob, and the tag after everything."""
    puts = [seen.path for seen in at.methods("PUT")]
    kinds = ["blob" if "/blobs/" in path else "tag" if path.endswith("/v1") else "manifest" for path in puts]
    return kinds == sorted(kinds, key=["blob", "manifest", "tag"].index)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault(fault: str, step: str, registry: RealRegistry, repository: str) -> None:
    """Each fault at each step costs a try, and nothing else."""
    with front(once(STEPS[step], FAULTS[fault]), registry.host) as before:
        publish(before, repository, clients(before))
        assert in_order(before)
    assert arrived(registry, repository)


@pytest.mark.parametrize("step", STEPS)
def test_unauthorized_at_each_step(
    step: str, token_registry: RealRegistry, token_service: TokenService, repository: str
) -> None:
    """A 401 at any step costs one new token."""
    auth = BasicAuth(token_service.user, token_service.password)
    challenge = f'Bearer realm="{token_service.url}",service="{token_service.name}",error="invalid_token"'

    def authorized(handler: Handler) -> bool:
        # Not the first: a token that is refused when it is new lacks a right, and another would lack it too.
        known = sum("Authorization" in seen.headers for seen in handler.server.front.seen) > 1
        return known and "Authorization" in handler.headers and STEPS[step](handler)

    expired = once(authorized, lambda handler: handler.answer(401, {"WWW-Authenticate": challenge}))
    with front(expired, token_registry.host) as before:
        publish(before, repository, clients(before, auth))
        assert in_order(before)
    assert arrived(token_registry, repository, auth)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", ["cut", "500"])
def test_a_fault_that_stays(fault: str, step: str, registry: RealRegistry, repository: str) -> None:
    """A fault for good ends in an error, with no tag and no index; the next publication ends well."""

    def rule(handler: Handler) -> bool:
        return STEPS[step](handler) and FAULTS[fault](handler)

    with front(rule, registry.host) as before:
        with pytest.raises(RegistryUnavailableError):
            publish(before, repository, clients(before))
        direct = Registry(registry.host, Credentials())
        assert direct.head_manifest(repository, "v1") is None
        if step != "tag":
            assert direct.head_manifest(repository, small_image(repository).top.digest) is None
    with front(lambda _: False, registry.host) as before:
        publish(before, repository, clients(before))
    assert arrived(registry, repository)


def ok_page(handler: Handler) -> bool:
    return handler.answer(200, HTML, b"<html>Please log in to this network</html>")


def login_page(handler: Handler) -> bool:
    if handler.path == "/login":
        return ok_page(handler)
    return handler.answer(302, {"Location": "/login"})


def created_page(handler: Handler) -> bool:
    return handler.answer(201, HTML, b"<html>")


@pytest.mark.parametrize("page", [ok_page, login_page, created_page])
def test_login_page(page: Rule, repository: str) -> None:
    """A network's login page, which says yes to everything, is never taken for a registry that has it all."""
    image = small_image(repository)
    with front(page) as before:
        known = clients(before)
        client = known.at(before.host)
        for ask in (
            lambda: publish(before, repository, known),
            lambda: client.head_manifest(repository, image.top.digest),
            lambda: client.get_manifest(repository, "v1"),
            lambda: client.head_blob(repository, image.top.digest),
            lambda: client.open_blob(repository, image.top.digest),
            lambda: client.put_manifest(repository, "v1", "x", b"{}"),
            lambda: client.delete_manifest(repository, "v1"),
            lambda: client.try_push(repository),
        ):
            with pytest.raises(RegistryError, match="does not speak the registry protocol") as caught:
                ask()
            assert "login page" in caught.value.hint


@pytest.mark.parametrize("dated", [False, True])
def test_retry_after(dated: bool, registry: RealRegistry, repository: str) -> None:
    """A limit that asks for a second or two, as a number or as a date, makes all transfers wait for it."""
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    told: list[float] = []

    def limit(handler: Handler) -> bool:
        told.append(time.monotonic())
        return handler.answer(429, {"Retry-After": moment if dated else "1"})

    with front(once(STEPS["begin"], limit), registry.host) as before:
        client = clients(before).at(before.host)
        digest = digest_of(b"x")
        with ThreadPoolExecutor() as pool:
            sent = pool.submit(client.push_blob, repository, digest, 1, lambda: io.BytesIO(b"x"))
            while not told:
                time.sleep(0.01)
            time.sleep(0.1)
            assert client.head_blob(repository, digest) in (None, 1)
            assert time.monotonic() - told[0] > 0.9
            sent.result()
    assert Registry(registry.host, Credentials()).head_blob(repository, digest) == 1


def test_long_wait(repository: str) -> None:
    """Who asks for more patience than a publication has is asked once, and what was asked for is told."""
    with front(lambda handler: handler.answer(429, {"Retry-After": "3600"})) as before:
        start = time.monotonic()
        with pytest.raises(RegistryUnavailableError, match="limits how often we may ask") as caught:
            clients(before).at(before.host).head_manifest(repository, "v1")
        assert len(before.seen) == 1
    assert "3600 seconds" in caught.value.hint
    assert time.monotonic() - start < 20


def test_registry_that_needs_a_moment(registry: RealRegistry, repository: str) -> None:
    """A registry that does not see at once what it was sent gets it, and everything is there in the end."""
    unknown = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"not yet"}]}'
    blind = time.monotonic() + 0.5

    def rule(handler: Handler) -> bool:
        if handler.command == "HEAD":
            return time.monotonic() < blind and handler.answer(404)
        return refused(handler)

    refused = once(is_manifest, lambda handler: handler.answer(404, content=unknown))
    with front(rule, registry.host) as before:
        content = b"seen later"
        client = clients(before).at(before.host)
        for _ in range(2):  # the second time it is sent again, which does no harm
            client.push_blob(repository, digest_of(content), len(content), lambda: io.BytesIO(content))
        publish(before, repository, clients(before))
    assert arrived(registry, repository)


@pytest.mark.parametrize("relative", [False, True])
def test_behind_a_path(relative: bool, tmp_path: Any, repository: str) -> None:
    """A registry that serves below a path takes an image, whatever its Locations look like."""
    with running(tmp_path, prefix="/some/hub/") as real, front(lambda _: False, real.host) as before:
        before.relative = relative
        known = clients(before, api_path="/some/hub")
        publish(before, repository, known)
        assert all(seen.path.startswith("/some/hub/v2/") for seen in before.seen)
        assert known.at(before.host).head_manifest(repository, "v1") == small_image(repository).top
        with pytest.raises(RegistryError):
            publish(before, repository, clients(before))


def test_behind_a_path_that_is_stripped(registry: RealRegistry, repository: str) -> None:
    """A proxy's path that the registry knows nothing of is put before the Locations that it gives."""
    with front(lambda _: False, registry.host) as before:
        before.strips = "/hub"
        publish(before, repository, clients(before, api_path="/hub", chunk_size=40_000))
        assert before.methods("PATCH")
        assert all(seen.path.startswith("/hub/v2/") for seen in before.seen)
    assert arrived(registry, repository)
