"""HTTP servers for tests: one before a real registry that misbehaves on demand, one that only listens."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Seen:
    """A request as it arrived, without its body."""

    method: str
    path: str
    headers: dict[str, str]


class Handler(BaseHTTPRequestHandler):
    """One request at a front; a rule answers it with `answer`, or cuts it off with `cut`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"") -> bool:
        """Read the request's body, then answer. True, so that a rule can end with it."""
        left = self.length
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        return True

    def cut(self, read: int = 0) -> bool:
        """Read some of the body and close the connection without an answer."""
        self.rfile.read(min(read, self.length))
        self.close_connection = True
        return True

    def swallow(self) -> bool:
        """Let the request through, and lose the answer to it."""
        self._forward(self.server.front.behind, answered=False)
        self.close_connection = True
        return True

    def cut_behind(self, sent: int) -> bool:
        """Let the first `sent` bytes of the body through, then break both connections."""
        self._forward(self.server.front.behind, sent)
        self.close_connection = True
        return True

    @property
    def length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _serve(self) -> None:
        front = self.server.front
        front.seen.append(Seen(self.command, self.path, dict(self.headers)))
        if not front.rule(self):
            self._forward(front.behind)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - names of http.server

    def _forward(self, behind: str, most: int | None = None, *, answered: bool = True) -> None:
        # The client's Host goes along: the registry makes its Location of it.
        connection = http.client.HTTPConnection(behind, timeout=60)
        path = self.path.removeprefix(self.server.front.strips)
        connection.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        left = self.length
        while left:
            chunk = self.rfile.read(min(left, 1 << 18))
            left -= len(chunk)
            connection.send(chunk)
            most = most if most is None else most - len(chunk)
            if most is not None and most <= 0:
                return connection.close()
        response = connection.getresponse()
        if not answered:
            response.read()
            return connection.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name not in ("Date", "Connection", "Transfer-Encoding"):
                host = f"http://{self.headers['Host']}" if self.server.front.relative else ""
                self.send_header(name, value.removeprefix(host))
        for name, value in self.server.front.more.items():
            self.send_header(name, value)
        content = response.read()
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return connection.close()

    def log_message(self, *_: object) -> None: ...


Rule = Callable[[Handler], bool]


class _Server(ThreadingHTTPServer):
    front: Front

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


@dataclass
class Front:
    """`rule` answers a request itself, and returns True, or leaves it to the host `behind`, whose answers then
    have the headers `more` too, and with `relative`, no host in their Location. `strips`: the start of a path that is kept from it."""

    host: str
    behind: str
    rule: Rule
    seen: list[Seen] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)
    relative: bool = False
    strips: str = ""

    def methods(self, method: str, path: str = "") -> list[Seen]:
        return [request for request in self.seen if request.method == method and path in request.path]


@contextmanager
def front(rule: Rule, behind: str = "", address: str = "127.0.0.1") -> Iterator[Front]:
    """Serve on a free port of `address`, a loopback address."""
    server = _Server((address, 0), Handler)
    server.front = Front(f"{address}:{server.server_port}", behind, rule)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.front
    finally:
        server.shutdown()
        server.server_close()


def once(match: Callable[[Handler], bool], act: Rule) -> Rule:
    """A rule that acts on the first request that matches, and on no other."""
    done = threading.Event()

    def rule(handler: Handler) -> bool:
        if match(handler) and not done.is_set():
            done.set()
            return act(handler)
        return False

    return rule


def blob_upload(handler: Handler) -> bool:
    """The request that carries a blob's bytes."""
    return handler.command == "PUT" and "/blobs/uploads/" in handler.path
