"""`make bench`: how fast, against what people have today. Prints a table and keeps every run as JSON.

Not a test: it says which targets are met, and ends with 0 either way.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import cold, engines, following, machine, peers, poll, proof, report, sharing, start, startup
from benchmarks.world import world
from tests.engines import programs

HERE = Path(__file__).parent
TABLES: dict[str, Callable[[dict[str, Any]], Iterable[Sequence[str]]]] = {
    "engines": engines.rows,
    "proof": proof.rows,
}  # parts with a table of their own
PARTS = ("cold", "next", "start", "sharing", "startup", "poll", "engines", "proof")


def main() -> int:
    options = _options()
    machine.patience = options.patience
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    began = datetime.now(UTC)
    facts = _machine()  # before: the checkout may change while this runs, what was installed does not
    console.print("[dim]the peers (BuildKit, buildx, kaniko, crane): built when they are not there yet[/]")
    programs.build(*peers.PARTS, "kaniko")
    path = HERE / "results" / f"{began:%Y-%m-%d}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory(prefix="publisher-bench-", dir=options.work) as name:
        console.print("[dim]MLflow, registry, base image, the product in an environment of its own[/]")
        with world(Path(name)) as place:
            for part in options.only or PARTS:
                console.print(f"[dim]{part} …[/]")
                found[part] = _measure(part, place, options, found if not options.only else {})
                found[part] |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": facts}
                _write(path, found)  # after each part: an hour's work is not lost to the last one
    console.print(report.table(found))
    for name, of in TABLES.items():
        if name in found:
            console.print(report.of_rows(of(found[name])))
    for note in report.notes(found):
        console.print(f"[dim]{note}[/]")
    console.print(f"every run: {path}")
    if options.docs:
        report.write_docs(found, HERE.parent / "docs" / "benchmarks.md", TABLES)
    return 0


def _measure(part: str, place: Any, options: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    if part == "start":
        made = before.get("cold")
        images = (made["ours"][0]["image"], made["peer_amd64"]["image"]) if made else None
        return start.measure(place, runs=options.runs or 5, images=images)
    if part == "proof":
        made = before.get("cold")
        return proof.measure(
            place, runs=options.runs or 3, documents=made["peer_amd64"]["image"] if made else None
        )
    if part == "poll":
        (place.folder / "poll").mkdir()
        return poll.measure(place.folder / "poll", place.command, runs=options.runs or 3)
    others: dict[str, Callable[[], dict[str, Any]]] = {
        "cold": lambda: cold.measure(place, runs=options.runs or 3, emulated=not options.quick),
        "next": lambda: following.measure(place, runs=options.runs or 5),
        "sharing": lambda: sharing.measure(place),
        "startup": lambda: startup.measure(place, runs=options.runs or 20),
        "engines": lambda: engines.measure(place, runs=options.runs or 2, emulated=options.emulated),
    }
    return others[part]()


def _machine() -> dict[str, Any]:
    return {**machine.facts(), **programs.versions()}


def _write(path: Path, found: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".tmp")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=PARTS, help="one part; repeat for several")
    parser.add_argument("--quick", action="store_true", help="without the emulated arm64 build of the peer")
    parser.add_argument("--emulated", action="store_true", help="the engines for the other architecture, too")
    parser.add_argument(
        "--runs", type=int, help="how often each of ours is measured [3 cold, 2 engines, 5 others]"
    )
    parser.add_argument("--work", type=Path, help="where temporary files go (10 GB) [the system's own place]")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds to wait for a quiet machine [120]"
    )
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
