"""The layers of the environments that no cache knows: download, convert, compile, all side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import requests

from publisher.builders.base import Ready
from publisher.builders.layers import bytecode, download, plan
from publisher.builders.layers.bytecode import Interpreter, Survey
from publisher.builders.layers.cache import Cache
from publisher.builders.layers.worker import Workers
from publisher.domain import Lock, Platform, Wheel
from publisher.oci.layer import Layer
from publisher.progress import Report

BYTECODE = "bytecode"
Titled = tuple[str, Layer]  # what a layer holds, for people, and the layer


class _Pool(ThreadPoolExecutor):
    """Threads that do not begin what is left to do when something has failed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(wait=True, cancel_futures=kind is not None)


@dataclass(slots=True)
class Maker:
    """Makes the environment layers of some locks at once, for one Python."""

    cache: Cache
    python: str
    workers: Workers
    folder: Path  # for what is not kept
    report: Report
    ready: Ready
    surveys: dict[str, Survey] = field(default_factory=dict)
    downloaded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def make(
        self, locks: Mapping[Platform, Lock], interpreter: Future[Interpreter | None] | None
    ) -> dict[Platform, list[Titled]]:
        """The layers of every lock, bottom first. Without an interpreter there is no bytecode."""
        wanted = {group.key(self.python): group for lock in locks.values() for group in plan.groups(lock)}
        layers = {key: layer for key in wanted if (layer := self.cache.layer(key))}
        wheels = {wheel.sha256: wheel for lock in locks.values() for wheel in lock.wheels}
        if interpreter is None:
            open_groups = [group for key, group in wanted.items() if key not in layers]
            wheels = {wheel.sha256: wheel for group in open_groups for wheel in group.wheels}
        begin = time.monotonic()
        with _Pool(download.PARALLEL) as downloads, _Pool(self.workers.number) as converts:
            arrivals = self._download(downloads, list(wheels.values()), survey=interpreter is not None)
            running = self._convert_as_they_arrive(
                converts, arrivals, {key: group for key, group in wanted.items() if key not in layers}
            )
            self.seconds["download"] = time.monotonic() - begin
            python = interpreter.result() if interpreter else None
            compiled = self._compile(locks, python) if python else {}
            for key, job in running.items():
                layers[key] = job.result()
        self.seconds["download and convert"] = time.monotonic() - begin - self.seconds.get("bytecode", 0)
        found: dict[Platform, list[Titled]] = {}
        for platform, lock in locks.items():
            found[platform] = [(group.title, layers[group.key(self.python)]) for group in plan.groups(lock)]
            found[platform] += [(BYTECODE, compiled[platform])] if platform in compiled else []
        return found

    def _download(
        self, pool: ThreadPoolExecutor, wheels: Sequence[Wheel], *, survey: bool
    ) -> dict[Future[Path], str]:
        http = download.session()
        missing = [wheel for wheel in wheels if not self.cache.wheel(wheel.sha256).is_file()]
        self.report.expect("download", sum(wheel.size for wheel in missing))
        # The largest first: they take longest to convert too.
        ordered = sorted(wheels, key=lambda wheel: -wheel.size)
        return {pool.submit(self._fetch, http, wheel, survey): wheel.sha256 for wheel in ordered}

    def _convert_as_they_arrive(
        self, pool: ThreadPoolExecutor, arrivals: Mapping[Future[Path], str], groups: Mapping[str, plan.Group]
    ) -> dict[str, Future[Layer]]:
        """Start each group when its last wheel is there; returns when all wheels are."""
        lacking = {key: {wheel.sha256 for wheel in group.wheels} for key, group in groups.items()}
        running: dict[str, Future[Layer]] = {}
        for arrival in as_completed(arrivals):
            arrival.result()
            for key, hashes in lacking.items():
                hashes.discard(arrivals[arrival])
                if not hashes and key not in running:
                    running[key] = pool.submit(self._convert, groups[key])
        return running

    def _fetch(self, http: requests.Session, wheel: Wheel, survey: bool) -> Path:
        path = self.cache.wheel(wheel.sha256)
        size = download.download(http, wheel, path, lambda count: self.report.advance("download", count))
        self.downloaded += size
        if survey:
            self.surveys[wheel.sha256] = bytecode.survey(path, self.python)
        return path

    def _convert(self, group: plan.Group) -> Layer:
        key = group.key(self.python)
        part = self.folder / f"layer-{key}"
        layer = self.workers.make_wheels(
            [self.cache.wheel(w.sha256) for w in group.wheels], self.python, part
        )
        self.cache.adopt(layer, part, key)
        self.ready(layer.digest, layer.size, self.cache.blob(layer.digest))
        return layer

    def _compile(self, locks: Mapping[Platform, Lock], interpreter: Interpreter) -> dict[Platform, Layer]:
        begin = time.monotonic()
        distinct = {wheel.sha256: wheel for lock in locks.values() for wheel in lock.wheels}
        archives = [(wheel, self.cache.wheel(sha)) for sha, wheel in sorted(distinct.items())]
        numbers = {wheel.sha256: number for number, (wheel, _) in enumerate(archives)}
        surveyed = {
            platform: bytecode.merge(
                [(w.name, numbers[w.sha256], self.surveys[w.sha256]) for w in lock.wheels]
            )
            for platform, lock in locks.items()
        }
        roots = {platform: lock.roots for platform, lock in locks.items()}
        compiled = bytecode.Compilation(archives, surveyed, roots).run(
            interpreter, self.folder, self.workers.number
        )
        made: dict[tuple[tuple[str, str, int, int], ...], Layer] = {}
        found: dict[Platform, Layer] = {}
        for number, (platform, modules) in enumerate(surveyed.items()):
            pieces = tuple(compiled.pieces(platform, modules, self.python))
            if pieces not in made:
                part = self.folder / f"bytecode-layer-{number}"
                made[pieces] = self.workers.make_pieces(pieces, part)
                self.cache.adopt(made[pieces], part)
                self.ready(made[pieces].digest, made[pieces].size, self.cache.blob(made[pieces].digest))
            found[platform] = made[pieces]
        self.seconds["bytecode"] = time.monotonic() - begin
        return found
