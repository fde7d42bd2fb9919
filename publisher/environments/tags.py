"""Which wheel of several an image gets: the one that pip would take there (PEP 425, PEP 600)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from publisher.domain import MACHINES, BaseImage, Platform
from publisher.errors import ResolutionError

# The levels that uv knows (`uv pip compile --help`, --python-platform), newest first.
_LEVELS = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)


def machine_of(platform: Platform) -> str:
    """``x86_64`` of linux/amd64. Raises ResolutionError where there are no wheels for a platform at all."""
    machine = MACHINES.get(platform.architecture)
    if platform.os != "linux" or not machine:
        known = ", ".join(f"linux/{architecture}" for architecture in MACHINES)
        raise ResolutionError(f"there is no environment for {platform}", hint=f"Platforms: {known}.")
    return machine


def level_of(base: BaseImage) -> int:
    """The minor version of glibc up to which `base` runs manylinux wheels."""
    return next((level for level in _LEVELS if (2, level) <= base.glibc), 17)


def filename_of(entry: Mapping[str, Any]) -> str:
    """The file name of an entry of a lock, decoded: URLs write ``+`` of a local version as ``%2B``."""
    place = str(entry.get("url") or entry.get("path") or "")
    return str(entry.get("name") or unquote(urlsplit(place).path).rpartition("/")[2])


def best(
    entries: Iterable[Mapping[str, Any]], python: str, platform: Platform, level: int
) -> Mapping[str, Any] | None:
    """The best of a package's wheels that has a SHA-256; None where none fits."""
    ranks = _ranks(python, machine_of(platform), level)
    found: tuple[int, tuple[Any, ...], str] | None = None
    chosen = None
    for entry in entries:
        filename = filename_of(entry)
        try:
            _, _, build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        fitting = [ranks[tag] for tag in tags if tag in ranks]
        # The lock may be a model's own, and the hash is a file's name in the cache.
        digest = str((entry.get("hashes") or {}).get("sha256"))
        if not fitting or not re.fullmatch(r"[0-9a-f]{64}", digest):
            continue
        order = (min(fitting), tuple(-part if isinstance(part, int) else part for part in build), filename)
        if found is None or order < found:
            found, chosen = order, entry
    return chosen


@cache
def _ranks(minor: str, machine: str, level: int) -> dict[Tag, int]:
    """Every tag that fits the image, the best first."""
    major, _, rest = minor.partition(".")
    version = (int(major), int(rest))
    platforms = list(_platforms(machine, level))
    abi = f"cp{version[0]}{version[1]}"
    found = [*cpython_tags(version, [abi], platforms), *compatible_tags(version, abi, platforms)]
    return {tag: rank for rank, tag in enumerate(dict.fromkeys(found))}


def _platforms(machine: str, level: int) -> Iterator[str]:
    old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    for minor in range(level, 4, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in old and (minor == 17 or machine == "x86_64"):
            yield f"{old[minor]}_{machine}"
    yield f"linux_{machine}"
