"""What a check says of an image: whether it may go out, why, and what to do where it may not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "failed", "not looked at"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`path`: absolute in the image, empty where it is about the image or a layer as a whole; `layer`: the digest
    of the layer that the file came with; `text`: what is so; `remedy`: what to do."""

    path: str
    layer: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one check on the image of one platform. `notes` look like faults, and are none; their text tells why."""

    check: str
    state: State
    reason: str
    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


def grouped(findings: Iterable[Finding]) -> list[tuple[Finding, list[str]]]:
    """Findings that say the same, once: with the paths of all, in their order."""
    groups: dict[tuple[str, str], tuple[Finding, list[str]]] = {}
    for finding in findings:
        paths = groups.setdefault((finding.text, finding.remedy), (finding, []))[1]
        if finding.path:
            paths.append(finding.path)
    return list(groups.values())


def sentence(findings: Iterable[Finding]) -> str:
    """All of them in one line: the first with its file, and how many more there are."""
    groups = grouped(findings)
    first, paths = groups[0]
    also = f" (and {len(paths) - 1} more files)" if len(paths) > 1 else ""
    more = f"; {len(groups) - 1} more faults" if len(groups) > 1 else ""
    return f"{paths[0]}{also} {first.text}{more}" if paths else f"{first.text}{more}"
