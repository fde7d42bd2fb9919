"""An explanation as lines for people."""

from __future__ import annotations

from typing import TextIO

from publisher.explain import Explanation, Finding, Forecast
from publisher.terminal import Paper

_POLL = {
    "ignore": "does not see it",
    "skip": "leaves it",
    "tag": "brings its extra tags up to date",
    "publish": "publishes it",
    "fail": "tries it, and fails",
}


def forecast(poll: Forecast) -> str:
    """What the next poll does, and why."""
    return f"next poll: {_POLL[poll.action]}: {poll.reason}"


def print_explanation(found: Explanation, stream: TextIO) -> None:
    """A block for the version and one for each target; each ends with what the next poll does."""
    paper = Paper(stream)
    paper.line(f"{found.version}")
    for finding in found.findings:
        _line(paper, finding)
    for each in found.targets:
        paper.line("")
        paper.line(f"{found.version} → {each.target}")
        for finding in each.findings:
            _line(paper, finding)
        paper.line(f"  {forecast(each.poll)}")


def _line(paper: Paper, finding: Finding) -> None:
    if finding.level == "problem":
        paper.line(f"  {finding.topic}:", "problem", finding.text)
    else:
        paper.line(f"  {finding.topic}: {finding.text}")
