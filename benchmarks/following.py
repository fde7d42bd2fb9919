"""The next version, requirements unchanged. The peer: crane, a bare client, sending the same bytes."""

from __future__ import annotations

import json
import re
import statistics
import urllib.request
from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.process import run
from benchmarks.world import PLATFORMS, Workplace, World
from tests.engines import bare_client, programs
from tests.engines.registry import running
from tests.models import Registered

LARGE = 500 << 20
TARGET_RATIO = 2
TARGET_EXTRA = 3  # seconds


def measure(world: World, *, runs: int) -> dict[str, Any]:
    """Small models on one machine, on new machines, and by crane; then the same with 500 MB more."""
    here = world.workplace("next")
    first = here.publish(world.registered[0], wait=False)
    # A registry of its own for crane: in ours, the very blobs would lie on disk already.
    with running(world.folder / "crane-registry") as other:
        crane = Crane(world, other.host)
        crane.copy(first["image"])
        return {
            "small": _compare(world, here, crane, [world.register for _ in range(2 * runs)], first),
            "large": _compare(
                world,
                here,
                crane,
                [lambda: world.register_large(LARGE) for _ in range(2 * min(runs, 2))],
                first,
            ),
            "target": TARGET_RATIO,
            "target_extra": TARGET_EXTRA,
        }


def _compare(
    world: World, here: Workplace, crane: Crane, versions: list[Any], first: dict[str, Any]
) -> dict[str, Any]:
    """Of two versions, one is published from `here` and sent again by crane, one is from a new machine."""
    known = _blobs(first["image"])
    warm, bare, pod = [], [], []
    for number in range(0, len(versions), 2):
        model: Registered = versions[number]()
        before = _uploads(world)
        done = here.publish(model)
        uploads = {name: count for name, count in (_uploads(world) - before).items() if count}
        warm.append({**done, **_new(done["image"], known), "uploads": uploads})
        bare.append(crane.push(done["image"]))
        pod.append(world.workplace("next").publish(versions[number + 1]()))
    ours, peer, cold = (statistics.median(each["seconds"] for each in kind) for kind in (warm, bare, pod))
    inside = statistics.median(sum(_whole_stages(each).values()) for each in warm)
    return {
        "ours": warm,
        "crane": bare,
        "new_pod": pod,
        "ours_seconds": round(ours, 3),
        "ours_in_process": round(inside, 3),
        "crane_seconds": round(peer, 3),
        "new_pod_seconds": round(cold, 3),
        "ratio": round(ours / peer, 2),
        "ratio_in_process": round(inside / peer, 2),
        "new_pod_extra": round(cold - ours, 3),
        "sent": max(each["sent"] for each in warm),
        "downloaded_by_new_pod": max(each["downloaded"] for each in pod),
        "uploads": max((each["uploads"] for each in warm), key=lambda counts: sum(counts.values())),
        "layers_sent": sorted({title for each in warm for title in each["new_layers"]}),
    }


class Crane:
    """Pushes images that are already on disk as OCI layouts, into a registry that has the first version."""

    def __init__(self, world: World, host: str) -> None:
        self.world, self.host = world, host
        self.program = programs.path("crane")
        self.folder = world.folder / "crane"
        self.folder.mkdir()

    def copy(self, image: str) -> None:
        run([self.program, "copy", image, self._there(image)], wait=False)

    def push(self, image: str) -> dict[str, Any]:
        """Time `crane push` of the image; fetching it to disk before is not counted."""
        shared = self.folder / "all"
        run([self.program, "pull", "--format", "oci", image, shared], wait=False)
        found = bare_client.of_reference(image)
        assert found is not None
        one = self.folder / found.digest.removeprefix("sha256:")
        one.mkdir()
        (one / "blobs").symlink_to(shared / "blobs")
        (one / "oci-layout").write_bytes((shared / "oci-layout").read_bytes())
        entries = json.loads((shared / "index.json").read_bytes())["manifests"]
        entry = next(entry for entry in entries if entry["digest"] == found.digest)
        (one / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        done = run([self.program, "push", one, self._there(image)])
        return {"seconds": round(done.seconds, 3), "cpu": round(done.cpu, 2), "before": dict(done.before)}

    def _there(self, image: str) -> str:
        return f"{self.host}/{image.partition('/')[2]}"


def _uploads(world: World) -> Counter[str]:
    """Blobs that were uploaded so far, by repository, as the registry's own log has it."""
    lines = world.registry.requests("PUT", "/blobs/uploads/")
    return Counter(re.findall(r'"PUT /v2/(\S+)/blobs/uploads/\S* [^"]*" 201 ', "\n".join(lines)))


def _whole_stages(done: dict[str, Any]) -> dict[str, float]:
    """The stages that follow one another; `build: x` are parts of `build`, which overlap."""
    return {name: seconds for name, seconds in done["stages"].items() if ":" not in name}


def _new(image: str, known: Mapping[str, int]) -> dict[str, Any]:
    """What an image has that `known` has not: bytes, and what its layers hold by the image's own history."""
    new = {digest: size for digest, size in _blobs(image).items() if digest not in known}
    titles: set[str] = set()
    for document in _manifests(image):
        layers = [layer["digest"] for layer in document["layers"]]
        config = _config(image, document["config"]["digest"])
        history = [each["created_by"] for each in config["history"] if not each.get("empty_layer")]
        titles |= {title for title, digest in zip(history[::-1], layers[::-1], strict=False) if digest in new}
    return {"new_bytes": sum(new.values()), "new_layers": sorted(titles)}


def _blobs(image: str) -> dict[str, int]:
    """Digest -> bytes of every config and layer."""
    return {
        part["digest"]: part["size"]
        for manifest in _manifests(image)
        for part in (manifest["config"], *manifest["layers"])
    }


def _manifests(image: str) -> list[dict[str, Any]]:
    host, _, rest = image.partition("/")
    found = bare_client.of_reference(image)
    assert found is not None, f"nothing at {image}"
    below = (bare_client.manifest(host, rest.rpartition(":")[0], found.platforms[name]) for name in PLATFORMS)
    return [manifest.document for manifest in below if manifest]


def _config(image: str, digest: str) -> dict[str, Any]:
    host, _, rest = image.partition("/")
    url = f"http://{host}/v2/{rest.rpartition(':')[0]}/blobs/{digest}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
