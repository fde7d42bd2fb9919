"""Values on their way into a text: a mark stands for each until it is known where it lands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field

from publisher.errors import TemplateError

OPEN, CLOSE = "\ue000", "\ue001"  # private use: no text for people has them
_MARK = re.compile(f"{OPEN}([0-9]+){CLOSE}")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")  # means itself in every file that is rendered here
_ODD = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control, format and line separating characters, broken surrogates
MAX_LENGTH = 8192  # characters; MLflow's tags have at most 5,000


@dataclass(slots=True)
class Values:
    """The values of one text, each behind a mark of its own."""

    _values: list[tuple[str, str]] = field(default_factory=list)  # what people know it by, value

    def mark(self, name: str, value: str) -> str:
        """What stands for `value` until `fill`; raises TemplateError for one that is safe nowhere."""
        if len(value) > MAX_LENGTH:
            raise TemplateError(f"{name} is longer than {MAX_LENGTH} characters")
        for character in value:
            if unicodedata.category(character) in _ODD or character in (OPEN, CLOSE):
                raise TemplateError(
                    f"{name} holds the control character U+{ord(character):04X}, which no file is given",
                    hint="correct the tag or the name in MLflow",
                )
        self._values.append((name, value))
        return f"{OPEN}{len(self._values) - 1}{CLOSE}"

    def fill(self, text: str, feed: Callable[[str], None], encode: Callable[[str, str], str]) -> str:
        """`text` with every mark replaced by what `encode(name, value)` makes of it there.

        `feed` hears the text between the marks, in order.
        """
        done: list[str] = []
        place = 0
        for found in _MARK.finditer(text):
            feed(text[place : found.start()])
            done += [text[place : found.start()], encode(*self._values[int(found[1])])]
            place = found.end()
        feed(text[place:])
        return "".join([*done, text[place:]])

    def placeholders(self, text: str) -> str:
        """`text` with a plain word for each value, to compare structures with."""
        return _MARK.sub("x", text)


def has_marks(text: str) -> bool:
    return OPEN in text or CLOSE in text


def is_plain(value: str) -> bool:
    """True where `value` is made of characters that mean themselves everywhere."""
    return bool(_PLAIN.fullmatch(value))


def only_plain(name: str, value: str, where: str) -> str:
    """`value` if it is plain; raises TemplateError that says where it would not be safe."""
    if is_plain(value):
        return value
    shown = value if len(value) <= 60 else value[:59] + "…"
    raise TemplateError(
        f"{name} is {shown!r}, which cannot be written safely {where}",
        hint="use letters, digits and . _ / : @ % + = , - in it, or put quotes around it in the template",
    )
