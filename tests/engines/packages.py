"""A small package index with real wheels from a folder, behind a name and a password.

Pages are HTML (PEP 503), or JSON with upload times (PEP 691, PEP 700).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "robot", "canary/4711 ä"  # what URLs and headers each write in their own way


@dataclass(slots=True)
class PackageIndex:
    """`folder` holds the files; `asked` lists each request: path, and whether it brought the right account."""

    folder: Path
    port: int = 0
    uploaded: str = ""  # of all files; with it pages are JSON
    asked: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"

    def page(self, project: str) -> bytes | None:
        files = sorted(
            path
            for path in self.folder.iterdir()
            if re.sub(r"[-_.]+", "-", path.name.rsplit("-1.0", 1)[0]).lower() == project
        )
        if files and self.uploaded:
            listed = [
                {
                    "filename": path.name,
                    "url": f"../../files/{path.name}",
                    "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                    "size": path.stat().st_size,
                    "upload-time": self.uploaded,
                }
                for path in files
            ]
            document = {"meta": {"api-version": "1.1"}, "name": project, "files": listed, "versions": ["1.0"]}
            return json.dumps(document).encode()
        lines = [
            f'<a href="../../files/{path.name}#sha256={hashlib.sha256(path.read_bytes()).hexdigest()}">{path.name}</a>'
            for path in files
        ]
        return "<br>\n".join(lines).encode() if lines else None

    def content(self, path: str) -> bytes | None:
        if match := re.fullmatch(r"/simple/([a-z0-9-]+)/", path):
            return self.page(match[1])
        file = self.folder / path.rpartition("/")[2]
        return file.read_bytes() if path.startswith("/files/") and file.is_file() else None


@contextmanager
def serve(folder: Path, *, secret: bool = True, uploaded: str = "") -> Iterator[PackageIndex]:
    """Serve the wheels and sources of version 1.0 in `folder`, read anew at each request."""
    index = PackageIndex(folder, uploaded=uploaded)
    page = "application/vnd.pypi.simple.v1+json" if uploaded else "text/html"
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            right = self.headers.get("Authorization") == expected
            index.asked.append((self.path, right))
            body = index.content(self.path) if right or not secret else None
            status = 401 if secret and not right else 404 if body is None else 200
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="packages"')
            self.send_header("Content-Type", page if "/simple/" in self.path else "application/zip")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
