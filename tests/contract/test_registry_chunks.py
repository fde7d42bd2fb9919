"""Blobs that do not go in one request: small limits, breaks, registries that can and cannot go on."""

from __future__ import annotations

import io
import os

import pytest

from publisher.errors import RegistryError
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.layout import digest_of
from publisher.oci.registry import Registry
from publisher.oci.retries import Retries
from tests.contract.fronts import Front, Handler, blob_upload, front, once
from tests.engines.registry import RealRegistry

MIB = 1 << 20
CONTENT = os.urandom(3 * MIB + 5)
DIGEST = digest_of(CONTENT)
QUICK = Retries(tries=5, first_wait=0.02, longest_wait=0.05)


def send(
    at: Front | RealRegistry, repository: str, chunk_size: int = 0, content: bytes = CONTENT
) -> Registry:
    """Push `content`, and hold the progress against its size."""
    heard: list[int] = []
    client = Registry(at.host, Credentials(), Access(retries=QUICK, chunk_size=chunk_size))
    client.push_blob(repository, digest_of(content), len(content), lambda: io.BytesIO(content), heard.append)
    assert sum(heard) == len(content)
    return client


def arrived(registry: RealRegistry, repository: str, content: bytes = CONTENT) -> bool:
    with Registry(registry.host, Credentials()).open_blob(repository, digest_of(content)) as stream:
        return stream.read() == content


def sizes(at: Front, method: str) -> list[int]:
    return [int(seen.headers["Content-Length"]) for seen in at.methods(method)]


