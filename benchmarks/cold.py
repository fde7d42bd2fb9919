"""A publication from nothing: empty caches, empty repository. The peer: the documents' Dockerfile by buildx."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.machine import ROOT
from benchmarks.world import PLATFORMS, World

TARGET_RATIO = 25


def measure(world: World, *, runs: int, emulated: bool) -> dict[str, Any]:
    """Ours `runs` times, each on a new machine; the peer once for amd64, and once for both if `emulated`."""
    model = world.registered[0]
    ours = [world.workplace(f"cold-{number}").publish(model) for number in range(runs)]
    amd64 = peer(world, PLATFORMS[:1])
    both = peer(world, PLATFORMS) if emulated else None
    seconds = statistics.median(run["seconds"] for run in ours)
    return {
        "ours": ours,
        "peer_amd64": amd64,
        "peer_both": both,
        "ours_seconds": seconds,
        "ratio_amd64_alone": round(amd64["seconds"] / seconds, 1),
        "ratio": round(both["seconds"] / seconds, 1) if both else None,
        "target": TARGET_RATIO,
    }


def peer(world: World, platforms: tuple[str, ...], *, wait: bool = True) -> dict[str, Any]:
    """The documents' Dockerfile, by a BuildKit that never built anything. Its download from MLflow is not counted."""
    context = context_of(world)
    image = f"{world.registry.host}/documents-{len(platforms)}/model:v1"
    with peers.buildkit(world.folder / "buildkit", [world.registry.host]) as engine:
        done = engine.build(context, world.base, platforms, image, wait=wait)
    return {
        "seconds": round(done.seconds, 3),
        "steps": peers.steps(done.output + done.errors),
        "platforms": platforms,
        "image": image,
        "before": dict(done.before),
    }


def context_of(world: World) -> Path:
    """What the documents' download script leaves: a model folder and a client folder."""
    context = world.folder / "context"
    if not context.exists():
        world.model_files(context / "model")
        (context / "client").mkdir()
        shutil.copy(ROOT / "publisher" / "runtime" / "serve.py", context / "client")
    return context
