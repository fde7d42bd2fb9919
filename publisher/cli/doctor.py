"""`publisher doctor`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TextIO

import typer

from publisher.cli import session
from publisher.cli.parameters import Json
from publisher.json_output import to_json
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.doctor import Check

EXAMPLES = ("publisher doctor", "publisher doctor --json | jq '.checks[] | select(.state != \"ok\")'")


def command(ctx: typer.Context, json: Json = False) -> None:
    """Look whether MLflow, the registries, base images, the package index and the disks are there and let us work.

    Ends with the exit code of the first check that failed, 0 where none did.
    """
    raise typer.Exit(run(session.connected(ctx.obj, session.load(ctx.obj), json=json), json=json))


def run(connection: AbstractContextManager[App], *, json: bool) -> int:
    """Print each check as it ends, and return the exit code."""
    done: list[Check] = []
    with connection as app:
        checks = _kept(app.doctor(), done)
        if json:
            print(to_json({"checks": [check_json(each) for each in checks]}))
        else:
            print_checks(checks, sys.stdout)
    return next((each.exit_code for each in done if each.state == "fail"), 0)


def _kept(checks: Iterator[Check], into: list[Check]) -> Iterator[Check]:
    for each in checks:
        into.append(each)
        yield each


def check_json(check: Check) -> dict[str, Any]:
    return {
        "topic": check.topic,
        "subject": check.subject,
        "state": check.state,
        "text": check.text,
        "hint": check.hint,
        "exit_code": check.exit_code,
        "facts": dict(check.facts),
    }


def print_checks(checks: Iterable[Check], stream: TextIO) -> None:
    """A line for each check, with what to do where it is not ok."""
    paper = Paper(stream)
    for each in checks:
        hint = f". {each.hint}" if each.hint else ""
        paper.line(f"{each.topic} {each.subject}:", each.state, f"{each.text}{hint}")
