"""A package index of the tests' own: PEP 691 JSON with upload times, from a folder of wheels."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

UPLOADED = "2024-01-01T00:00:00.000000Z"


@contextmanager
def serve_wheels(folder: Path) -> Iterator[str]:
    """Serve the wheels in `folder`; gives the address for UV_DEFAULT_INDEX."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2:
                wheels = [path for path in folder.glob("*.whl") if _project(path) == parts[1]]
                files = [_file(path, url) for path in wheels]
                document = {"meta": {"api-version": "1.1"}, "name": parts[1], "files": files}
                kind, content = "application/vnd.pypi.simple.v1+json", json.dumps(document).encode()
                self._answer(200 if files else 404, kind, content)
            elif parts[0] == "files" and len(parts) == 2 and (folder / parts[1]).is_file():
                self._answer(200, "application/octet-stream", (folder / parts[1]).read_bytes())
            else:
                self._answer(404, "text/plain", b"")

        do_HEAD = do_GET  # noqa: N815 - names of http.server

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients are killed here
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"{url}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _project(path: Path) -> str:
    return re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower()


def _file(path: Path, url: str) -> dict[str, object]:
    content = path.read_bytes()
    hashes = {"sha256": hashlib.sha256(content).hexdigest()}
    return {
        "filename": path.name,
        "url": f"{url}/files/{path.name}",
        "hashes": hashes,
        "size": len(content),
        "upload-time": UPLOADED,
    }
