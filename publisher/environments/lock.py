"""An Environment becomes the wheels of one platform: those of its own lock, and what uv resolves beside it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from publisher import scratch, turns
from publisher.cache_folder import CacheFolder
from publisher.domain import BaseImage, Environment, Lock, Platform, Target, Wheel
from publisher.environments import selected, tags
from publisher.environments.direct import LOCAL
from publisher.environments.index import Index, bare
from publisher.environments.sdists import Sdists, UnbuildableError
from publisher.environments.solve import Question, Refusal, solve
from publisher.environments.uv_settings import FRESH
from publisher.errors import RequirementsError, ResolutionError

_RECIPE = 2  # raised when the same question gets another answer
_SKEW = 3600  # seconds by which clocks, and copies of an index, may be behind
_UNTIMED_ROUNDS = 3  # then an index tells no times at all, and each round would find a few packages more


def moment(registered: datetime) -> datetime:
    """As of when a version is resolved: the end of the UTC day before its registration.

    A whole day, so that versions registered on one day with the same requirements have the same lock.
    """
    return datetime(registered.year, registered.month, registered.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Locks environments for one target; `at` makes the one of a target. `environ` has the indexes' settings."""

    cache_folder: Path
    environ: Mapping[str, str]
    index: Index
    constraints: tuple[str, ...] = ()
    sdist: str = "isolated"

    @classmethod
    def load(cls, cache_folder: Path, environ: Mapping[str, str]) -> Resolver:
        """The one of a target that says nothing of its own."""
        return cls(cache_folder, environ, Index.load(environ))

    def at(self, target: Target) -> Resolver:
        """The same with the target's own indexes, constraints and rule for sdists."""
        index = Index.load(self.environ, target.index)
        return replace(self, index=index, constraints=target.constraints, sdist=target.sdist)

    def lock(
        self, environment: Environment, platform: Platform, base: BaseImage, *, registered: datetime | None
    ) -> Lock:
        """The wheels of `environment` on `platform`, for Python and C library of `base`.

        `registered`: resolve as of then, where the index tells upload times; None takes the latest. A
        requirement that was uploaded on the very day of registration is found by a second try, as of the
        moment of registration itself. Raises ResolutionError with uv's own explanation, RequirementsError where
        the model's own lock does not fit, before anything is downloaded, EngineError, and IndexUnavailableError.
        """
        tags.machine_of(platform)
        for url in environment.indexes:
            if not self.index.knows(url):
                raise RequirementsError(
                    f"{environment.origin} names the package index {bare(url)}, which publisher does not use",
                    hint="Add it to the target's `index`, or to UV_INDEX, where publisher runs.",
                )
        if registered is None:
            return self._lock(environment, platform, base, None)
        try:
            return self._lock(environment, platform, base, moment(registered))
        except UnbuildableError:
            raise
        except ResolutionError:
            return self._lock(environment, platform, base, registered + timedelta(seconds=1))

    def _lock(
        self, environment: Environment, platform: Platform, base: BaseImage, as_of: datetime | None
    ) -> Lock:
        sdists = Sdists(self.cache_folder, self.index, self.environ, self.sdist, as_of)
        task = _Task(environment, platform, base, as_of, sdists)
        markers = selected.markers(platform, base)
        lines = [line for line in environment.requirements if _applies(line, markers)]
        wheels: dict[str, Wheel] = {}
        if environment.lock:
            for each in selected.wheels(environment.lock, platform, base, self.index, sdists):
                wheels[each.name] = each
        missing = [line for line in lines if _name(line) not in wheels]
        if missing:
            pins = tuple(f"{wheel.name}=={wheel.version}" for wheel in wheels.values())
            for each in self._resolve(task, missing, pins):
                wheels.setdefault(each.name, each)
        for name, digests in environment.hashes.items():
            if name in wheels and wheels[name].sha256 not in digests:
                raise ResolutionError(
                    f"{wheels[name].filename}, which fits {platform}, has none of the hashes that "
                    f"{environment.origin} pins",
                    hint="Pin the hashes of the wheels of all platforms.",
                )
        roots = tuple(sorted(set(map(_name, lines))))
        return Lock(platform, base.python_minor, tuple(sorted(wheels.values())), roots, tuple(sdists.notes))

    def _resolve(self, task: _Task, lines: Sequence[str], pins: tuple[str, ...]) -> Iterator[Wheel]:
        """What uv finds for `lines` beside the locked `pins`."""
        environment, base, platform = task.environment, task.base, task.platform
        machine, level = tags.machine_of(platform), tags.level_of(base)
        question = Question(
            requirements=tuple(lines),
            constraints=(*environment.constraints, *self.constraints, *pins),
            options=("--python-version", base.python, "--python-platform", f"{machine}-manylinux_2_{level}"),
            files={path: _present(path, place) for path, place in environment.files.items()},
        )
        for package in self._cached(task, question).get("packages", []):
            entries = [package["archive"]] if "archive" in package else package.get("wheels", [])
            chosen = tags.best(entries, base.python_minor, platform, level)
            if chosen is None:
                raise ResolutionError(
                    f"{package['name']} {package.get('version', '')} has no wheel for {platform}",
                    hint="Take a version that has one; see the files of the package in its index.",
                )
            place = str(chosen.get("url") or "")
            if path := str(chosen.get("path") or "").partition(f"{LOCAL}/")[2]:
                place = {**environment.files, **task.sdists.built()}[path].absolute().as_uri()
            yield selected.wheel(package, chosen, place)

    def _cached(self, task: _Task, question: Question) -> dict[str, Any]:
        """uv's answer, kept on disk where the question fixes it: an index does not change its past."""
        asked = [
            [question.requirements, question.constraints, question.options],
            task.as_of and task.as_of.isoformat(),
            [[path, _digest(place)] for path, place in sorted(question.files.items())],
            [self.index.key(), self.sdist, _RECIPE],
        ]
        key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        path = self.cache_folder / "locks" / f"pylock.{key}.toml"
        with turns.held(self.cache_folder, path.name):  # versions side by side often ask the same
            if task.as_of and CacheFolder(self.cache_folder).used(path):
                document = tomllib.loads(path.read_text())
                if task.sdists.restore(document):
                    return document
            text, frozen = self._answer(task, question)
            if task.as_of and frozen:
                path.parent.mkdir(parents=True, exist_ok=True)
                part = scratch.below(self.cache_folder).part(path.name)
                part.write_text(text)
                part.replace(path)
        return tomllib.loads(text)

    def _answer(self, task: _Task, question: Question) -> tuple[str, bool]:
        """(uv's answer, whether it will be the same tomorrow), with what uv refuses and we can supply."""
        fresh = is_past(task.as_of)
        untimed: set[str] = set()
        supplied: set[str] = set()
        rounds = 0
        while True:
            timed = task.as_of is not None and rounds <= _UNTIMED_ROUNDS
            configuration, variables = self.index.for_run(fresh=fresh)
            asked = replace(
                question,
                constraints=(*question.constraints, *task.sdists.constraints()),
                options=(
                    *question.options,
                    *(() if fresh else ("--refresh",)),
                    *(_time(task.as_of, untimed) if task.as_of and timed else ()),
                ),
                files={**question.files, **task.sdists.built()},
                configuration=configuration,
            )
            answer = solve(asked, variables, task.platform, scratch.below(self.cache_folder).folder)
            if not isinstance(answer, Refusal):
                return answer, not untimed
            if fresh and not self.index.tells_times:
                fresh = False  # what was uploaded a minute ago may be what is missing
                continue
            if timed and set(answer.untimed) - untimed:
                untimed.update(answer.untimed)
                rounds += 1
                continue
            lacking = [name for name in answer.without_wheels if name not in supplied]
            if not lacking:
                raise answer.error(task.platform)
            for name in lacking:
                supplied.add(name)
                task.sdists.supply(name, _specifier(name, question, answer), task.platform)


