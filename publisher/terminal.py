"""What a person sees of results: lines with one coloured word, and nothing in them that a terminal obeys.

Plain text wherever the stream is no terminal, and rich, which takes a tenth of a second to import, is imported
for terminals only.
"""

from __future__ import annotations

from typing import Any, TextIO

from publisher.redaction import redacted

_STYLES = {
    "published": "green",
    "tagged": "green",
    "failed": "bold red",
    "skipped": "dim",
    "planned": "cyan",
    "publishing": "cyan",
    "stopped": "yellow",
    "withdrawn": "yellow",
    "problem": "bold red",
    "note": "yellow",
    "fail": "bold red",
    "warn": "yellow",
    "ok": "green",
    "not looked at": "yellow",
}
_UNITS = ("B", "kB", "MB", "GB", "TB")


def plain(text: str) -> str:
    """`text` on one line, with control, bidirectional and other invisible characters spelled out, and no secret.

    Names, tags and what servers say come from others: an escape sequence in them must not reach a terminal.
    """
    line = redacted(text).replace("\n", " ").replace("\t", " ")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def amount(size: int) -> str:
    """Bytes for people: ``12.3 MB``."""
    value, unit = float(size), 0
    while value >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


class Paper:
    """Lines with one coloured word, on a terminal or not: `line("m v3 → DEMO:", "failed", "the reason")`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console: Any = None
        if stream.isatty():
            from rich.console import Console  # noqa: PLC0415 - for terminals only

            self._console = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def line(self, before: str, word: str = "", after: str = "") -> None:
        parts = plain(before), plain(word), plain(after)
        if self._console is None:
            self._stream.write(f"{_joined(*parts)}\n")
            return
        from rich.text import Text  # noqa: PLC0415 - for terminals only

        text: Text = Text(_joined(*parts))
        start = len(parts[0]) + 1 if parts[0] else 0
        text.stylize(_STYLES.get(word, ""), start, start + len(parts[1]))
        self._console.print(text)


def _joined(before: str, word: str, after: str) -> str:
    return " ".join(part for part in (before, word) if part) + (f", {after}" if after else "")
