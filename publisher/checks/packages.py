"""Which Python package a file of a layer belongs to: what installers write beside it (PEP 376, PEP 627)."""

from __future__ import annotations

import csv
import posixpath
import re
from collections.abc import Container
from dataclasses import dataclass
from email.parser import Parser

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_INFO = re.compile(r"((?:.*/)?)([^/]+)\.dist-info/(METADATA|WHEEL|RECORD)")
_RECORD, _HEADERS = 32 << 20, 256 << 10  # bytes
_MOST = 5000  # packages of a layer


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution. `site`: the folder that it is in; `tags`: of its wheel; `requires`: normalised
    names of what it asks for, extras and markers aside."""

    name: str
    version: str
    site: str
    tags: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def pure(self) -> bool:
        """Whether its wheel says that it is the same for all machines."""
        return bool(self.tags) and all(tag.endswith("-any") for tag in self.tags)


class Packages:
    """Collects the documents of a layer's packages while the layer is read."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], dict[str, str]] = {}

    def wants(self, path: str) -> int:
        """How many bytes of the file `path` are to be given to `add`; 0 for none."""
        if not path.endswith(("/METADATA", "/WHEEL", "/RECORD")) or not _INFO.fullmatch(path):
            return 0
        if len(self._found) >= _MOST:
            return 0
        return _RECORD if path.endswith("/RECORD") else _HEADERS

    def add(self, path: str, content: bytes) -> None:
        match = _INFO.fullmatch(path)
        if match:
            documents = self._found.setdefault((match[1].rstrip("/"), match[2]), {})
            documents[match[3]] = content.decode("utf-8", "replace")

    def owners(self, paths: Container[str]) -> tuple[tuple[Package, ...], dict[str, int]]:
        """The packages, and for each of `paths` that a RECORD names the place of its package among them."""
        packages, owners = [], {}
        for number, ((site, stem), documents) in enumerate(sorted(self._found.items())):
            packages.append(_package(site, stem, documents))
            for listed in _listed(documents.get("RECORD", "")):
                path = posixpath.normpath(posixpath.join("/", site, listed)).lstrip("/")
                if path in paths:
                    owners[path] = number
        return tuple(packages), owners


def _package(site: str, stem: str, documents: dict[str, str]) -> Package:
    name, _, version = stem.partition("-")
    metadata = Parser().parsestr(documents.get("METADATA", "").partition("\n\n")[0])
    wheel = Parser().parsestr(documents.get("WHEEL", ""))
    requires = set()
    for line in metadata.get_all("Requires-Dist") or []:
        try:
            requires.add(canonicalize_name(Requirement(str(line)).name))
        except InvalidRequirement:
            continue  # an old package's own idea of one: then nothing is known of it
    return Package(
        canonicalize_name(str(metadata.get("Name") or name)[:200]),
        str(metadata.get("Version") or version)[:100],
        site,
        tuple(sorted({str(tag)[:200] for tag in (wheel.get_all("Tag") or [])[:50]})),
        tuple(sorted(requires)),
    )


def _listed(record: str) -> list[str]:
    try:
        return [row[0] for row in csv.reader(record.splitlines()) if row]
    except csv.Error:
        return []
