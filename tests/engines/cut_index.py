"""The package index of this machine, with pages that list only what the tests' images could install.

A page of numpy's tells of thousands of files, and pip reads all of them: under emulation that takes half of an
installation's time. Files come from loopback too (kept_files.py).
"""

from __future__ import annotations

import json
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tests.engines import machine
from tests.engines.kept_files import KeptFiles

_JSON = "application/vnd.pypi.simple.v1+json"
_PYTHON = f"{sys.version_info.major}{sys.version_info.minor}"


@contextmanager
def pip_settings() -> Iterator[dict[str, str]]:
    """What pip.conf of an image says in ``[global]`` until the block ends: cut, where one index is asked by nobody's name."""
    own = machine.pip_settings()
    index = own.get("index-url", "https://pypi.org/simple")
    if own.keys() & {"extra-index-url", "proxy"} or "@" in index:
        yield own
        return
    with serve(index) as address:
        yield {**own, "index-url": address}


@contextmanager
def serve(index: str) -> Iterator[str]:
    """The address of the pages of `index`, which asks nobody who they are, until the block ends."""

    files = KeptFiles()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            try:
                if self.path.startswith("/files/"):
                    self._file(files.have(self.path))
                else:
                    name = self.path.strip("/").rpartition("/")[2]
                    self._answer(200, _page(f"{index.rstrip('/')}/{name}/", files))
            except urllib.error.HTTPError as error:
                self._answer(error.code, b"")
            except KeyError:
                self._answer(404, b"")
            except ConnectionError:
                self.close_connection = True  # who asked has gone
            except OSError:
                self._answer(503, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, path: Path) -> None:
            with path.open("rb") as source:
                self.send_response(200)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(path.stat().st_size))
                self.end_headers()
                shutil.copyfileobj(source, self.wfile)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/simple"
    finally:
        server.shutdown()
        server.server_close()


def _page(url: str, files: KeptFiles) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": _JSON})
    trust = ssl.create_default_context(cafile=machine.authorities())
    with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
        page: dict[str, Any] = json.load(answer)
    page["files"] = [
        files.lent({**file, "url": urljoin(url, file["url"])})
        for file in page["files"]
        if _fits(file["filename"])
    ]
    return json.dumps(page).encode()


def _fits(filename: str) -> bool:
    """A wheel for this Python on Linux, of either of the two architectures."""
    try:
        *_, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return any(
        tag.interpreter in ("py3", f"cp{_PYTHON}") or tag.abi == "abi3"
        for tag in tags
        if tag.platform == "any" or ("linux" in tag.platform and tag.platform.endswith(("x86_64", "aarch64")))
    )
