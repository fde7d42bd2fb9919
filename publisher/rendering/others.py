"""Where a value lands in files of other kinds: JSON, YAML, Python, and plain text."""

from __future__ import annotations

import io
import json
import re
import tokenize
from dataclasses import dataclass

from publisher.rendering.values import CLOSE, OPEN, Values, is_plain, only_plain

_BARE_YAML = re.compile(r"[A-Za-z0-9_./+][A-Za-z0-9_./+-]*")
_BARE_PYTHON = re.compile(r"[A-Za-z0-9_.]+")


@dataclass(slots=True)
class Text:
    """No syntax that we know of: a value stays what it is."""

    def feed(self, text: str) -> None:
        """Nothing before it makes a difference."""

    def encode(self, name: str, value: str) -> str:
        return value


@dataclass(slots=True)
class Plain:
    """A syntax that is not looked into: plain values only."""

    def feed(self, text: str) -> None:
        """Nothing before it makes a difference."""

    def encode(self, name: str, value: str) -> str:
        return only_plain(name, value, "in a file of this kind")


@dataclass(slots=True)
class Json:
    """Within a string, or as a plain word. `within`: whether what was read ends inside a string."""

    within: bool = False
    _escaped: bool = False

    def feed(self, text: str) -> None:
        for c in text:
            if self._escaped:
                self._escaped = False
            elif self.within and c == "\\":
                self._escaped = True
            elif c == '"':
                self.within = not self.within

    def encode(self, name: str, value: str) -> str:
        if self.within:
            return json.dumps(value, ensure_ascii=False)[1:-1]
        if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?|true|false|null", value):
            return value
        return json.dumps(value, ensure_ascii=False)


class Yaml:
    """Within quotes that end on their line, or as a plain word. Beside block scalars, only plain values are taken."""

    def __init__(self, text: str) -> None:
        self._sure = not re.search(r"[|>][-+0-9]*[ \t]*(#.*)?$", text, re.MULTILINE)
        self._quote = ""
        self._comment = self._escaped = False
        self._last = "\n"

    def feed(self, text: str) -> None:
        for c in text:
            self._next(c)
            self._last = c

    def _next(self, c: str) -> None:
        if c == "\n":
            self._sure = self._sure and not self._quote
            self._comment = self._escaped = False
        elif self._escaped:
            self._escaped = False
        elif self._quote:
            self._escaped = c == "\\" and self._quote == '"'
            self._quote = "" if c == self._quote else self._quote
        elif c == "#" and self._last in " \t\n":
            self._comment = True
        elif c in "\"'" and self._last in " \t\n[{,:-" and not self._comment:
            self._quote = c

    def encode(self, name: str, value: str) -> str:
        self._last = "x"
        if self._comment or _BARE_YAML.fullmatch(value):
            return value
        if self._sure and self._quote == '"':
            return json.dumps(value)[1:-1]
        if self._sure and self._quote:
            return value.replace("'", "''")
        return only_plain(name, _flagged(value), "in YAML, outside quotes")


def _flagged(value: str) -> str:
    """A value whose characters are plain elsewhere, and not as a bare word of YAML (a comma, a colon)."""
    return f"{value} " if is_plain(value) else value


def python(text: str, values: Values) -> str:
    """A Python file: within string literals, or as a plain name or number."""
    literals = _literals(text)
    place = 0

    def feed(piece: str) -> None:
        nonlocal place
        place += len(piece)

    def encode(name: str, value: str) -> str:
        nonlocal place
        kind = literals.get(place)
        place += text.index(CLOSE, place) - place + 1
        if kind == "text":
            return value.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
        if kind == "comment":
            return value
        if _BARE_PYTHON.fullmatch(value) or (kind == "odd" and is_plain(value)):
            return value
        return only_plain(name, _flagged(value), "in Python, outside a plain string")

    return values.fill(text, feed, encode)


def _literals(text: str) -> dict[int, str]:
    """For the position of each mark within a literal or comment: text, odd (raw, bytes, formatted) or comment."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found: dict[int, str] = {}
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type not in (tokenize.STRING, tokenize.COMMENT) or OPEN not in token.string:
                continue
            prefix = token.string[: len(token.string) - len(token.string.lstrip("rRbBfFuU"))]
            literal = "odd" if set(prefix.lower()) - {"u"} else "text"
            kind = "comment" if token.type == tokenize.COMMENT else literal
            begin = starts[token.start[0] - 1] + token.start[1]
            for mark in re.finditer(OPEN, token.string):
                found[begin + mark.start()] = kind
    except (tokenize.TokenError, SyntaxError, IndentationError):
        pass  # what was not reached counts as bare: only plain values are taken there
    return found
