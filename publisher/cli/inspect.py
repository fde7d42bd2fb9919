"""`publisher inspect`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json
from publisher.cli.verdicts import print_verdict, verdict_json
from publisher.errors import CheckError
from publisher.json_output import to_json
from publisher.terminal import Paper, amount

if TYPE_CHECKING:
    from publisher.checks.sizes import Weight
    from publisher.inspection import HeldLayer, Inspected

EXAMPLES = (
    "publisher inspect quay.io/team/pltr_model:v3",
    "publisher inspect oci:images --platform linux/arm64 --sizes",
    "publisher inspect quay.io/team/pltr_model:v3 --json | jq '.platforms[].check.findings'",
)
_ROWS = 40  # packages and folders that people are shown


def command(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Image reference, or oci:DIR[:NAME]")],
    platform: Annotated[
        str | None, typer.Option(metavar="PLATFORM", help="Only this one [default: all of the image]")
    ] = None,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="What each layer and package weighs, biggest first")
    ] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain HTTP to this registry")] = False,
    json: Json = False,
) -> None:
    """Show what an image holds, and whether its programs find all that they need. Nothing of it is executed.

    Ends with exit code 24 where a check says that it does not work.
    """
    from publisher import inspection
    from publisher.domain import Platform

    try:
        wanted = Platform.parse(platform) if platform else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--platform") from None
    settings = session.load(ctx.obj, need_target=False, need_mlflow=False)
    with session.progress(ctx.obj, settings, json=json) as progress:
        images = inspection.reader(settings, os.environ, image, insecure=insecure)
        progress.stage(image, "look at")
        layout = images.load(image)
        found = list(inspection.inspect(layout, inspection.kept(settings), wanted, sizes=sizes))
    raise typer.Exit(run(image, layout.top.digest, found, json=json))


def run(image: str, digest: str, found: Sequence[Inspected], *, json: bool) -> int:
    """Print what was found; the exit code says whether a check failed."""
    if json:
        print(to_json(inspection_json(image, digest, found)))
    else:
        print_inspection(image, digest, found, sys.stdout)
    failed = any(each.verdict.state == "failed" for each in found)
    return CheckError.exit_code if failed else 0


def inspection_json(image: str, digest: str, found: Iterable[Inspected]) -> dict[str, Any]:
    return {"image": image, "digest": digest, "platforms": [_platform_json(each) for each in found]}


def _platform_json(each: Inspected) -> dict[str, Any]:
    return {
        "platform": str(each.platform),
        "digest": each.digest,
        "created": each.created,
        "entrypoint": list(each.entrypoint),
        "command": list(each.start.arguments[len(each.entrypoint) :]),
        "user": each.start.user,
        "workdir": each.start.workdir,
        "layers": [
            {
                "digest": layer.digest,
                "size": layer.size,
                "unpacked": layer.unpacked,
                "files": layer.files,
                "holds": layer.holds,
            }
            for layer in each.layers
        ],
        "check": verdict_json(each.verdict),
        "weights": [
            {
                "package": weight.package.name if weight.package else None,
                "version": weight.package.version if weight.package else None,
                "place": weight.place,
                "files": weight.files,
                "size": weight.size,
            }
            for weight in each.weights
        ],
    }


def print_inspection(image: str, digest: str, found: Iterable[Inspected], stream: TextIO) -> None:
    """A block for each platform: what it starts, its layers, what the check says; the heaviest where asked for."""
    paper = Paper(stream)
    paper.line(f"{image.partition('@')[0]}@{digest}")
    for each in found:
        paper.line("")
        paper.line(f"{each.platform} {each.digest}")
        paper.line(f"  starts: {shlex.join(each.start.arguments) or 'nothing'}")
        paper.line(
            f"  as: user {each.start.user or 'root'} in {each.start.workdir}, created {each.created or '?'}"
        )
        _print_layers(each.layers, paper, biggest=bool(each.weights))
        _print_weights(each.weights, paper)
        print_verdict(each.verdict, paper)


def _print_layers(layers: Sequence[HeldLayer], paper: Paper, *, biggest: bool) -> None:
    total = amount(sum(layer.size for layer in layers))
    known = [layer.unpacked for layer in layers if layer.unpacked is not None]
    unpacked = f", {amount(sum(known))} unpacked" if len(known) == len(layers) else ""
    paper.line(f"  layers: {len(layers)}, {total}{unpacked}")
    for layer in sorted(layers, key=lambda layer: -layer.size) if biggest else layers:
        within = f" ({amount(layer.unpacked)})" if layer.unpacked is not None else ""
        paper.line(f"    {amount(layer.size):>9}{within:<12} {layer.digest[:19]}  {layer.holds}")


def _print_weights(weights: Sequence[Weight], paper: Paper) -> None:
    for title, some in (
        ("Python packages", [weight for weight in weights if weight.package]),
        ("the rest", [weight for weight in weights if not weight.package]),
    ):
        if not some:
            continue
        paper.line(f"  {title}: {len(some)}, {amount(sum(weight.size for weight in some))} unpacked")
        for weight in some[:_ROWS]:
            paper.line(f"    {amount(weight.size):>9}  {weight.package or weight.place}")
        if left := some[_ROWS:]:
            paper.line(f"    {amount(sum(weight.size for weight in left)):>9}  {len(left)} more")
