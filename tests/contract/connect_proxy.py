"""An HTTP proxy for tests: tunnels by CONNECT, passes plain requests on, and may ask who is there."""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import requests


@dataclass
class Proxy:
    """`lines` are the request lines that it saw. `user` with `password` must be shown, unless empty."""

    host: str = ""
    user: str = ""
    password: str = ""
    refuses: bool = False
    lines: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.user}:{self.password}@{self.host}" if self.user else f"http://{self.host}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _turned_away(self) -> bool:
        proxy = self.server.proxy
        proxy.lines.append(self.requestline)
        wanted = "Basic " + base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        if proxy.refuses:
            self.send_error(403)
        elif proxy.user and self.headers.get("Proxy-Authorization") != wanted:
            self.send_error(407)
        else:
            return False
        self.close_connection = True
        return True

    def do_CONNECT(self) -> None:
        if self._turned_away():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            ends = [self.connection, far]
            while True:
                for ready in select.select(ends, [], [], 30)[0]:
                    chunk = ready.recv(1 << 16)
                    if not chunk:
                        self.close_connection = True
                        return
                    ends[ready is self.connection].sendall(chunk)

    def _plain(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._turned_away():
            return
        headers = {key: value for key, value in self.headers.items() if key != "Proxy-Authorization"}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(
                self.command, self.path, data=content, headers=headers, allow_redirects=False
            )
        self.send_response(answer.status_code)
        for key, value in answer.headers.items():
            if key not in ("Connection", "Transfer-Encoding", "Content-Length"):
                self.send_header(key, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else len(answer.content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _plain  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None: ...


@contextmanager
def proxy(user: str = "", password: str = "", *, refuses: bool = False) -> Iterator[Proxy]:
    """Serve on a free port of loopback."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.proxy = Proxy(f"127.0.0.1:{server.server_port}", user, password, refuses)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()


def hosts(seen: Proxy) -> set[str]:
    """The hosts that were asked for through the proxy."""
    targets = [line.split()[1] for line in seen.lines]
    return {urlsplit(target).netloc or target for target in targets}
