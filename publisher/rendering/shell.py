"""Where a value lands in a shell script: bare, within quotes, or where nobody can be sure."""

from __future__ import annotations

import re
import shlex

from publisher.errors import TemplateError
from publisher.rendering.values import is_plain, only_plain

_SPECIAL = re.compile(r'([\\"$`])')
# Words after which another interpreter reads what follows: quoting for this one does not hold there.
_INTERPRETS = re.compile(r"eval|xargs|ssh|su|-[A-Za-z]*c")


class Shell:
    """Reads a script from its begin and knows the quoting at its place (POSIX shell, 2.2 and 2.3).

    Within ``${…}``, arithmetic, backquotes, where another interpreter reads on (``sh -c``), and after a here-document
    or a ``case``, whose parentheses have no pair, only plain values are taken.
    """

    def __init__(self, where: str = "in this script") -> None:
        self._where = where
        self._stack: list[str] = []  # the states around a "$(" or "("
        self._state = "bare"  # or double, single, comment, braces, arithmetic, backquotes, document
        self._escaped = False
        self._start = True  # at the begin of a word
        self._last = ""
        self._word = ""  # what of the word is bare
        self._passed_on = False  # to another interpreter, until the command ends

    def feed(self, text: str) -> None:
        for character in text:
            self._next(character)

    def encode(self, name: str, value: str) -> str:
        state, start = self._state, self._start
        self._escaped, self._start, self._last = False, False, "x"
        if start and value.startswith("-") and state in ("bare", "double", "single"):
            raise TemplateError(
                f"{name} is {value[:60]!r}, which a command would take for an option {self._where}",
                hint="put something before it in the template, such as ./",
            )
        self._word += "x"
        if is_plain(value) or state == "comment":
            return value
        if self._passed_on:
            return only_plain(name, value, f"{self._where}: another program would read it as code")
        if state == "bare":
            return shlex.quote(value)
        if state == "double":
            return _SPECIAL.sub(r"\\\1", value)
        if state == "single":
            return value.replace("'", "'\\''")
        return only_plain(name, value, self._where)

    def _next(self, c: str) -> None:
        last, self._last = self._last, c
        if self._escaped:
            self._escaped, self._start = False, self._start and c == "\n"
            return
        handler = {
            "bare": self._bare,
            "double": self._double,
            "single": self._single,
            "comment": self._comment,
            "braces": self._braces,
            "arithmetic": self._arithmetic,
            "backquotes": self._backquotes,
        }.get(self._state)
        if handler:
            handler(c, last)

    def _enter(self, state: str) -> None:
        self._stack.append(self._state)
        self._state = state

    def _leave(self) -> None:
        self._state = self._stack.pop() if self._stack else "bare"

    def _expansion(self, c: str, last: str) -> bool:
        """Whether `c` begins something that is expanded: ``${``, ``$(``, ``$((`` or a backquote."""
        if c == "`":
            self._enter("backquotes")
        elif last == "$" and c == "{":
            self._enter("braces")
        elif last == "$" and c == "(":
            self._enter("bare")
            self._start, self._last = True, "$("
        elif last == "$(" and c == "(" and self._state == "bare":
            self._state = "arithmetic"
        elif c == "\\":
            self._escaped = True
        else:
            return False
        return True

    def _bare(self, c: str, last: str) -> None:
        if c in " \t\n;|&<>()":
            if self._word == "case":
                self._state = "document"
                return
            self._passed_on = c not in "\n;|&" and (
                self._passed_on or bool(_INTERPRETS.fullmatch(self._word))
            )
            self._word = ""
        elif c not in "'\"":
            self._word += c
        if self._expansion(c, last):
            return
        if c in "'\"":
            self._state_within(c)
        elif c == "#" and self._start:
            self._enter("comment")
        elif c == "<" and last == "<":
            # Of a here-string, which has a third one, no more is certain than of a here-document.
            self._state = "document"
        elif c == "(":
            self._enter("bare")
            self._start = True
        elif c == ")":
            if self._stack:
                self._leave()
            self._start = self._state == "bare"
        else:
            self._start = c in " \t\n;|&<>"

    def _state_within(self, quote: str) -> None:
        self._enter("single" if quote == "'" else "double")

    def _double(self, c: str, last: str) -> None:
        if c == '"':
            self._leave()
        elif not self._expansion(c, last):
            self._start = False

    def _single(self, c: str, last: str) -> None:
        if c == "'":
            self._leave()
        else:
            self._start = False

    def _comment(self, c: str, last: str) -> None:
        if c == "\n":
            self._leave()
            self._start = True

    def _braces(self, c: str, last: str) -> None:
        if c == "{" and last == "$":
            self._enter("braces")
        elif c == "}":
            self._leave()
            self._start = False

    def _arithmetic(self, c: str, last: str) -> None:
        if c == ")" and last == ")":
            self._leave()
            self._start = False

    def _backquotes(self, c: str, last: str) -> None:
        if c == "`":
            self._leave()
            self._start = False
        elif c == "\\":
            self._escaped = True
