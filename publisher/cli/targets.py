"""`publisher targets`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json
from publisher.domain import Target
from publisher.json_output import to_json
from publisher.quantities import shown
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.settings import Settings

EXAMPLES = ("publisher targets", "publisher targets --count --json | jq '.targets[] | {target, versions}'")


def command(
    ctx: typer.Context,
    count: Annotated[
        bool, typer.Option("--count", help="Also ask MLflow how many versions select each")
    ] = False,
    json: Json = False,
) -> None:
    """Show the configured targets, with every setting as it was resolved."""
    settings = session.load(ctx.obj)
    counts: Mapping[str, int] = {}
    if count:
        with session.connected(ctx.obj, settings, json=json) as app:
            counts = app.count()
    raise typer.Exit(run(settings, counts, json=json))


def run(settings: Settings, counts: Mapping[str, int], *, json: bool) -> int:
    """Print the targets; returns 0."""
    if json:
        print(to_json({"targets": [target_json(each, counts) for each in settings.targets]}))
    else:
        print_targets(settings.targets, counts, sys.stdout)
    return 0


def target_json(target: Target, counts: Mapping[str, int]) -> dict[str, Any]:
    values = {each.name: _plain(getattr(target, each.name)) for each in fields(Target) if each.name != "name"}
    return {"target": target.name, "versions": counts.get(target.name), **values}


def _plain(value: object) -> object:
    """A value of JSON: what has no form of its own there is told as people write it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, timedelta):
        return shown(value)
    return value if isinstance(value, str | int | bool | None) else str(value)


def print_targets(targets: Sequence[Target], counts: Mapping[str, int], stream: TextIO) -> None:
    """A block for each target: a line for each setting."""
    paper = Paper(stream)
    for number, target in enumerate(targets):
        if number:
            paper.line("")
        paper.line(target.name)
        document = target_json(target, counts)
        for key, value in document.items():
            if key != "target" and value is not None and value != []:
                paper.line(f"  {key}: {_shown(value)}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return ", ".join(f"{key} = {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
