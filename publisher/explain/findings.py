"""The nouns of an explanation, and how a step that fails becomes one of its findings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from publisher.domain import ModelVersion
from publisher.faults import as_ours

_log = logging.getLogger(__name__)

Level = Literal["ok", "note", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `text` is for people; `facts` are the same as values of JSON.

    A problem of a step that a publication goes through (`stops`) would let it fail, with this text.
    """

    topic: str
    level: Level
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the next poll does: pass by a version that it does not see, skip it, publish it, bring its extra tags up
    to date, or fail.

    "publish": nothing that can be seen without building it stands against it.
    """

    action: Literal["ignore", "skip", "tag", "publish", "fail"]
    reason: str


@dataclass(frozen=True, slots=True)
class ForTarget:
    """What holds for one target, in the order in which the publisher decides."""

    target: str
    selected: bool
    findings: tuple[Finding, ...]
    poll: Forecast


@dataclass(frozen=True, slots=True)
class Explanation:
    """`findings`: what holds for the version, whatever the target."""

    version: ModelVersion
    findings: tuple[Finding, ...]
    targets: tuple[ForTarget, ...]


def step(topic: str, look: Callable[[], Finding]) -> Finding:
    """What `look` finds; where it fails, how. One step that fails hides no other."""
    try:
        return look()
    except Exception as error:
        _log.debug("%s", topic, exc_info=error)  # --debug shows it
        fault = as_ours(error)
        facts = {"error": type(fault).__name__, "exit_code": fault.exit_code, "retryable": fault.retryable}
        return Finding(topic, "problem", fault.line, facts, stops=True)
