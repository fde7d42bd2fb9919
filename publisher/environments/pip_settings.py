"""pip's settings of package indexes as uv's: PIP_* variables, then pip.conf. What uv's own say goes before."""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path

_UV = {  # pip's option -> uv's variable, and what separates several values there
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", " "),
    "no-index": ("UV_NO_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "cert": ("SSL_CERT_FILE", " "),
}
# Where uv's own variable says it already. An option of pip is not mixed with those of uv.
_SAID = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
}
_OF_INDEXES = ("index-url", "extra-index-url", "no-index", "find-links")


def as_uv(environ: Mapping[str, str], *, indexes: bool = True) -> dict[str, str]:
    """The variables of uv that pip's settings amount to; without `indexes`, only the others."""
    found = {}
    configured = _configuration(environ)
    for option, (variable, separator) in _UV.items():
        said = any(environ.get(name) for name in _SAID.get(option, (variable,)))
        value = environ.get(f"PIP_{option.upper().replace('-', '_')}") or configured.get(option, "")
        if said or not value.strip() or (option in _OF_INDEXES and not indexes):
            continue
        if option == "no-index":
            value = "1" if is_true(value) else ""
        if option == "find-links":
            value = separator.join(_place(each) for each in value.split())
        if value:
            found[variable] = separator.join(value.split())
    return found


def is_true(text: str) -> bool:
    """As pip and uv read a variable that is a switch."""
    return text.strip().lower() in ("1", "true", "yes", "on", "y", "t")


def _place(text: str) -> str:
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """[global] and [install] of pip's files, the nearest last (pip.pypa.io, "Configuration")."""
    named = environ.get("PIP_CONFIG_FILE", "")
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    xdg = Path(environ.get("XDG_CONFIG_HOME") or (home / ".config" if home else "/nonexistent"))
    files = [Path("/etc/pip.conf"), *([home / ".pip" / "pip.conf"] if home else []), xdg / "pip" / "pip.conf"]
    found: dict[str, str] = {}
    for path in [*([] if named == "/dev/null" else files), *([Path(named)] if named else [])]:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in ("global", "install"):
            if parser.has_section(section):
                found |= {key.replace("_", "-"): value for key, value in parser.items(section)}
    return found
