"""`publisher poll`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from publisher.cli import outcomes, session
from publisher.cli.parameters import Json
from publisher.errors import SOME_FAILED

if TYPE_CHECKING:
    from publisher.wiring import App

EXAMPLES = ("publisher poll", "publisher poll --json | jq '.outcomes[].state'")


def command(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Poll one time (the default)", show_default=False)
    ] = True,
    json: Json = False,
) -> None:
    """Publish every model version that carries the tag of a target and needs it."""
    raise typer.Exit(run(session.connected(ctx.obj, session.load(ctx.obj), json=json), json=json))


def run(connection: AbstractContextManager[App], *, json: bool) -> int:
    """Poll once, print what became of each version, and return the exit code."""
    with connection as app:
        done = app.poll()
    outcomes.show(done, json=json)
    return SOME_FAILED if any(outcome.state == "failed" for outcome in done) else 0
