"""`publisher base-image`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from publisher.cli import session
from publisher.cli.parameters import Json
from publisher.json_output import to_json

EXAMPLES = (
    "publisher base-image oci:/srv/base",
    "publisher base-image registry.example.org/base/python:3.11 --platform linux/arm64 --include libgl1",
)


def command(
    ctx: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="Image reference, or oci:DIR")],
    platform: Annotated[
        list[str] | None,
        typer.Option(metavar="PLATFORM", help="Repeat for several [default: linux/amd64, linux/arm64]"),
    ] = None,
    suite: Annotated[str, typer.Option(metavar="NAME", help="Debian release")] = "bookworm",
    include: Annotated[
        list[str] | None, typer.Option(metavar="PACKAGE", help="A further Debian package; repeat for several")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain HTTP to this registry")] = False,
    json: Json = False,
) -> None:
    """Make a Python base image out of Debian packages."""
    from publisher import baseimage
    from publisher.domain import MACHINES, Platform

    try:
        platforms = [
            Platform.parse(each) for each in platform or [f"linux/{machine}" for machine in MACHINES]
        ]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--platform") from None
    with session.progress(ctx.obj, json=json) as progress:
        made = baseimage.build(
            destination, platforms, suite, include or (), os.environ, progress, insecure=insecure
        )
    typer.echo(to_json({"image": made}) if json else made)
