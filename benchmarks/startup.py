"""How long the command line takes to answer: `publisher --help` beside a bare interpreter."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.process import run
from benchmarks.world import World

LIMIT = 0.3  # seconds more than the interpreter alone


def measure(world: World, *, runs: int) -> dict[str, Any]:
    """In turns, after one of each that fills the page cache."""
    bare, ours = [world.command.with_name("python"), "-c", "pass"], [world.command, "--help"]
    for command in (bare, ours):
        run(command, wait=False)
    pairs = [(run(ours, wait=not number).seconds, run(bare, wait=False).seconds) for number in range(runs)]
    mine, peer = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
    return {
        "ours": [round(pair[0], 4) for pair in pairs],
        "peer": [round(pair[1], 4) for pair in pairs],
        "ours_seconds": round(mine, 3),
        "peer_seconds": round(peer, 3),
        "extra": round(mine - peer, 3),
        "target": LIMIT,
    }
