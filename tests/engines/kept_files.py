"""Files of a package index, served from loopback and kept between runs by their hash.

An image's pip has them without TLS, which under emulation costs it ten seconds of the processor for 100 MB.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.engines import machine

# A wheel's own METADATA, which pip reads first where a page says that it is there. One is the other's old name.
_METADATA = ("core-metadata", "data-dist-info-metadata")


class KeptFiles:
    """Those that a page was told of by `lent`; others are not there."""

    def __init__(self) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folder = cache / "publisher-tests" / "wheels"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sources: dict[str, tuple[str, str]] = {}  # path of the URL -> where from, SHA-256

    def lent(self, file: Mapping[str, Any]) -> dict[str, Any]:
        """What an index's page says of a file, with a path of ours as its URL where its SHA-256 is known."""
        digest = file["hashes"].get("sha256")
        if not digest:
            return dict(file)
        path = f"/files/{digest}/{file['filename']}"
        self._sources[path] = file["url"], digest
        said = {key: value for key, value in file.items() if key not in _METADATA}
        for key in _METADATA:
            found = file.get(key)
            if isinstance(found, dict) and "sha256" in found:
                self._sources[f"{path}.metadata"] = f"{file['url']}.metadata", found["sha256"]
                said[key] = found
        return {**said, "url": path}

    def have(self, path: str) -> Path:
        """The file that is asked for by the path of its URL. Raises KeyError where none is, OSError as downloads do."""
        url, digest = self._sources[path]
        kept = self._folder / digest
        if not kept.exists():
            self._download(url, digest, kept)
        return kept

    def _download(self, url: str, digest: str, kept: Path) -> None:
        trust = ssl.create_default_context(cafile=machine.authorities())
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            part, seen = Path(folder) / "part", hashlib.sha256()
            with urllib.request.urlopen(url, timeout=60, context=trust) as answer, part.open("wb") as sink:
                while block := answer.read(1 << 20):
                    seen.update(block)
                    sink.write(block)
            if seen.hexdigest() != digest:
                raise OSError(f"{url} has another SHA-256 than its index says")
            part.rename(kept)  # whole, or not at all: other processes look for it too
