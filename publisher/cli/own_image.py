"""`publisher own-image`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from publisher.cli import session
from publisher.cli.parameters import Json, check_targets, target_names
from publisher.json_output import to_json

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.domain import Platform
    from publisher.ownimage import OwnImage

EXAMPLES = (
    "publisher own-image --target demo",
    "publisher own-image --target edge --platform linux/amd64 --platform linux/arm64",
)


def command(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Where it goes [default: the only target]", autocompletion=target_names
        ),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(metavar="PLATFORM", help="Repeat for several [default: those of the target]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an image that has another digest")] = False,
    json: Json = False,
) -> None:
    """Publish the image in which this publisher runs on a cluster: REGISTRY/model-publisher:VERSION."""
    from publisher.domain import Platform

    settings = session.load(ctx.obj, need_mlflow=False)
    check_targets([target] if target else None, settings)
    try:
        platforms = [Platform.parse(each) for each in platform or ()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--platform") from None
    raise typer.Exit(
        run(session.connected(ctx.obj, settings, json=json), target, platforms, force=force, json=json)
    )


def run(
    connection: AbstractContextManager[App],
    target: str | None,
    platforms: Sequence[Platform],
    *,
    force: bool,
    json: bool,
) -> int:
    """Publish it, print its name; returns 0."""
    with connection as app:
        done = app.own_image(target, platforms, force=force)
    print(to_json(own_image_json(done)) if json else f"{done.image}@{done.digest}")
    return 0


def own_image_json(done: OwnImage) -> dict[str, Any]:
    return {
        "image": done.image,
        "digest": done.digest,
        "platforms": [str(platform) for platform in done.platforms],
        "sent": done.sent,
        "downloaded": done.downloaded,
    }
