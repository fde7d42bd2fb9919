"""Whether everything that a publication needs is there, found out by asking for it. Nothing is built or pushed."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uv

from publisher import scratch
from publisher.cluster.jobs import Work
from publisher.describe import by_dockerfile
from publisher.domain import BaseImage, Context, Environment, ModelVersion, Target
from publisher.errors import EngineError, HostError, PublisherError
from publisher.faults import as_ours
from publisher.naming import image_name
from publisher.stages import Stages

_log = logging.getLogger(__name__)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")  # of models that people log today
ENOUGH, LITTLE = 10 << 30, 1 << 30  # bytes free on a disk
_TOOLS = {"mmdebstrap": "`publisher base-image` alone needs it"}


_MODEL = ModelVersion("publisher-doctor", "1", "", datetime(2026, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `hint`: what to do, where it is not ok. `facts`: values of JSON."""

    topic: str
    subject: str
    state: Literal["ok", "warn", "fail"]
    text: str
    hint: str = ""
    exit_code: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)


def doctor(stages: Stages, targets: Sequence[Target], mlflow: str, cache_folder: Path) -> Iterator[Check]:
    """Each check as it ends. Raises nothing: what goes wrong is a check that failed."""

    def run(topic: str, subject: str, look: Callable[[], Check | str], *, warn: bool = False) -> Check:
        stages.progress.stage(topic, subject)
        try:
            found = look()
        except Exception as error:
            _log.debug("%s %s", topic, subject, exc_info=error)  # --debug shows it
            return _failed(topic, subject, as_ours(error), warn=warn)
        return found if isinstance(found, Check) else Check(topic, subject, "ok", found)

    yield run("MLflow", mlflow, stages.source.check)
    for target in targets:
        yield run("registry", target.name, partial(_registry, stages, target))
        if target.cache:
            yield run("cache repository", target.name, partial(_cache, stages, target), warn=True)
        yield run("base image", target.name, partial(_base, stages, target))
        if stages.fan:
            yield run("Kubernetes", target.name, partial(_jobs, stages, target))
    yield run("package index", "uv", lambda: _index(stages, targets))
    for title, folder in (("cache_folder", cache_folder), ("work_folder", _work_folder(stages))):
        yield run("disk", title, partial(_disk, folder, title))
    for name in stages.builders:
        yield run("engine", name, partial(_engine, stages, name, targets))
    for name, need in _TOOLS.items():
        yield Check("engine", name, "ok", "is there" if shutil.which(name) else f"is not there: {need}")


def _engine(stages: Stages, name: str, targets: Sequence[Target]) -> Check:
    builder = stages.builders[name]
    if not builder.by_dockerfile:
        return Check("engine", name, "ok", "is built in")
    context = Context(Path(), own=False, digest="")
    missing = {
        target.name: why_not
        for target in targets
        if (why_not := builder.check(by_dockerfile(_MODEL, target, context)))
    }
    if not missing:
        return Check("engine", name, "ok", "is there for the platforms of all targets")
    asked = [target.name for target in targets if target.builder == name and target.name in missing]
    reason = missing[asked[0]] if asked else next(iter(missing.values()))
    if asked:
        text = f"cannot build for {', '.join(asked)}: {reason}"
        return Check(
            "engine", name, "fail", text, "docs/engines.md tells how it is had", EngineError.exit_code
        )
    return Check(
        "engine", name, "ok", f"is not there; only versions with a Dockerfile of their own need it: {reason}"
    )


def _failed(topic: str, subject: str, fault: PublisherError, *, warn: bool) -> Check:
    facts = {"error": type(fault).__name__, "detail": fault.detail}
    if warn:
        return Check(topic, subject, "warn", str(fault), fault.hint, facts=facts)
    return Check(topic, subject, "fail", str(fault), fault.hint, fault.exit_code, facts)


def _registry(stages: Stages, target: Target) -> str:
    stages.destination(target).check(_image(target))
    return f"we may push to {target.registry}"


def _jobs(stages: Stages, target: Target) -> str:
    if stages.fan is None or target.layout_folder is not None:
        return "no Job is needed: images for a folder are built here"
    return stages.fan().check(target, Work(_MODEL, target, target.platforms[0]))


def _cache(stages: Stages, target: Target) -> str:
    name = target.cache.format(registry=target.registry)
    if target.layout_folder is not None:
        return "none is needed for a layout on disk"
    stages.destination(target).check(f"{name}:doctor")
    return f"we may push to {name}"


def _image(target: Target) -> str:
    """The name of an image that a model of ours would have."""
    return image_name(target, _MODEL)


def _base(stages: Stages, target: Target) -> Check:
    chosen = target.python or ""
    named = not isinstance(target.base, str)  # then each one that is named has to be there
    minors = [chosen] if chosen else sorted(target.base) if named else list(PYTHONS)
    names = {minor: name for minor in minors if (name := target.base_for(minor))}
    if not chosen and not named and len(set(names.values())) == 1:
        names = {"": next(iter(names.values()))}
    there, faults = [], []
    for minor, name in names.items():
        try:
            _, python = stages.bases.peek(name, target.platforms, [stages.memory])
            there.append(python or minor or "Python of a version that is known when it is unpacked")
        except Exception as error:
            faults.append(as_ours(error))
    facts = {"bases": names, "python": there}
    if faults and (named or not there):
        return replace(_failed("base image", target.name, faults[0], warn=False), facts=facts)
    platforms = ", ".join(map(str, target.platforms))
    text = f"{target.base if isinstance(target.base, str) else 'each'} is there for {platforms}, with {', '.join(there)}"
    return Check("base image", target.name, "ok", text, facts=facts)


def _index(stages: Stages, targets: Sequence[Target]) -> str:
    uv.find_uv_bin()
    # By the way of every lock, so that its settings, proxies and credentials are those of a publication.
    resolver = replace(stages.resolver, environ={**stages.resolver.environ, "UV_NO_CACHE": "1"})
    base = BaseImage("", "", "3.11.0", "", (2, 28))
    lock = resolver.lock(Environment(("pip",)), targets[0].platforms[0], base, registered=None)
    wheel = lock.wheels[0]
    return f"uv is there, and the index gives {wheel.filename}"


def _work_folder(stages: Stages) -> Path:
    return stages.work_folder or Path(tempfile.gettempdir())


def _disk(folder: Path, setting: str) -> Check:
    try:
        own = scratch.below(folder).folder
        (own / "doctor").write_bytes(b"written")
        free = shutil.disk_usage(own).free
    except OSError as error:
        raise HostError(f"{folder}: {error.strerror}", hint=f"choose another {setting}") from error
    text, facts = f"{folder} has {free / 1e9:.1f} GB free", {"folder": str(folder), "free": free}
    hint = f"free some space, choose another {setting}, or trim the cache: `publisher cache --limit 20GB`"
    if free < LITTLE:
        return Check("disk", setting, "fail", text, hint, HostError.exit_code, facts)
    return Check(
        "disk", setting, "warn" if free < ENOUGH else "ok", text, hint if free < ENOUGH else "", facts=facts
    )
