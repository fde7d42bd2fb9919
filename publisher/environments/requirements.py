"""The lines of a requirements file (pip's format), each understood or refused with its file and number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from publisher.environments import files
from publisher.environments.direct import Origin, direct, is_direct
from publisher.errors import RequirementsError

_DEPTH = 5  # requirement files that include each other
_INDEX_OPTIONS = ("-i", "--index-url", "--extra-index-url")
_HASH = re.compile(r"\s+--hash[=\s]\s*(\S+)")
_HINTS = {
    "-e": "An editable is a folder of the author's machine: log a wheel of it with the model, or use code_paths.",
    "--editable": "An editable is a folder of the author's machine: log a wheel of it with the model, or use code_paths.",
    "-f": "Set UV_FIND_LINKS where publisher runs.",
    "--find-links": "Set UV_FIND_LINKS where publisher runs.",
    "--no-index": "Set UV_NO_INDEX where publisher runs.",
    "--pre": "Name the pre-release by its version, such as numpy==2.0.0rc1.",
}


@dataclass(slots=True)
class Listed:
    """What the requirement files of one model say."""

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    hashes: dict[str, set[str]] = field(default_factory=dict)  # normalised name -> hex SHA-256, any of which
    paths: set[str] = field(default_factory=set)  # wheels of the model's own folder, relative
    indexes: list[str] = field(default_factory=list)  # URLs that the model's author used

    def read_file(self, folder: Path, name: str, *, constraint: bool = False, depth: int = 0) -> None:
        """Read `name` and what it includes. Raises RequirementsError with file and line."""
        if depth > _DEPTH:
            raise RequirementsError(f"{name}: requirement files include each other more than {_DEPTH} deep")
        text = files.text(folder / name)
        if text is None:
            raise RequirementsError(f"{name} is named but is not in the model's folder")
        joined = re.sub(r"\\\r?\n", " ", text)
        self.read_lines(folder, name, joined.splitlines(), constraint=constraint, depth=depth)

    def read_lines(
        self, folder: Path, name: str, lines: Iterable[str], *, constraint: bool = False, depth: int = 0
    ) -> None:
        """The same of a list of lines, as conda.yaml and python_env.yaml have them."""
        for number, raw in enumerate(lines, 1):
            line = re.sub(r"(^|\s)#.*$", "", raw).strip()
            origin = Origin(folder, name, number)
            option = re.fullmatch(r"(-r|--requirement|-c|--constraint)[\s=]*(\S+)", line)
            if option:
                self._include(origin, option[1], option[2], constraint, depth)
            elif line.startswith("-"):
                self._option(origin, line)
            elif line:
                self._requirement(origin, line, constraint)

    def _include(self, origin: Origin, option: str, included: str, constraint: bool, depth: int) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", included):
            raise RequirementsError(f"{origin}: {included!r} is not a file of the model's folder")
        constraint = constraint or option in ("-c", "--constraint")
        self.read_file(origin.folder, included, constraint=constraint, depth=depth + 1)

    def _option(self, origin: Origin, line: str) -> None:
        option, _, value = re.sub(r"[\s=]+", " ", line, count=1).partition(" ")
        if option in _INDEX_OPTIONS:
            if urlsplit(value).scheme not in ("http", "https"):
                raise RequirementsError(f"{origin}: {option} needs the URL of a package index")
            self.indexes.append(re.sub(r"://[^/@]*@", "://", value))
            return
        raise RequirementsError(
            f"{origin}: options such as {option!r} are not taken from a model", hint=_HINTS.get(option, "")
        )

    def _requirement(self, origin: Origin, line: str, constraint: bool) -> None:
        hashes = _HASH.findall(line)
        line = _HASH.sub("", line).strip()
        if option := re.search(r"\s(--?[A-Za-z][\w-]*)", line):
            self._option(origin, option[1])
        if is_direct(line):
            text, path, digest = direct(origin, line)
            hashes += [f"sha256:{digest}"] if digest else []
            if path:
                self.paths.add(path)
        else:
            text = _plain(origin, line)
        # Strings of markers are read as Python reads them: an escaped line break would be a line of its own where
        # requirements are written one a line, and name a package index there.
        if not text.isprintable():
            raise RequirementsError(f"{origin}: {line[:100]!r} holds control characters")
        (self.constraints if constraint else self.requirements).append(text)
        if hashes:
            digests = {
                digest for kind, _, digest in (each.partition(":") for each in hashes) if kind == "sha256"
            }
            if not digests:
                raise RequirementsError(f"{origin}: its hashes are not SHA-256, which package indexes tell")
            self.hashes.setdefault(_name(text), set()).update(digests)


def _plain(origin: Origin, line: str) -> str:
    try:
        return str(Requirement(line))
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise RequirementsError(
            f"{origin}: {line[:100]!r} is not a requirement: {reason}",
            hint="Write it like scikit-learn==1.5.2 and register a new version.",
        ) from error


def _name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", Requirement(text).name).lower()
