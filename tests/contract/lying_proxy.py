"""A real HTTP proxy in front of a real server that counts requests, and changes the answers a test names."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What goes back: `length` is the Content-Length that is told, `body` what is really sent."""

    status: int
    content_type: str
    body: bytes
    length: int | None = None
    location: str = ""


Lie = Callable[[str, Answer], Answer | None]


@dataclass
class LyingProxy:
    """`lie` gets ``GET /path?query`` and the true answer; None lets the truth pass."""

    uri: str
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of each request
    lie: Lie | None = None


@contextmanager
def lying_proxy(upstream: str) -> Iterator[LyingProxy]:
    """Run a proxy of `upstream` on a free loopback port."""
    place = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            line = f"{self.command} {self.path}"
            proxy.requests.append(line)
            proxy.headers.append(dict(self.headers.items()))
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
            headers = {
                key: value for key, value in self.headers.items() if key not in ("Host", "Accept-Encoding")
            }
            connection.request(self.command, self.path, content or None, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers.get("Content-Type", ""), response.read())
            connection.close()
            answer = (proxy.lie(line, answer) if proxy.lie else None) or answer
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header(
                "Content-Length", str(len(answer.body) if answer.length is None else answer.length)
            )
            if answer.location:
                self.send_header("Location", answer.location)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer.body)
            self.close_connection = True

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass  # noqa: N815

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = LyingProxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
