"""Where a value lands in a Dockerfile, instruction by instruction (Dockerfile reference, "Format").

A value never adds an instruction, a word, a flag or an expansion: what cannot be written so is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

from publisher.errors import TemplateError
from publisher.rendering.instruction import WORD, Command, Json, Pairs, Plain, arguments
from publisher.rendering.others import Text
from publisher.rendering.values import Values, has_marks

_DIRECTIVE = re.compile(r"\s*#\s*[A-Za-z]+\s*=")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*(\S)", re.IGNORECASE)
_DOCUMENT = re.compile(r"<<-?\s*([\"']?)([A-Za-z_][A-Za-z0-9_]*)\1")
_COMMENTS = re.compile(r"^\s*#.*\n", re.MULTILINE)  # between continued lines
_SYNTAX = re.compile(r"#\s*syntax\s*=\s*(\S+)", re.IGNORECASE)
_FROM = re.compile(r"--(?:mount=\S*?\b)?from=([^\s,]+)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")
_COMMANDS = ("RUN", "CMD", "ENTRYPOINT", "SHELL")
_PAIRS = ("ENV", "LABEL", "ARG")


@dataclass(frozen=True, slots=True)
class Instruction:
    """`text` as it stands, with its continuation lines; `keyword` in capitals, empty for comments and blank lines."""

    keyword: str
    text: str
    line: int
    document: bool = False  # it has a here-document


def instructions(text: str) -> Iterator[Instruction]:
    """The instructions of a Dockerfile, comments and blank lines among them: joined they are `text` again."""
    escape = _escape(text)
    lines = text.splitlines(keepends=True)
    number = 0
    while number < len(lines):
        begin, first = number, lines[number]
        number += 1
        if not first.strip() or first.lstrip().startswith("#"):
            yield Instruction("", first, begin + 1)
            continue
        parts, goes_on = [first], _continues(first, escape)
        while goes_on and number < len(lines):
            line = lines[number]
            parts.append(line)
            number += 1
            if line.strip() and not line.lstrip().startswith("#"):
                goes_on = _continues(line, escape)
        keyword = (WORD.match(first) or ["", first.split()[0]])[1].upper()
        ends = [m[2] for m in _DOCUMENT.finditer("".join(parts))] if keyword in ("RUN", "COPY", "ADD") else []
        for end in ends:
            while number < len(lines):
                parts.append(lines[number])
                number += 1
                if parts[-1].strip() == end:
                    break
        yield Instruction(keyword, "".join(parts), begin + 1, bool(ends))


def images(text: str) -> tuple[str, ...]:
    """The images that a Dockerfile is built from, as it names them: FROM, ``--from``, and its syntax directive.

    Variables get the default of an ARG before the first FROM; what stays unknown is left out.
    """
    directives = takewhile(_DIRECTIVE.match, text.splitlines())
    found = [m[1] for line in directives if (m := _SYNTAX.match(line.strip()))]
    stages, arguments_ = {"scratch"}, {}
    for number, each in enumerate(instructions(text)):
        words = _COMMENTS.sub("", arguments(each.text)).replace(f"{_escape(text)}\n", " ").split()
        if each.keyword == "ARG" and len(stages) == 1:
            for word in words:
                name, _, value = word.partition("=")
                arguments_[name] = value.strip("\"'")
        elif each.keyword == "FROM":
            plain = [word for word in words if not word.startswith("--")]
            if plain and plain[0].lower() not in stages:
                found.append(_known(plain[0], arguments_))
            stages.add(plain[2].lower() if len(plain) > 2 else f" {number}")
        elif each.keyword in ("COPY", "ADD", "RUN"):
            names = _FROM.findall(each.text)
            found += [
                _known(name, arguments_)
                for name in names
                if name.lower() not in stages and not name.isdigit()
            ]
    return tuple(dict.fromkeys(filter(None, found)))


def _known(name: str, arguments_: dict[str, str]) -> str:
    """`name` with its variables replaced; empty where one is not known."""
    filled = _VARIABLE.sub(lambda m: arguments_.get(m[1] or m[3]) or m[2] or "$", name)
    return "" if "$" in filled else filled


def fill(text: str, values: Values) -> str:
    """`text` with its values in their places; raises TemplateError."""
    odd = _escape(text) != "\\"
    done = []
    for each in instructions(text):
        odd = odd or each.keyword == "SHELL"  # from here on commands are read by anything
        if has_marks(each.text):
            place = Plain(f"in line {each.line}, {each.keyword or 'a comment'}") if odd else _place(each)
            done.append(values.fill(each.text, place.feed, place.encode))
        else:
            done.append(each.text)
    filled = "".join(done)
    _compare(filled, values.placeholders(text))
    return filled


def _compare(filled: str, plain: str) -> None:
    """The last line of defence: what was filled in has the instructions of what the template says."""
    ours, theirs = list(instructions(filled)), list(instructions(plain))
    same = len(ours) == len(theirs) and all(
        (a.keyword, a.line, a.document, _length(a), a.text.count("\n"), bool(_DIRECTIVE.match(a.text)))
        == (b.keyword, b.line, b.document, _length(b), b.text.count("\n"), bool(_DIRECTIVE.match(b.text)))
        for a, b in zip(ours, theirs, strict=True)
    )
    if not same:
        raise TemplateError("a value would change which instructions the Dockerfile has")


def _length(instruction: Instruction) -> int | None:
    """How many words the exec form of a command has; None for the shell form."""
    try:
        found = json.loads(arguments(instruction.text))
    except ValueError:
        return None
    return len(found) if isinstance(found, list) and instruction.keyword in _COMMANDS else None


def _escape(text: str) -> str:
    """The escape character: a directive may name another, before anything but directives."""
    for line in text.splitlines():
        if not _DIRECTIVE.match(line):
            return "\\"
        if found := _ESCAPE.match(line.strip()):
            return found[1]
    return "\\"


def _continues(line: str, escape: str) -> bool:
    return line.rstrip().endswith(escape)


def _place(instruction: Instruction) -> Plain | Json | Pairs | Command | Text:
    where = f"in line {instruction.line}, {instruction.keyword or 'a comment'}"
    if instruction.keyword in _COMMANDS and not instruction.document:
        if arguments(instruction.text).lstrip().startswith("["):
            return Json(where)
        return Command(where)
    if instruction.keyword in _PAIRS:
        return Pairs(where)
    if not instruction.keyword and not _DIRECTIVE.match(instruction.text):
        return Text()
    return Plain(where)
