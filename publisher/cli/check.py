"""`publisher check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json, Name, Targets, Version, check_targets
from publisher.cli.verdicts import print_verdict, verdict_json
from publisher.errors import CheckError
from publisher.json_output import to_json
from publisher.progress import subject_of
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.checking import Checked

EXAMPLES = (
    "publisher check pltr_model 3",
    "publisher check pltr_model 3 --target demo --json | jq '.checks[].platforms[].verdicts'",
)


def command(
    ctx: typer.Context, name: Name, version: Version, target: Targets = None, json: Json = False
) -> None:
    """Build the image of a model version and tell whether it works; push and record nothing.

    Ends with exit code 24 where it would not be pushed.
    """
    settings = session.load(ctx.obj)
    check_targets(target, settings)
    with session.interruptible(ctx.obj, settings, json=json) as work:
        code = run(work.connect(), name, version, target, json=json)
    raise typer.Exit(work.ended(code))


def run(
    connection: AbstractContextManager[App],
    name: str,
    version: str,
    targets: Sequence[str] | None,
    *,
    json: bool,
) -> int:
    """Print what the checks say; the exit code tells whether one of the images would be refused."""
    with connection as app:
        done = app.check(name, version, targets)
    if json:
        print(to_json({"checks": [checked_json(each) for each in done]}))
    else:
        print_checked(done, sys.stdout)
    return CheckError.exit_code if any(each.refused for each in done) else 0


def checked_json(checked: Checked) -> dict[str, Any]:
    platforms: dict[str, list[dict[str, Any]]] = {}
    for each in checked.proven:
        platforms.setdefault(str(each.platform), []).append(verdict_json(each.verdict))
    return {
        "model": checked.version.name,
        "version": checked.version.version,
        "target": checked.target,
        "image": checked.image,
        "digest": checked.digest,
        "refused": checked.refused,
        "platforms": [
            {"platform": platform, "verdicts": verdicts} for platform, verdicts in platforms.items()
        ],
    }


def print_checked(done: Sequence[Checked], stream: TextIO) -> None:
    """A line for each target, then a block for each platform."""
    paper = Paper(stream)
    for checked in done:
        word, why = ("failed", checked.refused) if checked.refused else ("ok", "would be pushed as")
        image = f"{checked.image}@{checked.digest}"
        paper.line(
            f"{subject_of(checked.version, checked.target)}:",
            word,
            why if checked.refused else f"{why} {image}",
        )
        platform = None
        for each in checked.proven:
            if each.platform != platform:
                platform = each.platform
                paper.line(str(platform))
            print_verdict(each.verdict, paper)
