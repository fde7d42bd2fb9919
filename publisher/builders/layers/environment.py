"""The layers of the environments that no cache knows: download, convert, compile, all side by side."""

from __future__ import annotations

import threading
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
    room: Path  # for layers until the cache adopts them
    report: Report
    ready: Ready
    prepare: download.Prepare = lambda _: None  # what every session to a package index gets
    slim: bool = False  # whether layers lack what serving never needs
    surveys: dict[str, Survey] = field(default_factory=dict)
    downloaded: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def make(
        self, locks: Mapping[Platform, Lock], interpreter: Future[Interpreter | None] | None
    ) -> dict[Platform, list[Titled]]:
        """The layers of every lock, bottom first. Without an interpreter there is no bytecode."""
        wanted = {self._key(group): group for lock in locks.values() for group in plan.groups(lock)}
        layers = {key: layer for key in wanted if (layer := self.cache.layer(key))}
        wheels = {wheel.sha256: wheel for lock in locks.values() for wheel in lock.wheels}
        if interpreter is None:
            open_groups = [group for key, group in wanted.items() if key not in layers]
            wheels = {wheel.sha256: wheel for group in open_groups for wheel in group.wheels}
        begin = time.monotonic()
        # `aside` ends last: it waits for downloads, which a failure cancels as their pool ends.
        with _Pool(1) as aside, _Pool(download.PARALLEL) as downloads, _Pool(self.workers.number) as converts:
            leading = next(iter(locks.values())).wheels
            arrivals = self._download(
                downloads, list(wheels.values()), leading, survey=interpreter is not None
            )
            compiled: Future[dict[Platform, list[Titled]]] | None = None
            first = {wheel.sha256 for wheel in leading}
            waiting = _Waiting({key: group for key, group in wanted.items() if key not in layers})
            running: dict[str, Future[Layer]] = {}
            for arrival in as_completed(arrivals):
                arrival.result()
                for key, group in waiting.without(arrivals[arrival]):
                    running[key] = converts.submit(self._convert, group)
                first.discard(arrivals[arrival])
                if interpreter and not first and compiled is None:
                    # One platform's sources are there, which are nearly all of the others' too.
                    compiled = aside.submit(self._compile, locks, interpreter, arrivals)
            self.seconds["download"] = time.monotonic() - begin
            for key, job in running.items():
                layers[key] = job.result()
            self.seconds["convert"] = time.monotonic() - begin
            bytecode_layers = compiled.result() if compiled else {}
        found: dict[Platform, list[Titled]] = {}
        for platform, lock in locks.items():
            found[platform] = [(group.title, layers[self._key(group)]) for group in plan.groups(lock)]
            found[platform] += bytecode_layers.get(platform, [])
        return found

    def _download(
        self, pool: ThreadPoolExecutor, wheels: Sequence[Wheel], first: Sequence[Wheel], *, survey: bool
    ) -> dict[Future[Path], str]:
        http = download.session(self.prepare)
        missing = [wheel for wheel in wheels if not self.cache.wheel(wheel.sha256).is_file()]
        self.report.expect("download", sum(wheel.size for wheel in missing))
        # The first platform's first, so that its sources can be compiled meanwhile; of those the largest first.
        early = {wheel.sha256 for wheel in first}
        ordered = sorted(wheels, key=lambda wheel: (wheel.sha256 not in early, -wheel.size))
        return {pool.submit(self._fetch, http, wheel, survey): wheel.sha256 for wheel in ordered}

    def _fetch(self, http: requests.Session, wheel: Wheel, survey: bool) -> Path:
        path = self.cache.wheel(wheel.sha256)
        self.report.check()
        with self.cache.turn(wheel.sha256, self.report.check):
            size = download.download(http, wheel, path, lambda count: self.report.advance("download", count))
        with self._adding:
            self.downloaded += size
        if survey:
            self.surveys[wheel.sha256] = bytecode.survey(path, self.python)
        return path

    def _key(self, group: plan.Group) -> str:
        return group.key(self.python, slim=self.slim)

    def _convert(self, group: plan.Group) -> Layer:
        key = self._key(group)
        part = self.room / f"layer-{key}"
        with self.cache.turn(key, self.report.check):
            layer = self.cache.layer(key)  # another publication may have made it meanwhile
            if layer is None:
                wheels = [self.cache.wheel(wheel.sha256) for wheel in group.wheels]
                layer = self.workers.make_wheels(wheels, self.python, part, slim=self.slim)
                self.cache.adopt(layer, part, key)
        self.ready(layer.digest, layer.size, self.cache.blob(layer.digest))
        return layer

    def _compile(
        self,
        locks: Mapping[Platform, Lock],
        interpreter: Future[Interpreter | None],
        arrivals: Mapping[Future[Path], str],
    ) -> dict[Platform, list[Titled]]:
        begin, python = time.monotonic(), interpreter.result()
        if python is None:
            return {}
        distinct = {wheel.sha256: wheel for lock in locks.values() for wheel in lock.wheels}
        archives = [(wheel, self.cache.wheel(sha)) for sha, wheel in sorted(distinct.items())]
        numbers = {wheel.sha256: number for number, (wheel, _) in enumerate(archives)}
        here = {sha: arrival for arrival, sha in arrivals.items()}
        compilation = bytecode.Compilation(python, archives, self.python, self.folder, self.workers.number)
        packing: dict[tuple[bytecode.Piece, ...], Future[Layer]] = {}
        made: dict[Platform, list[tuple[bool, Future[Layer]]]] = {}
        with _Pool(2) as pool:
            for platform, lock in locks.items():
                for wheel in lock.wheels:
                    here[wheel.sha256].result()
                surveys = [(w.name, numbers[w.sha256], self.surveys[w.sha256]) for w in lock.wheels]
                found = compilation.pieces(bytecode.merge(surveys), lock.roots)
                for pure, pieces in found.items():
                    if pieces and pieces not in packing:
                        part = self.room / f"bytecode-layer-{len(packing)}"
                        packing[pieces] = pool.submit(self._pack, pieces, part)
                    if pieces:
                        made.setdefault(platform, []).append((pure, packing[pieces]))
        titles = {True: f"{BYTECODE} of pure packages", False: f"{BYTECODE} of native packages"}
        self.seconds["bytecode"] = time.monotonic() - begin
        return {p: [(titles[pure], job.result()) for pure, job in jobs] for p, jobs in made.items()}

    def _pack(self, pieces: Sequence[bytecode.Piece], part: Path) -> Layer:
        layer = self.workers.make_pieces(pieces, part)
        self.cache.adopt(layer, part)
        self.ready(layer.digest, layer.size, self.cache.blob(layer.digest))
        return layer


class _Waiting:
    """Groups, and which of their wheels are still missing."""

    def __init__(self, groups: Mapping[str, plan.Group]) -> None:
        self._groups = dict(groups)
        self._missing = {key: {wheel.sha256 for wheel in group.wheels} for key, group in groups.items()}

    def without(self, sha256: str) -> list[tuple[str, plan.Group]]:
        """The groups that are complete now that this wheel is there; each is told once."""
        complete = []
        for key in list(self._missing):
            self._missing[key].discard(sha256)
            if not self._missing[key]:
                del self._missing[key]
                complete.append((key, self._groups[key]))
        return complete
