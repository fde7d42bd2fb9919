"""What became of versions, for people and for scripts: the result of every command that publishes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from publisher.domain import Outcome
from publisher.json_output import to_json
from publisher.progress import subject_of
from publisher.proofs import told
from publisher.terminal import Paper, amount


def show(outcomes: Sequence[Outcome], *, json: bool) -> None:
    if json:
        print(to_json({"outcomes": [outcome_json(each) for each in outcomes]}))
    else:
        print_outcomes(outcomes, sys.stdout)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "model": outcome.version.name,
        "version": outcome.version.version,
        "target": outcome.target,
        "state": outcome.state,
        "reason": outcome.reason,
        "image": outcome.image,
        "digest": outcome.digest,
        "tags": list(outcome.tags),
        "seconds": {stage: round(seconds, 3) for stage, seconds in outcome.seconds.items()},
        "sent": outcome.sent,
        "downloaded": outcome.downloaded,
        "exit_code": outcome.exit_code,
        "detail": outcome.detail,
        "proof": [
            {
                "check": proof.check,
                "platform": str(proof.platform),
                "state": proof.state,
                "reason": proof.reason,
            }
            for proof in outcome.proof
        ],
    }


def print_outcomes(outcomes: Sequence[Outcome], stream: TextIO) -> None:
    """A line that sums up, then a line for each version and target, with what a tool said that failed below it."""
    paper = Paper(stream)
    paper.line(_summary(outcomes))
    for outcome in outcomes:
        paper.line(f"{subject_of(outcome.version, outcome.target)}:", outcome.state, _about(outcome))
        if outcome.proof:
            paper.line(f"  proven: {told(outcome.proof)}")
        for line in outcome.detail.splitlines():
            paper.line(f"  {line}")


def _summary(outcomes: Sequence[Outcome]) -> str:
    versions = len({(o.version.name, o.version.version) for o in outcomes})
    if not outcomes:
        return "nothing to do: no model version carries the tag of a target"
    if all(outcome.state == "skipped" for outcome in outcomes):
        return f"nothing to do: {versions} version{'s' if versions > 1 else ''}"
    states = [outcome.state for outcome in outcomes]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _about(outcome: Outcome) -> str:
    image = f"{outcome.image}@{outcome.digest}" if outcome.image and outcome.digest else outcome.image
    if outcome.state in ("failed", "skipped", "stopped"):
        return outcome.reason
    parts = [image] if image else []
    if outcome.state in ("planned", "tagged") or not image:
        parts.append(outcome.reason)
    if outcome.seconds:
        # "build: download" is a part of "build".
        stages = {stage: seconds for stage, seconds in outcome.seconds.items() if ": " not in stage}
        shown = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in stages.items())
        parts.append(f"{sum(stages.values()):.1f} s ({shown})")
    if outcome.state == "published" and outcome.tags:
        parts.append(f"also {', '.join(outcome.tags)}")
    if outcome.state == "published":
        parts.append(f"sent {amount(outcome.sent)}")
    if outcome.downloaded:
        parts.append(f"downloaded {amount(outcome.downloaded)}")
    return ", ".join(parts)
