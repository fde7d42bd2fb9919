"""What a base image is: its digest, pinned once a run, and what its Python and C library are."""

from __future__ import annotations

import json
import platform as host
import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher import scratch
from publisher.builders.base import Memory, Remembered
from publisher.cache_folder import COMPLETE, CacheFolder
from publisher.domain import BaseImage, Platform
from publisher.errors import BuildError
from publisher.oci import rootfs
from publisher.oci.images import Images, missing, select
from publisher.oci.layout import Descriptor, Layout
from publisher.paths import is_relative

LABEL = "io.github.model-publisher.python"
_ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def host_platform() -> Platform:
    """The Linux platform of this machine's processor."""
    machine = host.machine()
    return Platform("linux", _ARCHITECTURES.get(machine, machine.lower()))


@dataclass(slots=True)
class Bases:
    """Reads base images. What was found out about one is kept, here and in the memories."""

    images: Images
    cache_folder: Path
    keep: Callable[[Remembered], None] = lambda _: None  # on this machine
    found: list[Remembered] = field(default_factory=list)
    _known: dict[str, BaseImage] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unpacking: dict[str, Future[Path]] = field(default_factory=dict)
    _aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def resolve(self, name: str, wanted: Sequence[Platform], memory: Sequence[Memory]) -> BaseImage:
        """The base image `name`. Raises BuildError where it lacks a platform or a Python with glibc."""
        layout = self._load(name, wanted)
        with self._lock:  # whoever comes second would only unpack the same once more
            if name not in self._known:
                self._known[name] = self._describe(name, layout, wanted, memory)
            return self._known[name]

    def peek(self, name: str, wanted: Sequence[Platform], memory: Sequence[Memory]) -> tuple[str, str]:
        """The digest of the base image and its Python, "" where only unpacking it tells; unpacks nothing.

        Raises as `resolve` does.
        """
        layout = self._load(name, wanted)
        key, child = _key(layout), _child(layout, wanted)
        known = next((kept for place in memory if (kept := place.find(key))), None)
        facts = known.document if known else _told(layout, child.digest)
        return layout.top.digest, str(facts["python"])

    def pinned(self, name: str, wanted: Sequence[Platform]) -> BaseImage:
        """The base image by name and digest alone, whatever is in it. Raises BuildError where it lacks a platform."""
        return BaseImage(name, self._load(name, wanted).top.digest, "", "", (0, 0))

    def _load(self, name: str, wanted: Sequence[Platform]) -> Layout:
        layout = self.images.load(name)
        if lacking := missing(layout, wanted):
            raise BuildError(
                f"the base image {name} is not there for {', '.join(map(str, lacking))}",
                hint="Take a base image that is, or take the platform off the target.",
            )
        return layout

    def _describe(
        self, name: str, layout: Layout, wanted: Sequence[Platform], memory: Sequence[Memory]
    ) -> BaseImage:
        child, key = _child(layout, wanted), _key(layout)
        facts = _told(layout, child.digest)
        known = next((kept for place in memory if (kept := place.find(key))), None)
        if known is None:
            # Nobody has built on it before, so this build will need its Python: it is unpacked meanwhile.
            self._unpacking[child.digest] = self._aside.submit(self._unpack, layout, child.digest)
            if not all(facts.values()):
                facts = self._inspect(layout, child.digest)
            known = Remembered(key, facts)
            self.found.append(known)
            self.keep(known)
        facts = known.document
        match = re.fullmatch(r"(\d+)\.(\d+)", str(facts["glibc"]))
        # The facts come from the image's labels, or from whoever may write to the cache repository: what is
        # started on this machine must lie in the image's own folder.
        inside = is_relative(str(facts["executable"])[1:]) and str(facts["executable"]).startswith("/")
        if not re.fullmatch(r"3\.\d+(\.\d+)?", str(facts["python"])) or not match or not inside:
            raise BuildError(
                f"the base image {name} has no Python that its settings and files agree on: {facts}"
            )
        glibc = (int(match[1]), int(match[2]))
        return BaseImage(name, layout.top.digest, str(facts["python"]), str(facts["executable"]), glibc)

    def _inspect(self, layout: Layout, manifest: str) -> dict[str, str]:
        variables = _variables(layout, manifest)
        folder = self.unpacked(layout, manifest)
        executable = rootfs.find_python(folder, variables.get("PATH", "").split(":"))
        if executable is None:
            raise BuildError("the base image has no python3", hint="Take one such as python:3.11-slim.")
        glibc = rootfs.glibc_of(folder)
        if glibc is None:
            raise BuildError(
                "the base image has no glibc", hint="Take a base that is not Alpine's: wheels need it."
            )
        minor = executable.rpartition("/python")[2]
        version = variables.get("PYTHON_VERSION", "")
        full = version if re.fullmatch(rf"{re.escape(minor)}\.\d+", version) else f"{minor}.0"
        return {"python": full, "executable": executable, "glibc": f"{glibc[0]}.{glibc[1]}"}

    def unpacked(self, layout: Layout, manifest: str) -> Path:
        """The folder of the unpacked Python of a manifest, made once."""
        started = self._unpacking.get(manifest)
        return started.result() if started else self._unpack(layout, manifest)

    def _unpack(self, layout: Layout, manifest: str) -> Path:
        folder = self.cache_folder / "rootfs" / manifest.partition(":")[2]
        cache = CacheFolder(self.cache_folder)
        if not cache.used(folder / COMPLETE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=scratch.below(self.cache_folder).folder) as name:
                new = Path(name) / "root"
                rootfs.unpack((layout.blobs[layer.digest].open() for layer in layout.layers(manifest)), new)
                (new / COMPLETE).write_text(json.dumps({"manifest": manifest}))
                cache.adopt(new, folder)
        return folder


def _child(layout: Layout, wanted: Sequence[Platform]) -> Descriptor:
    """The manifest that stands for all: this host's, whose Python can be run here, else the first."""
    child = select(layout, host_platform()) or select(layout, wanted[0])
    if child is None:
        raise BuildError(f"the base image has no manifest for {wanted[0]}")
    return child


def _key(layout: Layout) -> str:
    return f"base-{layout.top.digest.partition(':')[2]}"


def _variables(layout: Layout, manifest: str) -> dict[str, str]:
    settings = layout.config(manifest).get("config") or {}
    return dict(entry.partition("=")[::2] for entry in settings.get("Env") or [])


def _told(layout: Layout, manifest: str) -> Mapping[str, Any]:
    """What the image says of itself; "" for what it does not tell."""
    labels = (layout.config(manifest).get("config") or {}).get("Labels") or {}
    return {
        "python": _variables(layout, manifest).get("PYTHON_VERSION", ""),
        "executable": labels.get(f"{LABEL}.executable", ""),
        "glibc": labels.get(f"{LABEL}.glibc", ""),
    }
