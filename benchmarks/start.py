"""From `docker run` to the first prediction, images already pulled. The peer: the documents' image, same server."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from typing import Any

from benchmarks import cold, machine
from benchmarks.world import PLATFORMS, World
from tests import models
from tests.engines import free_port

PLATFORM = PLATFORMS[0]
GIVE_UP = 120  # seconds


def measure(world: World, *, runs: int, images: tuple[str, str] | None) -> dict[str, Any]:
    """`images`: ours and the documents', where they are in the registry already; else both are made now."""
    ours, theirs = images or _make(world)
    for image in (ours, theirs):
        _docker("pull", "--quiet", "--platform", PLATFORM, image)
    try:
        # In turns, so that whatever else the machine does meets both; one of each before, for the page cache.
        for image in (ours, theirs):
            _start(world, image, wait=False)
        pairs = [(_start(world, ours), _start(world, theirs)) for _ in range(runs)]
    finally:
        subprocess.run(["docker", "image", "rm", "--force", ours, theirs], capture_output=True, check=False)
    mine, peer = (statistics.median(pair[which]["seconds"] for pair in pairs) for which in (0, 1))
    return {
        "ours": [pair[0] for pair in pairs],
        "peer": [pair[1] for pair in pairs],
        "ours_seconds": round(mine, 3),
        "peer_seconds": round(peer, 3),
        "ratio": round(mine / peer, 2),
        "target": 1.0,
    }


def _make(world: World) -> tuple[str, str]:
    published = world.workplace("start").publish(world.registered[0], wait=False)
    return published["image"], cold.peer(world, PLATFORMS[:1], wait=False)["image"]


def _start(world: World, image: str, *, wait: bool = True) -> dict[str, Any]:
    before = machine.quiet() if wait else {}
    model, port = world.registered[0], free_port()
    began = time.perf_counter()
    options = ("--detach", "--platform", PLATFORM, "--publish", f"127.0.0.1:{port}:8080")
    container = _docker("run", *options, image)
    try:
        predictions = _first_answer(port, model, container)
        seconds = time.perf_counter() - began
    finally:
        _docker("rm", "--force", "--volumes", container)
    if not models.same_numbers(predictions, model.predictions):
        raise RuntimeError(f"{image} does not predict what the notebook's model predicts")
    return {"seconds": round(seconds, 3), "before": before}


def _first_answer(port: int, model: models.Registered, container: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        data=json.dumps(model.request).encode(),
        headers={"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + GIVE_UP
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=GIVE_UP) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"/invocations answers {error.code}: {error.read()[:500]!r}") from error
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)  # nobody listens yet, behind Docker's own listener
    log = subprocess.run(["docker", "logs", "--tail", "30", container], capture_output=True, check=False)
    raise RuntimeError(f"no answer in {GIVE_UP} s:\n{(log.stdout + log.stderr).decode()}")


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()
