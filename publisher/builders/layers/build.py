"""The embedded builder: no daemon, no root, no emulation, nothing unpacked."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from publisher.admission import Admission
from publisher.builders.base import Build, Memory, Ready, Remembered
from publisher.builders.bases import Bases, host_platform
from publisher.builders.layers import files, plan, skeleton
from publisher.builders.layers.bytecode import Interpreter
from publisher.builders.layers.cache import Cache
from publisher.builders.layers.compose import Content, compose
from publisher.builders.layers.download import Prepare
from publisher.builders.layers.environment import BYTECODE, Maker, Titled
from publisher.builders.layers.worker import Workers
from publisher.domain import MACHINES, ImageSpec, Lock, Platform
from publisher.errors import BuildError
from publisher.faults import OF_THE_MOMENT
from publisher.oci.images import Images, select
from publisher.oci.layer import Layer, write_layer
from publisher.oci.layout import Blob, FileBlob
from publisher.progress import Report

_WORKER = 48 << 20  # bytes of a process that converts wheels ...
_PIECES = 96 << 20  # ... and what it has of a file at most: see `PIECE` and its kin in oci/layer.py
_INFLATED = 4  # how many times its wheel's size a file is at most, roughly
_COMPILER = 64 << 20  # bytes of a process that compiles modules


@dataclass(slots=True)
class LayerBuilder:
    """Wheels become layers; the base image stays where it is."""

    images: Images
    bases: Bases
    cache: Cache
    name: str = "layers"
    by_dockerfile: bool = False
    prepare: Prepare = lambda _: None  # gives a session accounts and certificates of the package indexes
    admission: Admission = field(default_factory=Admission)

    def check(self, spec: ImageSpec) -> str:
        if spec.context:
            return "the image is made by a Dockerfile, and it runs none"
        if spec.conda:
            return "conda makes the environment while a Dockerfile runs, and it runs none"
        foreign = [str(p) for p in spec.platforms if p.os != "linux" or p.architecture not in MACHINES]
        return f"it has no wheels for {', '.join(foreign)}" if foreign else ""

    def build(
        self, spec: ImageSpec, folder: Path, memory: Sequence[Memory], report: Report, ready: Ready
    ) -> Build:
        """See builders/base.py."""
        environments, blobs, maker = self._environments(spec, folder, memory, report, ready)
        begin = time.monotonic()
        first = self._skeleton(spec)
        own: list[Titled] = []
        for number, fileset in enumerate(spec.files):
            path = folder / f"files-{number}"
            layer = write_layer(path, lambda writer, some=fileset: files.write(writer, some, report))  # type: ignore[misc]
            own.append((fileset.name, layer))
            blobs[layer.digest] = FileBlob(path)
        blobs[first.digest] = self.cache.blob(first.digest)
        content = {
            platform: Content((("virtual environment", first), *environments[platform], *own))
            for platform in spec.platforms
        }
        layout = compose(spec, self.images.load(spec.base.name), content, blobs)
        seconds = {**maker.seconds, "files": time.monotonic() - begin}
        return Build(layout, self._remembered(spec, environments), maker.downloaded, seconds)

    def _environments(
        self, spec: ImageSpec, folder: Path, memory: Sequence[Memory], report: Report, ready: Ready
    ) -> tuple[dict[Platform, list[Titled]], dict[str, Blob], Maker]:
        """The environment layers of each platform: those that a memory has, and the others made now."""
        keys = {platform: _key(spec, platform) for platform in spec.platforms}
        found, blobs = _known(keys, memory)
        lacking = {platform: key for platform, key in keys.items() if platform not in found}
        with ExitStack() as turns:
            # In one order, so that two builds never wait for each other.
            for key in sorted(lacking.values()):
                turns.enter_context(self.cache.turn(key, report.check))
            # Whoever had the turn before has made what we lack, or has failed.
            since, more = _known(lacking, [self.cache])
            found |= since
            blobs |= more
            maker = self._make(spec, folder, report, ready, found=found, blobs=blobs)
        return found, blobs, maker

    def _make(
        self,
        spec: ImageSpec,
        folder: Path,
        report: Report,
        ready: Ready,
        *,
        found: dict[Platform, list[Titled]],
        blobs: dict[str, Blob],
    ) -> Maker:
        """Make the environments that are not in `found`, and add them to it and their layers to `blobs`."""
        missing = {platform: spec.locks[platform] for platform in spec.platforms if platform not in found}
        with Workers() as workers, self.cache.room() as room:
            maker = Maker(
                self.cache,
                spec.base.python_minor,
                workers,
                folder,
                room,
                report,
                ready,
                self.prepare,
                spec.slim,
            )
            if missing:
                need = memory_of(missing, workers.number)
                with self.admission.held(need, report.check), ThreadPoolExecutor(1) as aside:
                    # The base image's Python is unpacked while wheels are on their way.
                    python = aside.submit(self._interpreter, spec, report) if spec.bytecode else None
                    made = maker.make(missing, python)
                found.update(made)
                for kept in self._remembered(spec, made):
                    self.cache.keep(kept)
                for titled in made.values():
                    blobs.update({layer.digest: self.cache.blob(layer.digest) for _, layer in titled})
        return maker

    def _skeleton(self, spec: ImageSpec) -> Layer:
        key = plan.key_of("skeleton", spec.base.python, spec.base.executable, spec.workdir)
        layer = self.cache.layer(key)
        if layer is None:
            with self.cache.room() as room:
                part = room / "skeleton"
                layer = write_layer(part, lambda writer: skeleton.write(writer, spec.base, spec.workdir))
                self.cache.adopt(layer, part, key)
        return layer

    def _interpreter(self, spec: ImageSpec, report: Report) -> Interpreter | None:
        """The image's own Python on this host's architecture, if the base image has that."""
        layout = self.images.load(spec.base.name)
        child = select(layout, host_platform())
        try:
            if child is None:
                raise BuildError(f"the base image is not there for {host_platform()}")
            interpreter = Interpreter(self.bases.unpacked(layout, child.digest), spec.base.executable)
            interpreter.run("", {}, self.bases.cache_folder)
        except (BuildError, OSError) as error:
            if isinstance(error, OSError) and error.errno in OF_THE_MOMENT:
                raise  # the next try would find it otherwise, and come to another image
            report.note(f"no bytecode in the image, so its containers start slower: {error}")
            return None
        return interpreter

    def _remembered(
        self, spec: ImageSpec, environments: Mapping[Platform, Sequence[Titled]]
    ) -> tuple[Remembered, ...]:
        # An environment that lacks its bytecode because of this host is not what others should find.
        return tuple(
            self._remember(spec, platform, titled)
            for platform, titled in environments.items()
            if not spec.bytecode or any(title.startswith(BYTECODE) for title, _ in titled)
        )

    def _remember(self, spec: ImageSpec, platform: Platform, titled: Sequence[Titled]) -> Remembered:
        key = _key(spec, platform)
        layers = [{"title": title, "diff_id": layer.diff_id} for title, layer in titled]
        return Remembered(key, {"layers": layers}, tuple(layer.descriptor() for _, layer in titled))


def _key(spec: ImageSpec, platform: Platform) -> str:
    return plan.environment_key(spec.locks[platform], spec.base, bytecode=spec.bytecode, slim=spec.slim)


def memory_of(locks: Mapping[Platform, Lock], workers: int) -> int:
    """Bytes that making the layers of `locks` may need at most, beside this process itself.

    Wheels are mapped and inflated in pieces, so that only their largest files count, and those up to a bound.
    """
    largest = max((wheel.size for lock in locks.values() for wheel in lock.wheels), default=0)
    return workers * (_WORKER + min(_PIECES, _INFLATED * largest)) + workers * _COMPILER


def _known(
    keys: Mapping[Platform, str], memory: Sequence[Memory]
) -> tuple[dict[Platform, list[Titled]], dict[str, Blob]]:
    """The environments that a memory has, and where their layers are."""
    found: dict[Platform, list[Titled]] = {}
    blobs: dict[str, Blob] = {}
    for platform, key in keys.items():
        for place in memory:
            kept = place.find(key)
            titled = _titled(kept) if kept else None
            if titled:
                found[platform] = titled
                blobs.update({layer.digest: place.blob(layer.digest) for _, layer in titled})
                break
    return found, blobs


def _titled(kept: Remembered) -> list[Titled] | None:
    """The layers of a remembered environment; None where the document is not of this form."""
    entries = kept.document.get("layers")
    if not isinstance(entries, list) or len(entries) != len(kept.layers):
        return None
    try:
        return [
            (str(entry["title"]), Layer(layer.digest, layer.size, str(entry["diff_id"])))
            for entry, layer in zip(entries, kept.layers, strict=True)
        ]
    except (KeyError, TypeError):
        return None
