"""`publisher register`: what `publisher.notebook.register` does, for a model that is a URI, a folder or a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from publisher.cli.parameters import Json, as_duration, target_names
from publisher.json_output import to_json
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.notebook import Publication

EXAMPLES = (
    "publisher register runs:/4f2c…/mymodel fraud --target edge",
    "publisher register ./mymodel fraud --target edge --client ./client --execute-path client/app.py",
    "publisher register models:/fraud/3 fraud --target edge --wait 30m --json",
)


def command(
    ctx: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="runs:/…, models:/…, a folder that MLflow saved, or a file of Python"
        ),
    ],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Registered model")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Publish it there; repeat for several [default: the only one of the settings]",
            autocompletion=target_names,
        ),
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder that goes to /app/client in the image")
    ] = None,
    templates: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder with a Dockerfile of the model's own")
    ] = None,
    entry_point: Annotated[
        str | None, typer.Option(metavar="PROGRAM", help="What the image starts [default: python]")
    ] = None,
    execute_path: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What that is given [default: the image serves the model]"),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A further tag; repeat for several")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="Wait so long for its publication: 30s, 15m, 2h")
    ] = None,
    json: Json = False,
) -> None:
    """Register a model version that is to be published, once all is well with it."""
    tags = _tags(tag or ())
    patience = as_duration(wait, "--wait")
    from publisher.notebook.here import Here
    from publisher.notebook.logged import uri_of
    from publisher.notebook.registering import registered
    from publisher.notebook.request import Request

    here = Here.look(ctx.obj.config, ctx.obj.flags)
    request = Request.of(
        here,
        name,
        target,
        logged=uri_of(model) is not None,
        client=client,
        templates=templates,
        entry_point=entry_point,
        execute_path=execute_path,
        tags=tags,
    )
    quiet = ctx.obj.quiet
    raise typer.Exit(run(registered(here, model, request, {}, quiet=quiet), patience, json=json, quiet=quiet))


def run(found: Publication, patience: timedelta | None, *, json: bool, quiet: bool) -> int:
    """Print what was registered, and where it is once it was waited for; returns 0."""
    if patience is not None:
        found.wait(patience, quiet=quiet)
    if json:
        print(to_json(publication_json(found)))
        return 0
    paper = Paper(sys.stdout)
    paper.line(f"{found.name} v{found.version}", "registered", f"for {', '.join(found.targets)}")
    for note in found.notes:
        paper.line("", "note", note)
    for line in str(found).splitlines()[1:] if patience is not None else ():
        paper.line(line)
    return 0


def publication_json(found: Publication) -> dict[str, Any]:
    known = found.status()
    return {
        "model": found.name,
        "version": found.version,
        "notes": list(found.notes),
        "targets": [
            {
                "target": target,
                "state": status.state if status else None,
                "image": status.image if status else "",
                "digest": status.digest if status else "",
            }
            for target, status in known.items()
        ],
    }


def _tags(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not key or not equals:
            raise typer.BadParameter(f"{each!r}: expected KEY=VALUE", param_hint="--tag")
        found[key] = value
    return found
