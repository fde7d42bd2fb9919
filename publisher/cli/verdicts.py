"""What checks say of an image, for people and as JSON: the same wherever it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from publisher.terminal import Paper

if TYPE_CHECKING:
    from publisher.checks.verdict import Finding, Verdict

_SHOWN = 3  # paths of one finding


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "check": verdict.check,
        "state": verdict.state,
        "reason": verdict.reason,
        "findings": [_finding_json(finding) for finding in verdict.findings],
        "notes": [_finding_json(note) for note in verdict.notes],
    }


def _finding_json(finding: Finding) -> dict[str, str]:
    return {
        "path": finding.path,
        "layer": finding.layer,
        "text": finding.text,
        "remedy": finding.remedy,
    }


def print_verdict(verdict: Verdict, paper: Paper) -> None:
    """A line, and one for each finding and note, with the first of the files that it is about."""
    from publisher.checks.verdict import grouped

    reason = verdict.reason
    if verdict.state == "failed" and len(verdict.findings) > 1:
        reason = f"{len(verdict.findings)} findings"
    elif verdict.state == "failed" and verdict.findings:
        reason = "1 finding"
    paper.line(f"  {verdict.check}:", verdict.state, reason)
    for finding, paths in grouped(verdict.findings):
        paper.line(f"    {_files(paths)}{finding.text}. {finding.remedy}")
    for note, paths in grouped(verdict.notes):
        paper.line("   ", "note", f"{_files(paths)}{note.text}")


def _files(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(paths[:_SHOWN])}{more}: " if paths else ""
