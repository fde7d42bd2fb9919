"""The cache on disk, by content: wheels, layers, and what environments became.

Everything appears under its final name only when it is whole, so that several publishers share one folder.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from publisher import scratch, turns
from publisher.builders.base import Remembered
from publisher.cache_folder import CacheFolder
from publisher.errors import BuildError
from publisher.oci.layer import Layer
from publisher.oci.layout import Descriptor, FileBlob
from publisher.oci.layout_folder import blob_path


class Cache:
    """A Memory on disk (builders/base.py), and the layers of single wheels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._whole = CacheFolder(folder)

    def wheel(self, sha256: str) -> Path:
        """Where the wheel is, or belongs."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise BuildError(f"{sha256[:80]!r} is no SHA-256")
        path = self.folder / "wheels" / f"{sha256}.whl"
        self._whole.used(path)
        return path

    @contextmanager
    def room(self) -> Iterator[Path]:
        """A folder for layers that are being made: beside the finished ones, for `adopt` only renames."""
        with tempfile.TemporaryDirectory(dir=scratch.below(self.folder).folder) as name:
            yield Path(name)

    def turn(self, key: str, check: Callable[[], None]) -> AbstractContextManager[None]:
        """While it is held, nobody else who shares this folder makes what `key` stands for."""
        return turns.held(self.folder, key, check)

    def layer(self, key: str) -> Layer | None:
        """The layer that was made for `key`, if its bytes are still there."""
        data = self._read(self.folder / "layers" / f"{key}.json")
        try:
            layer = Layer(data["digest"], data["size"], data["diff_id"]) if data else None
        except KeyError:
            return None
        return layer if layer and self.has(layer.digest, layer.size) else None

    def adopt(self, layer: Layer, part: Path, key: str = "") -> None:
        """Take a finished layer file of a `room` into the cache, then what it was made for."""
        path = blob_path(self.folder, layer.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        if key:
            entry = {"digest": layer.digest, "size": layer.size, "diff_id": layer.diff_id}
            self._write(self.folder / "layers" / f"{key}.json", entry)

    def has(self, digest: str, size: int) -> bool:
        path = blob_path(self.folder, digest)
        try:
            return self._whole.used(path) and path.stat().st_size == size
        except OSError:
            return False

    def blob(self, digest: str) -> FileBlob:
        return FileBlob(blob_path(self.folder, digest))

    def find(self, key: str) -> Remembered | None:
        data = self._read(self.folder / "remembered" / f"{key}.json")
        if not data:
            return None
        try:
            layers = tuple(Descriptor.read(entry) for entry in data["layers"])
            remembered = Remembered(key, data["document"], layers)
        except Exception:  # whatever an older version left there counts as absent
            return None
        return remembered if all(self.has(layer.digest, layer.size) for layer in layers) else None

    def keep(self, remembered: Remembered) -> None:
        entry = {"document": remembered.document, "layers": [layer.json() for layer in remembered.layers]}
        self._write(self.folder / "remembered" / f"{remembered.key}.json", entry)

    def _read(self, path: Path) -> dict[str, Any]:
        if not self._whole.used(path):
            return {}
        try:
            data = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def _write(self, path: Path, data: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = scratch.below(self.folder).part(path.name)
        part.write_text(json.dumps(data, sort_keys=True))
        part.replace(path)
