"""`publisher build-platform`: what the pod of a Job runs (docs/fan-out.md). People need `publisher publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from publisher.cli import session
from publisher.cli.parameters import Name, Version
from publisher.faults import as_ours


def command(
    ctx: typer.Context,
    name: Name,
    version: Version,
    target: Annotated[str, typer.Option(metavar="NAME", help="The target")],
    platform: Annotated[str, typer.Option(metavar="OS/ARCH", help="The platform")],
    key: Annotated[
        str, typer.Option(metavar="HEX", help="What the publisher that made the Job calls the work")
    ],
    result: Annotated[Path, typer.Option(metavar="FILE", help="Write there what came of it, as JSON")],
    force: Annotated[bool, typer.Option("--force", help="Build what was built before, too")] = False,
) -> None:
    """Build one platform of a version, push it by digest, and tell what it is."""
    from publisher.cluster.results import message
    from publisher.domain import Platform

    try:
        settings = session.load(ctx.obj)
        wanted = Platform.parse(platform)
        with session.interruptible(ctx.obj, settings, json=False) as work, work.connect(fan_out=False) as app:
            done = app.build_platform(name, version, target, wanted, key, force=force)
    except Exception as error:
        result.write_bytes(message(as_ours(error)))
        raise
    result.write_bytes(message(done))
