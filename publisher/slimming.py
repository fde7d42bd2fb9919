"""The forms that an image may have, the slimmest first: the first one that the checks let pass goes out.

With mlflow-skinny only where a prediction was replayed and is right: what nobody can look at keeps the whole mlflow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from publisher.builders.base import Builder
from publisher.checks.verdict import sentence
from publisher.domain import ImageSpec
from publisher.proving import Proven

Level = Literal["packages", "files", "whole"]
FILES = "files that serving never needs are left out"
PACKAGES = "mlflow-skinny is in mlflow's place"
_NAMES = {"packages": "mlflow-skinny", "files": "leaving out files"}


@dataclass(frozen=True, slots=True)
class Form:
    """One form of an image. `slim`: what of it is left out and what is not, for people; empty where nobody asked."""

    level: Level
    spec: ImageSpec
    builder: Builder
    slim: str = ""


@dataclass(slots=True)
class Choice:
    """Which form goes out. `note` hears of each that does not."""

    note: Callable[[str], None]
    said: str = ""  # what is left out of the form that goes out, and why not more; empty where nobody asked
    _tried: list[str] = field(default_factory=list)

    def falls_on(self, form: Form, proven: Sequence[Proven]) -> bool:
        """Whether `form`, of which the checks say `proven`, is the one. What is whole has no other to give way to."""
        if fault := _fault(form, proven):
            self._tried.append(f"{_NAMES[form.level]} was tried, and {fault}")
            self.note(self._tried[-1])
            return False
        if form.slim:
            self.said = "; ".join((f"slim: {form.slim}", *self._tried))
        return True


def _fault(form: Form, proven: Sequence[Proven]) -> str:
    if form.level == "whole":
        return ""
    for each in proven:
        if each.verdict.state == "failed":
            what = sentence(each.verdict.findings) if each.verdict.findings else each.verdict.reason
            return f"its {each.verdict.check} failed for {each.platform}: {what}"
    predictions = [each.verdict for each in proven if each.verdict.check == "prediction"]
    if form.level == "files" or any(verdict.state == "ok" for verdict in predictions):
        return ""
    return f"no prediction was proven{f' ({predictions[0].reason})' if predictions else ''}"
