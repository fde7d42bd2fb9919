"""`publisher health`, for a liveness probe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from publisher import health
from publisher.cli.parameters import Json, as_duration
from publisher.json_output import to_json

EXAMPLES = ("publisher health /tmp/publisher.json --max-age 1h",)
UNHEALTHY = 21


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="What `publisher poll --health` writes", envvar="PUBLISHER_HEALTH"
        ),
    ],
    max_age: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long ago the last good poll may be [default: 1h]")
    ] = None,
    json: Json = False,
) -> None:
    """Say whether the polls go on: exit code 0, or 21 and why not."""
    longest = as_duration(max_age, "--max-age") or timedelta(hours=1)
    why_not = health.check(file, longest, datetime.now(UTC))
    print(to_json({"well": not why_not, "reason": why_not}) if json else why_not or "well")
    raise typer.Exit(UNHEALTHY if why_not else 0)
