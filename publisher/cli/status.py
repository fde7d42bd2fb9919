"""`publisher status`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import AnyName, AnyVersion, Json
from publisher.json_output import stamp, to_json
from publisher.progress import subject_of
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.app import App, StatusRow

EXAMPLES = ("publisher status", "publisher status pltr_model 3 --json")


def command(ctx: typer.Context, name: AnyName = None, version: AnyVersion = None, json: Json = False) -> None:
    """Show what was published where, why not, and what the next poll would do."""
    connection = session.connected(ctx.obj, session.load(ctx.obj), json=json)
    raise typer.Exit(run(connection, name, version, json=json))


def run(connection: AbstractContextManager[App], name: str | None, version: str | None, *, json: bool) -> int:
    """Print the status of the versions; returns 0."""
    with connection as app:
        rows = app.status(name, version)
    if json:
        print(to_json({"versions": [status_json(row) for row in rows]}))
    else:
        print_status(rows, sys.stdout)
    return 0


def status_json(row: StatusRow) -> dict[str, Any]:
    status = row.status
    return {
        "model": row.version.name,
        "version": row.version.version,
        "target": row.target,
        "state": status.state if status else None,
        "image": status.image if status and status.image else row.image,
        "digest": status.digest if status else "",
        "tags": list(status.tags) if status else [],
        "reason": status.reason if status else "",
        "proof": status.proof if status else "",
        "attempts": status.attempts if status else 0,
        "updated": stamp(status.updated) or None if status else None,
        "next_try": stamp(status.next_try) or None if status else None,
        "decision": {"action": row.decision.action, "reason": row.decision.reason},
    }


def print_status(rows: Sequence[StatusRow], stream: TextIO) -> None:
    """A line for each version and target: what its status tags say, and what the next poll would do."""
    paper = Paper(stream)
    if not rows:
        paper.line("no model version carries the tag of a target")
    for row in rows:
        status = row.status
        parts = [row.image]
        if status:
            image = f"{status.image}@{status.digest}" if status.digest else status.image
            parts = [image if status.state == "published" else status.reason or image]
            parts += [f"also {', '.join(status.tags)}" if status.tags else "", stamp(status.updated)]
        parts.append(f"next poll: {row.decision.action}, {row.decision.reason}")
        state = status.state if status else "not published"
        paper.line(f"{subject_of(row.version, row.target)}:", state, ", ".join(filter(None, parts)))
