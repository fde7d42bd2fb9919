"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from publisher.errors import PublisherError
from publisher.quantities import duration

if TYPE_CHECKING:
    from publisher.settings import Settings


def target_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The configured targets, for a shell that completes; none where the settings cannot be read."""
    from publisher.settings import load

    given = ctx.find_root().params.get("config")
    try:
        targets = load({}, os.environ, Path(given) if given else None).targets
    except PublisherError:
        return []
    return [target.name for target in targets if target.name.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document")]
HealthFile = Annotated[
    Path | None,
    typer.Option(
        "--health",
        metavar="FILE",
        help="Write the time of each good poll there, as JSON",
        envvar="PUBLISHER_HEALTH",
    ),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Registered model")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="Its version")]
AnyName = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Registered model [default: all that are tagged]")
]
AnyVersion = Annotated[
    str | None, typer.Argument(metavar="VERSION", help="Its version [default: all that are tagged]")
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="Only this target; repeat for several [default: those of its tags]",
        autocompletion=target_names,
    ),
]
StatusTargets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="Only this target; repeat for several [default: those of its status]",
        autocompletion=target_names,
    ),
]


def as_duration(text: str | None, option: str) -> timedelta | None:
    """None for None. Raises typer.BadParameter where `text` is no duration."""
    try:
        return duration(text) if text is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def check_targets(names: Sequence[str] | None, settings: Settings) -> None:
    """Raises typer.BadParameter where `names` has one that the settings do not."""
    known = [each.name for each in settings.targets]
    for name in names or ():
        if name not in known:
            message = f"{name} is none of the targets: {', '.join(known)}"
            raise typer.BadParameter(message, param_hint="--target")
