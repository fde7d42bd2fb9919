"""What was changed by hand, for people and for scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from publisher.json_output import to_json
from publisher.progress import subject_of
from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.manual import Change


def show(changes: Sequence[Change], *, json: bool) -> int:
    """Print the changes, and return the first failure's exit code."""
    if json:
        print(to_json({"changes": [change_json(each) for each in changes]}))
    else:
        print_changes(changes, sys.stdout)
    return next((each.exit_code for each in changes if each.state == "failed"), 0)


def change_json(change: Change) -> dict[str, Any]:
    return {
        "model": change.version.name,
        "version": change.version.version,
        "target": change.target,
        "state": change.state,
        "reason": change.reason,
        "image": change.image,
        "digest": change.digest,
        "exit_code": change.exit_code,
    }


def print_changes(changes: Sequence[Change], stream: TextIO) -> None:
    paper = Paper(stream)
    for each in changes:
        paper.line(f"{subject_of(each.version, each.target)}:", each.state, each.reason)
