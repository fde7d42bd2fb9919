"""uv's own configuration files: the indexes that a site names there, and one that we write for a single run."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FRESH = 600  # seconds that a page of an index may be old
_KEYS = ("index", "index-url", "extra-index-url", "no-index")


def indexes(environ: Mapping[str, str]) -> list[tuple[str, str]] | None:
    """(name or "", URL) of the indexes of uv's files; None where no file speaks of indexes.

    UV_CONFIG_FILE alone, else the user's and the system's (docs.astral.sh/uv, "Configuration files").
    """
    found: list[tuple[str, str]] = []
    spoken = False
    for path in _files(environ):
        try:
            document: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        for table in (document, document.get("pip")):
            if isinstance(table, dict) and any(key in table for key in _KEYS):
                spoken = True
                found += _of(table)
    return found if spoken else None


def for_one_run(named: Iterable[tuple[str, str]]) -> str:
    """A uv.toml with these indexes, (name or "", URL), the last one as the default.

    Their pages are good for ten minutes, as PyPI says of its own; a mirror or a private index often says nothing,
    and then uv asks for each page again for each platform and version. What PyPI says of a file never changes.
    """
    entries, lines = list(named), []
    for number, (name, url) in enumerate(entries, 1):
        files = ', files = "max-age=31536000, immutable"' if url.startswith("https://pypi.org/") else ""
        lines += [
            "[[index]]",
            f"url = {json.dumps(url)}",
            f'cache-control = {{ api = "max-age={FRESH}"{files} }}',
        ]
        lines += [f"name = {json.dumps(name)}"] if name else []
        lines += ["default = true"] if number == len(entries) else []
    return "\n".join([*lines, ""])


def _files(environ: Mapping[str, str]) -> list[Path]:
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    if environ.get("UV_NO_CONFIG"):
        return []
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    folders = [Path(home), Path("/etc/xdg"), Path("/etc")] if home else [Path("/etc/xdg"), Path("/etc")]
    return [folder / "uv" / "uv.toml" for folder in folders]


def _of(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    entries = table.get("index")
    found = [
        (str(entry.get("name") or ""), str(entry["url"]))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, dict) and "url" in entry
    ]
    more = table.get("extra-index-url")
    found += [("", str(url)) for url in (more if isinstance(more, list) else [])]
    return found + ([("", str(table["index-url"]))] if "index-url" in table else [])
