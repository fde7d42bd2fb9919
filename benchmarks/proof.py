"""What proof costs a publication, how long the look at binaries takes, and what a slim image weighs.

No peer proves anything, so the peer of a proven publication is our own without proof. The peer of a slim image is the
documents' image of the same model on the same base, as buildx makes it for this machine's own platform.
"""

from __future__ import annotations

import json
import platform
import statistics
from typing import Any

from benchmarks import cold
from benchmarks.engines import size
from benchmarks.world import PLATFORMS, Workplace, World

_OWN = "linux/arm64" if platform.machine() in ("aarch64", "arm64") else "linux/amd64"
COLD, WARM, HALF = 10.0, 1.0, 0.5  # seconds of binaries for both platforms; of the documents' image


def measure(world: World, *, runs: int, documents: str | None) -> dict[str, Any]:
    """`documents`: the documents' image where it is built already."""
    ways = {proof: _publications(world, proof, runs) for proof in ("off", "possible")}
    image = ways["off"]["cold"]["image"]
    first, again = _binaries(world, image, runs)
    documents = documents or cold.peer(world, (_OWN,))["image"]
    one = {"platforms": [_OWN]}
    whole = world.workplace("proof-whole", keys={**one, "proof": "off"}).publish(
        world.registered[0], wait=False
    )
    slim = world.workplace("proof-slim", keys={**one, "proof": "possible", "slim": True}).publish(
        world.registered[0], wait=False
    )
    sizes = {
        "documents": size(documents, _OWN),
        "whole": size(whole["image"], _OWN),
        "slim": size(slim["image"], _OWN),
    }
    return {
        "ways": ways,
        "binaries_cold": first,
        "binaries_warm": again,
        "bytes": sizes,
        "slim": slim,
        "platform": _OWN,
        "ratio_slim": round(sizes["slim"] / sizes["documents"], 3),
    }


def _publications(world: World, proof: str, runs: int) -> dict[str, Any]:
    """From nothing, and then the next versions on the same machine."""
    place = world.workplace(f"proof-{proof}", keys={"proof": proof})
    first = place.publish(world.registered[0])
    following = [place.publish(world.register()) for _ in range(runs)]
    return {
        "cold": first,
        "next": following,
        "cold_seconds": first["seconds"],
        "next_seconds": statistics.median(run["seconds"] for run in following),
        "next_check": statistics.median(run["stages"].get("check", 0) for run in following),
    }


def _binaries(world: World, image: str, runs: int) -> tuple[float, float]:
    """`publisher inspect` of both platforms as a whole process: on an empty cache folder, and then again."""
    firsts, agains = [], []
    for _ in range(runs):
        place = world.workplace("proof-inspect")
        firsts.append(_inspect(place, image))
        agains += [_inspect(place, image) for _ in range(2)]
    return statistics.median(firsts), statistics.median(agains)


def _inspect(place: Workplace, image: str) -> float:
    done = place.run("inspect", image, "--json")
    found = json.loads(done.output)["platforms"]
    if [each["check"]["state"] for each in found] != ["ok"] * len(PLATFORMS):
        raise RuntimeError(f"{image} is not whole: {[each['check']['reason'] for each in found]}")
    return round(done.seconds, 3)


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A table of its own: what, how much, what it is compared with, the target."""
    off, on, sizes = found["ways"]["off"], found["ways"]["possible"], found["bytes"]

    def compared(key: str) -> tuple[str, str, str]:
        return f"{on[key]:.1f} s", f"{off[key]:.1f} s", f"{on[key] - off[key]:+.1f} s"

    first, again = found["binaries_cold"], found["binaries_warm"]
    slim, documents, whole = (f"{sizes[key] / 1e6:.0f} MB" for key in ("slim", "documents", "whole"))
    ratio = found["ratio_slim"]
    return [
        ("what", "with it", "without", "", "target", ""),
        (
            f"cold, amd64 + arm64, with proof (a prediction for {found['platform']})",
            *compared("cold_seconds"),
            "",
            "",
        ),
        ("next version, with proof", *compared("next_seconds"), "", ""),
        (
            "binaries of both platforms, nothing known",
            f"{first:.1f} s",
            "",
            "",
            f"< {COLD:.0f} s",
            _met(first < COLD),
        ),
        (
            "binaries of both platforms, layers known",
            f"{again:.2f} s",
            "",
            "",
            f"< {WARM:.0f} s",
            _met(again < WARM),
        ),
        (
            "slim image, against the documents' image",
            slim,
            documents,
            f"{ratio:.2f}x",
            f"≤ {HALF}x",
            _met(ratio <= HALF),
        ),
        ("slim image, against ours whole", slim, whole, f"{sizes['slim'] / sizes['whole']:.2f}x", "", ""),
    ]


def _met(met: bool) -> str:
    return "met" if met else "missed"
