"""Registry credentials: whatever a registry answers, they reach no other host, and it costs neither time nor memory."""

from __future__ import annotations

import contextlib
import gzip
import io
import random
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from publisher.errors import PublisherError, RegistryError
from publisher.oci import connections, paced
from publisher.oci.access import Access
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.hosts import Origin
from publisher.oci.layout import digest_of
from publisher.oci.reference import Reference, api_host
from publisher.oci.registry import Registry
from publisher.oci.retries import Retries
from tests.contract.fronts import Handler, front

AUTH = BasicAuth("canary-user", "canary-9313")
TOKEN = "canary-token-7151"
CONTENT = b"a blob" * 1000
DIGEST = digest_of(CONTENT)
QUICK = Access(retries=Retries(tries=2, first_wait=0.001, longest_wait=0.002), timeout=5)


def client(host: str, auth: BasicAuth = AUTH) -> Registry:
    return Registry(host, Credentials({host: auth}), QUICK)


USES: dict[str, Callable[[Registry], object]] = {
    "pull": lambda registry: registry.open_blob("team/model", DIGEST).read(),
    "manifest": lambda registry: registry.get_manifest("team/model", "v1"),
    "push": lambda registry: registry.push_blob(
        "team/model", DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT)
    ),
    "tag": lambda registry: registry.put_manifest("team/model", "v1", "application/json", b"{}"),
    "mount": lambda registry: registry.mount_blob("team/model", DIGEST, "team/other"),
    "delete": lambda registry: registry.delete_manifest("team/model", "v1"),
}


def elsewhere(handler: Handler) -> bool:
    """Another host, which asks for credentials as long as it gets none."""
    if "Authorization" not in handler.headers:
        return handler.answer(
            401, {"WWW-Authenticate": f'Basic realm="x", Bearer realm="http://{HOST[0]}/token"'}
        )
    return handler.answer(200, content=CONTENT)


HOST = [""]  # of the other host, which its own rule needs to name


def betrayal(chance: random.Random, own: str, other: str) -> tuple[int, dict[str, str], bytes]:
    """One hostile answer."""
    place = chance.choice(
        [own, other, other, f"{own}@{other}", f"{other}#{own}", f"{other}?{own}", f"{other}/{own}"]
    )
    scheme = chance.choice(
        ["http://", "https://", "//", "", "HTTP://", "ftp://", "http:\\\\", "http:/", "http://\t"]
    )
    url = f"{scheme}{place}{chance.choice(['/v2/x', '/token', '/' + DIGEST, '', '/..//x', '/%0d%0aX:y', '?a=b&_state=1'])}"
    status = chance.choice(
        [200, 201, 202, 301, 302, 303, 307, 308, 400, 401, 401, 401, 403, 404, 416, 429, 500]
    )
    headers = {"Location": url, "Retry-After": "0"}
    if chance.random() < 0.7:
        headers["WWW-Authenticate"] = chance.choice(
            [
                f'Bearer realm="{url}",service="{other}",scope="repository:x:pull"',
                'Basic realm="x"',
                f'Basic realm="{url}"',
            ]
        )
    content = chance.choice(
        [b"", CONTENT, f'{{"token":"{TOKEN}","refresh_token":"{TOKEN}"}}'.encode(), b"[" * 5000]
    )
    return status, headers, content


@pytest.mark.parametrize(
    "auth", [AUTH, BasicAuth("canary-user", identity_token="canary-9313")], ids=["basic", "identity"]
)
@pytest.mark.parametrize("use", USES)
def test_random_betrayals(use: str, auth: BasicAuth) -> None:
    """Hundreds of random answers with redirects, Locations and realms: the other host hears no secret and no token."""
    chance = random.Random(use)
    secrets = (*auth.secrets(), TOKEN)
    with front(elsewhere, address="127.0.0.2") as other:
        HOST[0] = other.host
        with front(lambda handler: handler.answer(*betrayal(chance, bad.host, other.host))) as bad:
            for _ in range(60):
                with contextlib.suppress(PublisherError):
                    USES[use](client(bad.host, auth))
        heard = [f"{seen.method} {seen.path} {seen.headers}" for seen in other.seen]
        assert heard  # it was asked for something, and by whom is not known to it
        assert not [text for text in heard if any(secret in text for secret in secrets)]
        told = [f"{seen.path} {seen.headers}" for seen in bad.seen]
        assert auth.identity_token or [text for text in told if any(secret in text for secret in secrets)]


def test_no_storm_of_401() -> None:
    """A registry that refuses every password and every token is asked a few times, and its refusal told."""
    for challenge in ('Basic realm="x"', "Bearer realm"):

        def rule(handler: Handler, challenge: str = challenge) -> bool:
            if "/token" in handler.path:
                return handler.answer(200, content=f'{{"token":"{TOKEN}"}}'.encode())
            said = challenge if "Basic" in challenge else f'Bearer realm="http://{bad.host}/token"'
            return handler.answer(401, {"WWW-Authenticate": said})

        with front(rule) as bad:
            with pytest.raises(RegistryError):
                client(bad.host).get_manifest("team/model", "v1")
            assert len(bad.seen) <= 6


