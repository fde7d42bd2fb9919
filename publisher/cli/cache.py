"""`publisher cache`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json
from publisher.json_output import to_json
from publisher.quantities import size
from publisher.terminal import Paper, amount

if TYPE_CHECKING:
    from publisher.cache_folder import CacheFolder, Entry, Trimmed

EXAMPLES = ("publisher cache", "publisher cache --limit 20GB", "publisher cache --clear --json")


def command(
    ctx: typer.Context,
    limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove what was not used for longest, until this much is left"),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Remove all that no publication is using")] = False,
    json: Json = False,
) -> None:
    """Show what the cache folder holds, and make it smaller. What publishers are using meanwhile stays."""
    if limit and clear:
        raise typer.BadParameter("say --limit or --clear", param_hint="--clear")
    try:
        most = 0 if clear else size(limit) if limit else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--limit") from None
    settings = session.load(ctx.obj, need_target=False, need_mlflow=False)
    from publisher.cache_folder import CacheFolder

    raise typer.Exit(run(CacheFolder(settings.cache_folder), most, json=json))


def run(cache: CacheFolder, most: int | None, *, json: bool) -> int:
    """Trim where `most` bytes are named, print what is there; returns 0."""
    trimmed = cache.trim(most) if most is not None else None
    document = cache_json(cache, cache.entries(), trimmed)
    if json:
        print(to_json(document))
    else:
        print_cache(document, sys.stdout)
    return 0


def cache_json(cache: CacheFolder, entries: Sequence[Entry], trimmed: Trimmed | None) -> dict[str, Any]:
    kinds: dict[str, dict[str, int]] = {}
    for entry in entries:
        kind = kinds.setdefault(entry.kind, {"entries": 0, "bytes": 0})
        kind["entries"] += 1
        kind["bytes"] += entry.size
    return {
        "folder": str(cache.folder),
        "bytes": sum(kind["bytes"] for kind in kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "removed": trimmed.removed if trimmed else 0,
        "held": trimmed.held if trimmed else 0,
    }


def print_cache(document: dict[str, Any], stream: TextIO) -> None:
    """A line for each kind, then the sum; what was removed first."""
    paper = Paper(stream)
    if document["removed"]:
        paper.line(f"removed {amount(document['removed'])}")
    if document["held"]:
        paper.line(f"{amount(document['held'])} stay: publications are using them")
    for kind, held in document["kinds"].items():
        paper.line(f"{kind}: {held['entries']}, {amount(held['bytes'])}")
    paper.line(f"{document['folder']}: {amount(document['bytes'])}")
