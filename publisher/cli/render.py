"""`publisher render`."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json, Name, Version, check_targets, target_names
from publisher.json_output import to_json
from publisher.terminal import Paper, amount

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.context_folder import RenderedContext

EXAMPLES = (
    "publisher render pltr_model 3 /tmp/context",
    "publisher render pltr_model 3 /tmp/context --target edge --force",
)
_WHOSE = {"version": "the version's own", "site": "the site's", "builtin": "publisher's own"}
_SHOWN = 12  # files of one folder


def command(
    ctx: typer.Context,
    name: Name,
    version: Version,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty, or not there yet")],
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="For this target [default: that of its tags]", autocompletion=target_names
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what DIR has under the names of the context's parts")
    ] = False,
    json: Json = False,
) -> None:
    """Write the build context of a model version, to look at or to build by hand, and build nothing."""
    settings = session.load(ctx.obj)
    check_targets([target] if target else None, settings)
    connection = session.connected(ctx.obj, settings, json=json)
    raise typer.Exit(run(connection, name, version, folder, target, force=force, json=json))


def run(
    connection: AbstractContextManager[App],
    name: str,
    version: str,
    folder: Path,
    target: str | None,
    *,
    force: bool,
    json: bool,
) -> int:
    """Render, print what is there; returns 0."""
    with connection as app:
        found = app.render(name, version, folder, target, force=force)
    if json:
        print(to_json(rendered_json(found)))
    else:
        print_rendered(found, sys.stdout)
    return 0


def rendered_json(found: RenderedContext) -> dict[str, Any]:
    return {
        "model": found.version.name,
        "version": found.version.version,
        "target": found.target.name,
        "image": found.image,
        "platforms": [str(platform) for platform in found.target.platforms],
        "folder": str(found.folder),
        "author": found.author,
        "bases": list(found.bases),
        "files": [{"path": file.path, "size": file.size} for file in found.files],
        "command": list(found.command),
    }


def print_rendered(found: RenderedContext, stream: TextIO) -> None:
    """The files as a tree with their sizes, whose Dockerfile it is, and what builds it."""
    paper = Paper(stream)
    paper.line(f"{found.version} → {found.target.name}: {found.folder}")
    for line in tree(found):
        paper.line(f"  {line}")
    bases = ", ".join(found.bases) or "nothing"
    paper.line(f"The Dockerfile is {_WHOSE[found.author]}, from {bases}.")
    paper.line(f"Build it: cd {shlex.quote(str(found.folder))} && {shlex.join(found.command)}")


def tree(found: RenderedContext) -> list[str]:
    """A line for each file, below those of its folders; of a folder with many, the first."""
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for file in found.files:
        above = file.path.split("/")[:-1]
        for depth in range(1, len(above) + 1):
            sizes["/".join(above[:depth])] += file.size
        counts["/".join(above)] += 1
    lines: list[str] = []
    seen: Counter[str] = Counter()
    told: set[str] = set()
    for file in sorted(found.files, key=lambda file: ("/" not in file.path, file.path)):
        parts = file.path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            if folder not in told:
                told.add(folder)
                lines.append(f"{'  ' * (depth - 1)}{parts[depth - 1]}/  {amount(sizes[folder])}")
        folder, indent = "/".join(parts[:-1]), "  " * (len(parts) - 1)
        seen[folder] += 1
        if seen[folder] <= _SHOWN:
            lines.append(f"{indent}{parts[-1]}  {amount(file.size)}")
        elif seen[folder] == counts[folder]:
            lines.append(f"{indent}… {counts[folder] - _SHOWN} more")
    return lines