HOSTS = [
    *("registry.example.org", "registry.example.org:5000", "localhost", "localhost:5000", "[::1]:5000"),
    *("127.0.0.1:5000", "docker.io", "a-b.c", "xn--bcher-kva.example"),
]


@pytest.mark.parametrize("host", HOSTS)
def test_credentials_are_bound_to_a_host(host: str) -> None:
    """Hosts that look alike are others: prefix, suffix, port, trailing dot, dotted capital, punycode, user part."""
    known = Credentials({host: AUTH})
    assert known.identity(host).auth == AUTH
    name, _, port = host.rpartition(":") if host[-1].isdigit() and ":" in host else (host, "", "")
    for other in (
        *(f"{name}.evil.org", f"evil.{name}", f"{name}:5001", f"{name}:1{port}", f"{name}.", f"evil-{name}"),
        *(f"{host}@evil.org", f"evil.org@{host}", f"evil.org#{host}", f"evil.org/{host}", f"evil.org?{host}"),
        *(
            host.replace("i", "\u0131"),
            host.replace("o", "\u043e"),
            host.replace(".", "\u3002"),
            f"{host}\u200b",
        ),
        *(f" {host} x", f"{host}\n", f"{host}\0", f"{host}\\evil.org", f"evil.org\\{host}", f"{host}:"),
    ):
        if other not in (host, f"{host}\n", f" {host}") and other.strip() != host:
            assert known.identity(other).auth is None, other


def test_names_of_hosts_mean_one_thing() -> None:
    """Of many thousand random references, each that is taken names the very host that a connection would go to."""
    chance = random.Random(17)
    pieces = [
        *(
            "registry.example.org",
            "evil.org",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "xn--e1afmkfd",
            "B\u00dccher.de",
        ),
        *(
            "@",
            ":",
            "/",
            "#",
            "?",
            "\\",
            " ",
            "\t",
            "\n",
            "\0",
            ".",
            "..",
            "%40",
            "%2f",
            "\u3002",
            "\uff0e",
            "\u2024",
        ),
        *(
            "5000",
            "443",
            "99999",
            "0",
            "-",
            "_",
            "A",
            "a",
            "//",
            "https://",
            "user:pass",
            "\u0131",
            "v1",
            "sha256:",
        ),
    ]
    taken = 0
    for _ in range(40_000):
        text = "".join(chance.choices(pieces, k=chance.randint(1, 7)))
        try:
            host = Reference.parse(text).repository.host
        except ValueError:
            continue
        taken += 1
        assert host == "docker.io" or text.startswith(f"{host}/")
        origin = Origin(host, api_host(host), insecure=False)
        assert host == host.lower()
        assert host.isascii()
        assert origin.owns(f"{origin.url}/v2/")
        assert f"//{api_host(host)}" in origin.url
        assert origin.name in api_host(host)
    assert taken > 200


@contextlib.contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server below HTTP: `serve` gets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=_quietly, args=(serve, connection), daemon=True).start()

    threading.Thread(target=run, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def _quietly(serve: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with contextlib.suppress(OSError), connection:
        connection.recv(65536)
        serve(connection)


def drip(*start: bytes) -> Callable[[socket.socket], None]:
    """Sends `start`, then a byte at a time, each well before any timeout."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"".join(start))
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    return serve


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n"


@pytest.mark.parametrize(
    "start",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", HEAD + b"Content-Length: 1000000\r\n\r\n", HEAD + b"\r\n"],
    ids=["head", "body", "endless"],
)
@pytest.mark.parametrize("use", ["pull", "manifest", "mount"])
def test_answers_that_drip(use: str, start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then, so that no timeout of a socket ever comes: the whole has its own."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(paced, "SECONDS", 0.3)
    monkeypatch.setattr(paced, "GRACE", 0.3)
    begin = time.monotonic()
    with raw_server(drip(start)) as host:
        registry = Registry(host, Credentials({host: AUTH}), replace(QUICK, timeout=0.5))
        with contextlib.suppress(PublisherError):
            assert not USES[use](registry)
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize(
    "start",
    [
        HEAD + b"X-Long: " + b"x" * (32 << 20),
        HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(200_000)) + b"\r\n",
        b"HTTP/1.1 " + b"9" * (32 << 20),
        HEAD + b"Content-Length: -1\r\n\r\n" + bytes(64 << 20),
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + bytes(64 << 20),
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\n" + bytes(64 << 20),
        b"HTTP/1.1 400 No\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(128 << 20), 1),
        b"\x16\x03\x01" * 100,
        b"",
    ],
    ids=["line", "lines", "status", "negative", "huge", "chunks", "gzip", "tls", "nothing"],
)
def test_answers_that_are_huge_or_none(start: bytes) -> None:
    """Headers and bodies without end, or that are no HTTP, are an error of ours and are not held in memory."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(start)

    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw_server(serve) as host, pytest.raises(RegistryError):
        client(host).get_manifest("team/model", "v1")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin < 60_000  # kilobytes
