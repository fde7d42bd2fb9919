"""The embedded builder beside the three engines that run our Dockerfile: one model, one base image, one registry.

Each engine begins with nothing: an empty BuildKit, an empty storage, kaniko, which never keeps anything. Then comes
the next version on the same machine, and one more on a machine that has only what the registry keeps.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.world import PLATFORMS, Workplace, World
from tests.engines import bare_client, buildah, buildkit, kaniko
from tests.engines.programs import program

OURS = "layers"
WAYS = (OURS, "buildx", "kaniko", "buildah")
_HEADER = ("builder", "cold", "next version", "next, empty disk", "image", "cold, the other architecture")
_OWN = "linux/arm64" if platform.machine() in ("aarch64", "arm64") else "linux/amd64"
_OTHER = next(name for name in PLATFORMS if name != _OWN)


@dataclass(frozen=True, slots=True)
class Engine:
    """A builder on a machine of its own: what its settings and its environment say."""

    lines: Sequence[str] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def measure(world: World, *, runs: int, emulated: bool) -> dict[str, Any]:
    """Each way for this machine's own platform, `runs` times the next version; `emulated`: once for the other, too."""
    ways = {name: _measure(world, name, runs, emulated) for name in WAYS}
    return {
        "ways": ways,
        "ratios": {name: _ratios(ways[name], ways[OURS]) for name in WAYS},
        "platform": _OWN,
    }


def _measure(world: World, name: str, runs: int, emulated: bool) -> dict[str, Any]:
    with _engine(world, name) as engine:
        here = _workplace(world, name, engine, _OWN)
        cold = here.publish(world.registered[0])
        following = [here.publish(world.register()) for _ in range(runs)]
    kept = {"engine_cache": True}
    with _engine(world, name) as engine:
        _workplace(world, f"{name}-kept", engine, _OWN, **kept).publish(world.registered[0], wait=False)
    with _engine(world, name) as engine:
        pod = _workplace(world, f"{name}-kept", engine, _OWN, **kept).publish(world.register())
    other = None
    if emulated:
        with _engine(world, name) as engine:
            other = _workplace(world, f"{name}-other", engine, _OTHER).publish(world.registered[0])
    return {
        "cold": cold,
        "next": following,
        "pod": pod,
        "other": other,
        "cold_seconds": cold["seconds"],
        "next_seconds": statistics.median(run["seconds"] for run in following),
        "pod_seconds": pod["seconds"],
        "other_seconds": other and other["seconds"],
        "bytes": size(cold["image"], _OWN),
    }


def _workplace(world: World, name: str, engine: Engine, platform_: str, **keys: Any) -> Workplace:
    target = {"builder": name.partition("-")[0], "platforms": [platform_], "templates": "builtin", **keys}
    return world.workplace(f"engines-{name}", lines=engine.lines, keys=target, variables=engine.variables)


def size(image: str, platform_: str) -> int:
    """Bytes of a platform's layers, compressed, as the registry has them."""
    host, _, rest = image.partition("/")
    found = bare_client.of_reference(image)
    assert found is not None, f"nothing at {image}"
    if "layers" in found.document:  # buildx makes no index for one platform
        return sum(layer["size"] for layer in found.document["layers"])
    digest = found.platforms[platform_]
    found = bare_client.manifest(host, rest.rpartition(":")[0], digest)
    assert found is not None
    return sum(layer["size"] for layer in found.document["layers"])


def _ratios(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, float]:
    keys = [key for key in (*_SECONDS, "bytes") if theirs[key] is not None]
    return {key: round(theirs[key] / ours[key], 2) for key in keys}


_SECONDS = ("cold_seconds", "next_seconds", "pod_seconds", "other_seconds")


@contextmanager
def _engine(world: World, name: str) -> Iterator[Engine]:
    """The engine with nothing in it, until the block ends."""
    with _ENGINES[name](world) as engine:
        yield engine


@contextmanager
def _layers(_world: World) -> Iterator[Engine]:
    yield Engine()


@contextmanager
def _buildx(world: World) -> Iterator[Engine]:
    with buildkit.running(world.new_folder("buildkit"), plain=[world.registry.host]) as found:
        yield Engine(
            [f'buildx_builder = "{found.builder}"'], {**found.variables, "PATH": found.environment["PATH"]}
        )


@contextmanager
def _kaniko(world: World) -> Iterator[Engine]:
    with kaniko.image(program("kaniko-executor"), world.new_folder("kaniko")) as image:
        yield Engine(['kaniko = "docker"', f'kaniko_image = "{image}"'])


@contextmanager
def _buildah(world: World) -> Iterator[Engine]:
    with buildah.ready(world.new_folder("buildah"), plain=[world.registry.host]) as found:
        yield Engine(variables=found.variables)


_ENGINES: Mapping[str, Callable[[World], AbstractContextManager[Engine]]] = {
    OURS: _layers,
    "buildx": _buildx,
    "kaniko": _kaniko,
    "buildah": _buildah,
}


def rows(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The header, then a row for each builder: seconds and megabytes, and how many times ours that is."""
    ways, ratios = found["ways"], found["ratios"]
    columns = [key for key in (*_SECONDS[:3], "bytes", _SECONDS[3]) if ways[OURS][key] is not None]
    yield _HEADER[: len(columns) + 1]
    for name, way in ways.items():
        cells = [f"{way[key] / 1e6:.0f} MB" if key == "bytes" else f"{way[key]:.1f} s" for key in columns]
        times = ["" if name == OURS else f" ({ratios[name][key]:.1f}x)" for key in columns]
        yield name, *(cell + ratio for cell, ratio in zip(cells, times, strict=True))