@pytest.mark.parametrize("size", [3 * MIB, 3 * MIB + 1, 3 * MIB - 1, MIB, MIB + 1, 0])
def test_chunk_size(registry: RealRegistry, repository: str, size: int) -> None:
    """With a chunk size, no request is larger, and blobs at the edges arrive whole."""
    content = os.urandom(size)
    with front(lambda _: False, registry.host) as before:
        send(before, repository, MIB, content)
        chunks = sizes(before, "PATCH")
        assert len(chunks) == (0 if size <= MIB else -(-size // MIB))
        assert max(chunks + sizes(before, "PUT")) <= MIB
    assert arrived(registry, repository, content)


def limited(handler: Handler) -> bool:
    """A proxy that takes 1 MiB, as nginx does unless it is told otherwise."""
    return handler.length > MIB and handler.answer(
        413, {"Content-Type": "text/html"}, b"<html>too large</html>"
    )


def limited_rudely(handler: Handler) -> bool:
    """The same by one that answers at once, reads nothing, and closes."""
    if handler.length <= MIB:
        return False
    handler.send_response(413)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    handler.close_connection = True
    return True


@pytest.mark.parametrize("limit", [limited, limited_rudely])
def test_a_limit_is_learned(registry: RealRegistry, repository: str, limit: object) -> None:
    """A body that is too large goes in chunks that are not, and the next blob is not tried whole again."""
    with front(limit, registry.host) as before:  # type: ignore[arg-type]
        client = send(before, repository)
        assert arrived(registry, repository)
        tried = len(before.seen)
        second = os.urandom(2 * MIB)
        client.push_blob(repository, digest_of(second), len(second), lambda: io.BytesIO(second))
        assert max(int(seen.headers.get("Content-Length", 0)) for seen in before.seen[tried:]) <= MIB
    assert arrived(registry, repository, second)


def test_a_limit_below_everything(registry: RealRegistry, repository: str) -> None:
    """A limit that even the smallest chunk breaks is told with what to do."""
    with (
        front(lambda handler: handler.length > 1000 and handler.answer(413), registry.host) as before,
        pytest.raises(RegistryError, match="413") as caught,
    ):
        send(before, repository)
    assert "raise that limit" in caught.value.hint


def test_least_chunk(registry: RealRegistry, repository: str) -> None:
    """Chunks are not smaller than the registry's OCI-Chunk-Min-Length, but for the last."""
    with front(lambda _: False, registry.host) as before:
        before.more["OCI-Chunk-Min-Length"] = str(2 * MIB)
        send(before, repository, MIB)
        assert sizes(before, "PATCH") == [2 * MIB, len(CONTENT) - 2 * MIB]
    assert arrived(registry, repository)


def test_goes_on_after_a_break(registry: RealRegistry, repository: str) -> None:
    """A chunk that a proxy lost is sent again, alone: what the registry has is asked for, and kept."""
    broken = once(
        lambda h: h.command == "PATCH" and h.headers["Content-Range"].startswith(f"{MIB}-"),
        lambda handler: handler.cut(MIB // 2),
    )
    with front(broken, registry.host) as before:
        send(before, repository, MIB)
        assert len(before.methods("POST")) == 1
        ranges = [seen.headers["Content-Range"].partition("-")[0] for seen in before.methods("PATCH")]
        assert ranges == [str(at * MIB) for at in (0, 1, 1, 2, 3)]
    assert arrived(registry, repository)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_begins_anew_where_the_registry_lost_it(registry: RealRegistry, repository: str, method: str) -> None:
    """Where the break reached Debian's registry, it forgets the upload (404), and the blob is begun anew."""
    broken = once(
        lambda h: h.command == method and h.length > 0, lambda handler: handler.cut_behind(MIB // 2)
    )
    with front(broken, registry.host) as before:
        send(before, repository, 2 * MIB if method == "PATCH" else 0)
        assert len(before.methods("POST")) == 2
    assert arrived(registry, repository)


def test_breaks_that_never_end(registry: RealRegistry, repository: str) -> None:
    """A line on which nothing longer than 1.5 MiB ever arrives carries the blob all the same."""

    def rule(handler: Handler) -> bool:
        return handler.length > 3 * MIB // 2 and handler.cut(MIB)

    with front(rule, registry.host) as before:
        send(before, repository)
        assert max(sizes(before, "PATCH")) == MIB
    assert arrived(registry, repository)


def test_more_breaks_than_tries(registry: RealRegistry, repository: str) -> None:
    """As long as each try brings the blob further, there are more of them than the retries' bound."""
    odd: list[str] = []

    def rule(handler: Handler) -> bool:
        if handler.command != "PATCH" or handler.headers["Content-Range"] in odd:
            return False
        odd.append(handler.headers["Content-Range"])
        return handler.answer(503)

    content = os.urandom(9 * MIB)
    with front(rule, registry.host) as before:
        send(before, repository, MIB, content)
        assert len(before.methods("PATCH")) == 18
    assert arrived(registry, repository, content)


def test_registry_without_chunks(registry: RealRegistry, repository: str) -> None:
    """Where chunks were our own idea after breaks, and the registry has none, the blob goes whole again."""
    breaks = [2]

    def rule(handler: Handler) -> bool:
        if handler.command == "PATCH":
            return handler.answer(405)
        if blob_upload(handler) and breaks[0]:
            breaks[0] -= 1
            return handler.cut(MIB)
        return False

    with front(rule, registry.host) as before:
        send(before, repository)
        assert len(before.methods("PATCH")) == 1
    assert arrived(registry, repository)


@pytest.mark.parametrize("range_", ["0-2097151", f"0-{len(CONTENT) - 1}", "0-99999999", "nonsense", "0-0"])
def test_registry_that_tells_a_wrong_state(registry: RealRegistry, repository: str, range_: str) -> None:
    """A state that is not true ends in the right bytes: the digest at the end is the guard."""
    broken = once(lambda h: h.command == "PATCH" and h.headers["Content-Range"][0] != "0", lambda h: h.cut(9))

    def rule(handler: Handler) -> bool:
        if handler.command == "GET" and "/uploads/" in handler.path:
            return handler.answer(204, {"Range": range_, "Location": handler.path})
        return broken(handler)

    with front(rule, registry.host) as before:
        send(before, repository, MIB)
        assert len(before.methods("POST")) == 2
    assert arrived(registry, repository)


def test_relative_locations(registry: RealRegistry, repository: str) -> None:
    """A Location may be a path, with a query that is part of the state, at each step of an upload."""
    with front(lambda _: False, registry.host) as before:
        before.relative = True
        send(before, repository, MIB)
        assert all("_state=" in seen.path for seen in before.methods("PATCH"))
    assert arrived(registry, repository)
