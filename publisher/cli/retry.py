"""`publisher retry`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from publisher.cli import changes, publish, session
from publisher.cli.parameters import Json, Name, StatusTargets, Version, check_targets

if TYPE_CHECKING:
    from publisher.app import App

EXAMPLES = ("publisher retry pltr_model 3", "publisher retry pltr_model 3 --target demo --now")


def command(
    ctx: typer.Context,
    name: Name,
    version: Version,
    target: StatusTargets = None,
    now: Annotated[bool, typer.Option("--now", help="Publish it now, and wait for no poll")] = False,
    json: Json = False,
) -> None:
    """Let the next poll try again what failed or was withdrawn."""
    settings = session.load(ctx.obj)
    check_targets(target, settings)
    connection = session.connected(ctx.obj, settings, json=json)
    if now:
        raise typer.Exit(
            publish.run(connection, name, version, target, dry_run=False, force=False, json=json)
        )
    raise typer.Exit(run(connection, name, version, target, json=json))


def run(
    connection: AbstractContextManager[App],
    name: str,
    version: str,
    targets: Sequence[str] | None,
    *,
    json: bool,
) -> int:
    """Clear the failures, print what was changed; returns 0."""
    with connection as app:
        done = app.retry(name, version, targets)
    return changes.show(done, json=json)
