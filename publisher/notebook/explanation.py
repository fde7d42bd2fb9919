"""An explanation as a notebook shows it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from publisher.explain import Explanation
from publisher.explained import forecast, print_explanation
from publisher.notebook import views


@dataclass(frozen=True, slots=True)
class Explained:
    """`explanation` has every finding with its facts."""

    explanation: Explanation

    def __str__(self) -> str:
        stream = io.StringIO()
        print_explanation(self.explanation, stream)
        return stream.getvalue().rstrip("\n")

    __repr__ = __str__

    def _repr_html_(self) -> str:
        found = self.explanation
        of_version = ("", [(f.topic, f.level, f.text) for f in found.findings], "")
        of_targets = [
            (f"→ {each.target}", [(f.topic, f.level, f.text) for f in each.findings], forecast(each.poll))
            for each in found.targets
        ]
        return views.findings(str(found.version), [of_version, *of_targets])
