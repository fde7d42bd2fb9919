"""`publisher explain`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import typer

from publisher.cli import session
from publisher.cli.parameters import Json, Name, Targets, Version, check_targets
from publisher.json_output import to_json

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.explain import Explanation, Finding

EXAMPLES = (
    "publisher explain pltr_model 3",
    "publisher explain pltr_model 3 --target demo --json | jq '.targets[].poll'",
)


def command(
    ctx: typer.Context, name: Name, version: Version, target: Targets = None, json: Json = False
) -> None:
    """Tell why a model version is published or not, step by step, and change nothing."""
    settings = session.load(ctx.obj)
    check_targets(target, settings)
    raise typer.Exit(run(session.connected(ctx.obj, settings, json=json), name, version, target, json=json))


def run(
    connection: AbstractContextManager[App], name: str, version: str, targets: list[str] | None, *, json: bool
) -> int:
    """Print the explanation; returns 0, whatever it says."""
    from publisher.explained import print_explanation

    with connection as app:
        found = app.explain(name, version, targets)
    if json:
        print(to_json(explanation_json(found)))
    else:
        print_explanation(found, sys.stdout)
    return 0


def explanation_json(found: Explanation) -> dict[str, Any]:
    return {
        "model": found.version.name,
        "version": found.version.version,
        "findings": _findings(found.findings),
        "targets": [
            {
                "target": each.target,
                "selected": each.selected,
                "findings": _findings(each.findings),
                "poll": {"action": each.poll.action, "reason": each.poll.reason},
            }
            for each in found.targets
        ],
    }


def _findings(found: Iterable[Finding]) -> list[dict[str, Any]]:
    return [{"topic": f.topic, "level": f.level, "text": f.text, "facts": dict(f.facts)} for f in found]
