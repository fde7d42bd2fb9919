"""`publisher download`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import AnyName, Json
from publisher.domain import ModelVersion
from publisher.json_output import to_json
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.app import App

EXAMPLES = ("publisher download /tmp/models", "publisher download /tmp/models pltr_model 3")


def command(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Files go to DIR/<model>/v<version>/")],
    name: AnyName = None,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Its version")] = None,
    json: Json = False,
) -> None:
    """Download the files of model versions, and build nothing."""
    if name and not version:
        raise typer.BadParameter("NAME needs a VERSION", param_hint="VERSION")
    connection = session.connected(ctx.obj, session.load(ctx.obj, need_target=False), json=json)
    raise typer.Exit(run(connection, folder, name, version, json=json))


def run(
    connection: AbstractContextManager[App],
    folder: Path,
    name: str | None,
    version: str | None,
    *,
    json: bool,
) -> int:
    """Download, print the folders; returns 0."""
    with connection as app:
        found = app.download(folder, name, version)
    if json:
        print(to_json({"downloads": [download_json(each, where) for each, where in found]}))
    else:
        print_downloads(found, sys.stdout)
    return 0


def download_json(version: ModelVersion, folder: Path) -> dict[str, Any]:
    return {"model": version.name, "version": version.version, "folder": str(folder)}


def print_downloads(found: Iterable[tuple[ModelVersion, Path]], stream: TextIO) -> None:
    """A line for each version and its folder."""
    paper = Paper(stream)
    count = 0
    for count, (version, folder) in enumerate(found, 1):  # noqa: B007 - its last value tells whether there was one
        paper.line(f"{version}: {folder}")
    if not count:
        paper.line("nothing to download: no model version carries the tag of a target")
