"""Requirements that name a file instead of a version: a wheel at a URL, or one inside the model's folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from publisher.errors import RequirementsError
from publisher.paths import is_relative

LOCAL = "local"  # the folder beside the resolver's input where the model's own wheels appear
_NAMED = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(\[[^\]]*\])?\s*@\s*(\S.*)")
_FILE = re.compile(r"[^\s;]*\.(whl|zip|tar\.gz|tgz|tar\.bz2)(\[[^\]]*\])?(#\S*)?(\s*;.*)?", re.IGNORECASE)
_PLACE = re.compile(r"([a-z][a-z0-9+.-]*:|\.{1,2}(/|$)|/|~)", re.IGNORECASE)
_WHEEL_HINT = "Log a wheel of it with the model and name that: ./code/my_package-1.0-py3-none-any.whl."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a line stands."""

    folder: Path
    name: str
    number: int

    def __str__(self) -> str:
        return f"{self.name}, line {self.number}"


def is_direct(line: str) -> bool:
    """Whether a requirement line names a file, a folder or a URL."""
    return bool(_NAMED.fullmatch(line) or _PLACE.match(line) or _FILE.fullmatch(line))


def direct(origin: Origin, line: str) -> tuple[str, str, str]:
    """(requirement, path of the wheel inside the model or "", hex SHA-256 that the line pins or "").

    A wheel of the model is required as ``name @ ./local/<path>``. Raises RequirementsError with file and line
    for what is no wheel, what leaves the model's folder, and what comes over plain HTTP without a hash.
    """
    named = _NAMED.fullmatch(line)
    name, extras, rest = (named[1], named[2] or "", named[3]) if named else ("", "", line)
    place, _, marker = (part.strip() for part in re.sub(r"\s;|;\s", " ;; ", rest).partition(" ;; "))
    if not named and (bracket := re.fullmatch(r"(.*)(\[[^\]/]*\])", place)):
        place, extras = bracket[1], bracket[2]
    place, _, fragment = place.partition("#")
    _check_place(origin, name, place)
    filename = unquote(urlsplit(place).path).rpartition("/")[2]
    try:
        found = parse_wheel_filename(filename)[0]
    except InvalidWheelFilename:
        raise RequirementsError(
            f"{origin}: {filename or place[:80]!r} is no wheel, and nothing else is taken from a file or URL",
            hint=_WHEEL_HINT,
        ) from None
    digest = re.search(r"(?:^|&)sha256=([0-9a-f]{64})(?:&|$)", fragment)
    path = ""
    if urlsplit(place).scheme in ("http", "https"):
        if urlsplit(place).scheme == "http" and not digest:
            raise RequirementsError(
                f"{origin}: {filename} would come over plain HTTP, where anybody on the way can change it",
                hint="Use https://, or pin its hash: …whl#sha256=….",
            )
        url = place
    else:
        path = _inside(origin, place)
        url = f"./{LOCAL}/{path}"
    text = f"{name or found}{extras} @ {url}" + (f" ; {marker}" if marker else "")
    try:
        return str(Requirement(text)), path, digest[1] if digest else ""
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise RequirementsError(f"{origin}: {filename} is not a requirement: {reason}") from error


def _check_place(origin: Origin, name: str, place: str) -> None:
    parts = urlsplit(place)
    if "@" in parts.netloc:
        raise RequirementsError(
            f"{origin}: the URL of {name or 'a wheel'} holds credentials, which everybody who sees the model can read",
            hint="Withdraw them, and give them to publisher alone: UV_INDEX_<NAME>_USERNAME, or netrc.",
        )
    if "+" in parts.scheme:
        raise RequirementsError(
            f"{origin}: {name or place[:80]} comes from version control, where it would have to be built",
            hint=_WHEEL_HINT,
        )
    if parts.scheme not in ("", "http", "https", "file"):
        raise RequirementsError(f"{origin}: nothing is fetched by {parts.scheme}:", hint=_WHEEL_HINT)


def _inside(origin: Origin, place: str) -> str:
    parts = urlsplit(place)
    path = unquote(parts.netloc + parts.path) if parts.scheme else place
    path = re.sub(r"^(\./+)+", "", path)
    if not is_relative(path) or re.search(r"[\s%]", path):
        raise RequirementsError(
            f"{origin}: {path[:100]!r} is not a file inside the model's folder", hint=_WHEEL_HINT
        )
    return path