@dataclass(frozen=True, slots=True)
class _Task:
    """One platform of one environment, as of one moment."""

    environment: Environment
    platform: Platform
    base: BaseImage
    as_of: datetime | None
    sdists: Sdists


def is_past(as_of: datetime | None) -> bool:
    """Whether a page of the index that uv still takes for fresh must be younger than `as_of`.

    Then nothing that was uploaded before is missing on it.
    """
    return as_of is not None and (datetime.now(UTC) - as_of).total_seconds() > FRESH + _SKEW


def _time(as_of: datetime, untimed: set[str]) -> tuple[str, ...]:
    """Options that show uv the index of then; what its index tells no time of is taken as it is now."""
    excepted = [word for name in sorted(untimed) for word in ("--exclude-newer-package", f"{name}=false")]
    return ("--exclude-newer", as_of.strftime("%Y-%m-%dT%H:%M:%SZ"), *excepted)


def _name(line: str) -> str:
    return canonicalize_name(Requirement(line).name)


def _specifier(name: str, question: Question, refusal: Refusal) -> str:
    """Which versions of a package may be built: what the model and the target ask, and what uv says others do."""
    asked = [Requirement(line) for line in (*question.requirements, *question.constraints)]
    own = [str(each.specifier) for each in asked if canonicalize_name(each.name) == canonicalize_name(name)]
    return ",".join(dict.fromkeys(each for each in (*own, refusal.wanted(name)) if each))


def _applies(line: str, markers: Mapping[str, str]) -> bool:
    marker: Marker | None = Requirement(line).marker
    return marker is None or marker.evaluate({**markers, "extra": ""})


def _present(path: str, place: Path) -> Path:
    if not place.is_file() or place.is_symlink():
        raise RequirementsError(
            f"the wheel {path} is required and is not in the model's folder",
            hint="Log it with the model, for instance by code_paths or extra_files.",
        )
    return place


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
