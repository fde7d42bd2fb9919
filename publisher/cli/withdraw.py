"""`publisher withdraw`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from publisher.cli import changes, session
from publisher.cli.parameters import Json, Name, StatusTargets, Version, check_targets
from publisher.exits import INTERRUPTED

if TYPE_CHECKING:
    from publisher.app import App

EXAMPLES = ("publisher withdraw pltr_model 3", "publisher withdraw pltr_model 3 --target demo --yes")


def command(
    ctx: typer.Context,
    name: Name,
    version: Version,
    target: StatusTargets = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    json: Json = False,
) -> None:
    """Remove an image from its registry, where that allows it, and keep polls from publishing it again."""
    settings = session.load(ctx.obj)
    check_targets(target, settings)
    if not yes:
        confirm(f"{name} v{version}", target)
    raise typer.Exit(run(session.connected(ctx.obj, settings, json=json), name, version, target, json=json))


def confirm(what: str, targets: Sequence[str] | None) -> None:
    """Ask on a terminal, on stderr, for stdout is the result's. Elsewhere --yes has to be said."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on: say --yes", param_hint="--yes")
    where = ", ".join(targets) if targets else "every target that has it"
    if not typer.confirm(f"Withdraw {what} from {where}? Whoever pulls it by its tag will fail", err=True):
        raise typer.Exit(INTERRUPTED)


def run(
    connection: AbstractContextManager[App],
    name: str,
    version: str,
    targets: Sequence[str] | None,
    *,
    json: bool,
) -> int:
    """Withdraw, print what became of it; returns the first failure's exit code."""
    with connection as app:
        done = app.withdraw(name, version, targets)
    return changes.show(done, json=json)
