"""HTML for notebooks: every value escaped, every style in place, legible on a light page and on a dark one."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from publisher.terminal import amount, plain

# White on each of these is legible, and each is seen on white and on black.
_COLOURS = {
    "published": "#1a7f37",
    "failed": "#cf222e",
    "problem": "#cf222e",
    "publishing": "#0969da",
    "withdrawn": "#9a6700",
    "stopped": "#9a6700",
    "note": "#9a6700",
    "ok": "#1a7f37",
}
_GREY = "#6e7781"
_CELL = "text-align:left;vertical-align:top;padding:.35em .8em;border-top:1px solid rgba(128,128,128,.35)"
_CODE = "font-family:monospace;background:rgba(128,128,128,.14);padding:.1em .3em;user-select:all;overflow-wrap:anywhere"
_BOX = "color:inherit;background:transparent;font-size:.95em;max-width:100%;overflow-x:auto"


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one target. `sizes`: platform -> bytes to pull; `pull`: a command."""

    target: str
    state: str
    image: str = ""
    digest: str = ""
    sizes: Sequence[tuple[str, int]] = ()
    pull: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Moving:
    """What is under way. `share`: how much of it is done, None where nobody knows; `seconds`: since it began."""

    subject: str
    stage: str
    share: float | None
    moved: str
    seconds: float


def escaped(text: object) -> str:
    """Names, tags and reasons come from others: no markup, no control characters, no secret."""
    return html.escape(plain(str(text)), quote=True)


def publication(title: str, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """A table with a row for each target."""
    heads = ("target", "state", "image", "platforms", "")
    body = [
        (escaped(row.target), badge(row.state), _image(row), _sizes(row.sizes), escaped(row.about))
        for row in rows
    ]
    return _box(f"<b>{escaped(title)}</b>{_table(heads, body)}{_notes(notes)}")


def findings(title: str, blocks: Iterable[tuple[str, Sequence[tuple[str, str, str]], str]]) -> str:
    """Blocks of (topic, level, text), each with a head and a last line."""
    shown = []
    for head, found, end in blocks:
        body = [(escaped(topic), badge(level), escaped(text)) for topic, level, text in found]
        last = f"<div><b>{escaped(end)}</b></div>" if end else ""
        shown.append(f"<div style='margin-top:.6em'>{escaped(head)}</div>{_table((), body)}{last}")
    return _box(f"<b>{escaped(title)}</b>{''.join(shown)}")


def progress(rows: Sequence[Moving], notes: Sequence[str]) -> str:
    """A bar for each thing that is under way."""
    body = []
    for row in rows:
        share = "" if row.share is None else f" value='{100 * row.share:.0f}'"
        bar = f"<progress max='100'{share} style='width:12em'></progress>"
        body.append(
            (escaped(row.subject), escaped(row.stage), bar, escaped(row.moved), f"{row.seconds:.0f} s")
        )
    return _box(_table((), body) + _notes(notes))


def badge(state: str) -> str:
    colour = _COLOURS.get(state, _GREY)
    style = f"background:{colour};color:#fff;border-radius:.6em;padding:.05em .6em;white-space:nowrap"
    return f"<span style='{style}'>{escaped(state)}</span>"


def _image(row: Row) -> str:
    parts = [escaped(row.image)] if row.image else []
    parts += [f"<code style='{_CODE}'>{escaped(row.digest)}</code>"] if row.digest else []
    parts += [f"<code style='{_CODE}'>{escaped(row.pull)}</code>"] if row.pull else []
    return "<br>".join(parts)


def _sizes(sizes: Sequence[tuple[str, int]]) -> str:
    return "<br>".join(
        f"<span style='white-space:nowrap'>{escaped(platform)}{f', {amount(size)}' if size else ''}</span>"
        for platform, size in sizes
    )


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"<div style='opacity:.8'>{escaped(note)}</div>" for note in notes)


def _table(heads: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th style='{_CELL};border-top:0'>{escaped(each)}</th>" for each in heads)
    rows = ["".join(f"<td style='{_CELL}'>{cell}</td>" for cell in row) for row in body]
    style = "border-collapse:collapse;margin:.4em 0;color:inherit"
    # Jupyter draws rows of its own; a transparent one shows the page as it is.
    lines = "".join(f"<tr style='background:transparent'>{cells}</tr>" for cells in rows)
    return f"<table style='{style}'>{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{lines}</tbody></table>"


def _box(content: str) -> str:
    return f"<div style='{_BOX}'>{content}</div>"
