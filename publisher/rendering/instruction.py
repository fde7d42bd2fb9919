"""The places of one Dockerfile instruction that a value may land in: how it is written there, or refused."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from publisher.errors import TemplateError
from publisher.rendering import others
from publisher.rendering.shell import Shell
from publisher.rendering.values import is_plain, only_plain

WORD = re.compile(r"\s*([A-Za-z]+)(\s+|$)")
_FLAG = re.compile(r"\s*--[a-z]+(=\S*)?(?=\s|$)")


def arguments(text: str) -> str:
    """An instruction without its keyword and flags."""
    rest = text[(WORD.match(text) or re.match("", text)).end() :]  # type: ignore[union-attr]
    while flag := _FLAG.match(rest):
        rest = rest[flag.end() :]
    return rest


@dataclass(slots=True)
class Plain:
    """Words that no quotes protect: ADD, COPY, FROM, WORKDIR, comments and here-documents."""

    where: str

    def feed(self, text: str) -> None:
        """Nothing before it makes a difference."""

    def encode(self, name: str, value: str) -> str:
        if value.startswith("-"):
            raise TemplateError(f"{name} is {value[:60]!r}, which looks like a flag {self.where}")
        return only_plain(name, value, self.where)


class Json:
    """The exec form: a JSON list, in which no variable is expanded."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._list = others.Json()
        self.feed = self._list.feed

    def encode(self, name: str, value: str) -> str:
        return json.dumps(value)[1:-1] if self._list.within else only_plain(name, value, self._where)


class _Lines:
    """What Docker leaves of an instruction's lines: comment lines between them are dropped before anybody reads on."""

    def __init__(self) -> None:
        self.comment = False
        self._begin: str | None = (
            None  # the blanks at the begin of a line; None within one; the first line is none
        )

    def feed(self, text: str) -> str:
        kept = []
        for c in text:
            if c == "\n":
                self.comment, self._begin = False, ""
            elif self._begin is not None and not c.isspace():
                self.comment, self._begin = c == "#", None
            if not self.comment:
                kept.append(c)
        return "".join(kept)

    def value(self) -> None:
        """A value stands here: its line is no comment line from here on."""
        self._begin = None


class Command:
    """The shell form. Flags before the command (``--mount=…``) take plain values only."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lines = _Lines()
        self._shell = Shell(where)
        self._head = ""  # what stands before the command
        self._begun = False

    def feed(self, text: str) -> None:
        text = self._lines.feed(text)
        if self._begun:
            self._shell.feed(text)
            return
        self._head += text
        rest = arguments(self._head)
        if rest.strip() and not rest.lstrip().startswith("--"):
            self._begun = True
            self._shell.feed(rest)

    def encode(self, name: str, value: str) -> str:
        if self._lines.comment:
            return value
        self._lines.value()
        if self._begun or re.fullmatch(r"\s*[A-Za-z]+\s+", self._head):
            self._begun = True
            return self._shell.encode(name, value)
        self._head += value
        return only_plain(name, value, self._where)


class Pairs:
    """``key=value`` words, whose quotes and backslashes BuildKit reads itself, and in which $ is expanded."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lines = _Lines()
        self._quote = self._word = ""
        self._escaped = False

    def feed(self, text: str) -> None:
        for c in self._lines.feed(text):
            if self._escaped:
                self._escaped = False
                self._word += "" if c == "\n" else c
            elif c == "\\" and self._quote != "'":
                self._escaped = True
            elif self._quote:
                self._quote = "" if c == self._quote else self._quote
                self._word += c
            elif c in "\"'":
                self._quote = c
                self._word += c
            else:
                self._word = "" if c.isspace() else self._word + c

    def encode(self, name: str, value: str) -> str:
        if self._lines.comment:
            return value
        self._lines.value()
        if is_plain(value):
            self._word += value
            return value
        if not re.match(r"[\w.-]+=", self._word) or (self._quote == "'" and "'" in value):
            return only_plain(name, value, self._where)
        self._word += "x"
        if self._quote == "'":
            return value
        unsafe = r'(["\\$])' if self._quote else r"([^A-Za-z0-9_./:@%+=,-])"
        return re.sub(unsafe, r"\\\1", value)
