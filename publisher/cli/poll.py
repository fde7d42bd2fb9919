"""`publisher poll`, once or for as long as the process is wanted."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from publisher.cli import session
from publisher.cli.parameters import HealthFile, Json, as_duration
from publisher.cli.polling import Polls
from publisher.health import Health

EXAMPLES = (
    "publisher poll",
    "publisher poll --json | jq '.outcomes[].state'",
    "publisher poll --every 15m --health /tmp/publisher.json",
)


def command(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Poll one time (the default)", show_default=False)
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Poll again and again, so long after each: 30s, 15m, 2h"),
    ] = None,
    jitter: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --every: wait up to so much longer")
    ] = None,
    health: HealthFile = None,
    json: Json = False,
) -> None:
    """Publish every model version that carries the tag of a target and needs it."""
    if once and every:
        raise typer.BadParameter("excludes --once", param_hint="--every")
    if jitter and not every:
        raise typer.BadParameter("needs --every", param_hint="--jitter")
    period, more = as_duration(every, "--every"), as_duration(jitter, "--jitter")
    settings = session.load(ctx.obj)
    state = Health(health) if health else None
    with session.interruptible(ctx.obj, settings, json=json, also=state) as work:
        polls = Polls(work.connect, work.progress, work.running, json, state)
        code = polls.forever(period, more or timedelta(0)) if period else work.ended(polls.once())
    raise typer.Exit(code)
