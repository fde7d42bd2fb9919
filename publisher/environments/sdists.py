"""Packages that are there as source alone: which of them are pure Python, and the wheels that they become.

A wheel is made once for each source and day, of files in one order with one time, uncompressed, so that two
machines make the same bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from publisher import scratch
from publisher.cache_folder import CacheFolder
from publisher.domain import Platform, Wheel
from publisher.environments import isolation, simple
from publisher.environments.accounts import prepare
from publisher.environments.direct import LOCAL
from publisher.environments.index import Index, bare
from publisher.environments.repack import repack
from publisher.environments.simple import IndexFile
from publisher.errors import IndexUnavailableError, ResolutionError, TransferError

ENGINES = "buildx, kaniko or buildah"  # they run `pip install` in a container of the platform
_RECIPE = 1  # raised when the same source becomes another wheel
_LIMIT = 512 << 20  # bytes of a source
_LOCKS: dict[str, threading.Lock] = {}
_BUILT = "built"


class Sdists:
    """The sources of one lock, and what was built of them."""

    def __init__(
        self, cache_folder: Path, index: Index, environ: Mapping[str, str], rule: str, as_of: datetime | None
    ) -> None:
        self._folder = cache_folder / _BUILT
        self._index = index
        self._http = prepare(requests.Session(), [index], environ)
        self._rule = rule
        self._as_of = as_of
        self._wheels: dict[str, tuple[str, Path]] = {}  # name -> path below LOCAL, file
        self.notes: list[str] = []

    def built(self) -> dict[str, Path]:
        """What is built, by the path that it has for the resolver below `LOCAL`."""
        return dict(self._wheels.values())

    def constraints(self) -> tuple[str, ...]:
        """What makes the resolver take them."""
        return tuple(f"{name} @ ./{LOCAL}/{path}" for name, (path, _) in sorted(self._wheels.items()))

    def restore(self, document: Mapping[str, Any]) -> bool:
        """Whether the wheels that an earlier answer was given with are still there; they are known from now on."""
        for package in document.get("packages", []):
            path = str(package.get("archive", {}).get("path") or "").partition(f"{LOCAL}/")[2]
            if path.startswith(f"{_BUILT}/"):
                file = self._folder.parent / path
                if not CacheFolder(self._folder.parent).used(file):
                    return False
                self._wheels[package["name"]] = (path, file)
        return True

    def supply(self, name: str, specifier: str, platform: Platform) -> None:
        """Build the version of `name` that `specifier` asks for. Raises ResolutionError where that cannot be,
        EngineError where this machine cannot, IndexUnavailableError."""
        offered = simple.project_files(self._http, self._index, name)
        version, source = self._choose(name, specifier, offered, platform)
        wanted = _Source(name, str(version), source, platform)
        for each in offered:
            if _native(each.filename, version):
                raise wanted.refused(f"it is native: its index has {each.filename}")
        self._build(wanted)

    def of_lock(self, package: Mapping[str, Any], url: str, platform: Platform) -> Wheel:
        """The wheel of a package that a lock names as source alone."""
        entry = package["sdist"]
        digest = str((entry.get("hashes") or {}).get("sha256") or "")
        name, version = str(package["name"]), str(package.get("version") or "")
        if not digest:
            raise ResolutionError(f"the lock has no SHA-256 of the source of {name}")
        file = self._build(_Source(name, version, IndexFile(_filename(url), url, digest), platform))
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        return Wheel(name, version, file.name, file.absolute().as_uri(), sha256, len(content))

    def _choose(
        self, name: str, specifier: str, offered: list[IndexFile], platform: Platform
    ) -> tuple[Version, IndexFile]:
        """The newest version that was there then and that fits what is asked."""
        try:
            asked = SpecifierSet(specifier)
        except InvalidSpecifier:
            asked = SpecifierSet()
        found: dict[Version, IndexFile] = {}
        for each in offered:
            try:
                version = parse_sdist_filename(each.filename)[1]
            except InvalidSdistFilename:
                continue
            late = self._as_of and each.uploaded and each.uploaded > self._as_of
            if not late and not (each.yanked and f"=={version}" not in specifier):
                found[version] = each
        fitting = list(asked.filter(found))
        if not fitting:
            message, hint = _refusal(name, specifier, platform, "its index has no source of such a version")
            raise ResolutionError(message, hint=hint)
        return max(fitting), found[max(fitting)]

    def _build(self, source: _Source) -> Path:
        if self._rule == "refuse":
            raise source.refused('this target builds none (sdist = "refuse")')
        day = self._as_of.isoformat() if self._as_of else datetime.now(UTC).date().isoformat()
        key = hashlib.sha256(f"{source.file.sha256} {source.file.url} {day} {_RECIPE}".encode()).hexdigest()
        with _LOCKS.setdefault(key, threading.Lock()):  # platforms are locked side by side
            wheel = next((self._folder / key).glob("*.whl"), None)
            if wheel is None or not CacheFolder(self._folder.parent).used(wheel):
                wheel = self._make(source, self._folder / key)
        self._wheels[canonicalize_name(source.name)] = (f"{_BUILT}/{key}/{wheel.name}", wheel)
        self.notes.append(f"{source.name} {source.version} has no wheel and was built of its source")
        return wheel

    def _make(self, source: _Source, to: Path) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch.below(self._folder.parent).folder) as folder:
            work, new = Path(folder) / "inside", Path(folder) / "finished"
            work.mkdir()
            new.mkdir()
            archive = _fetch(self._http, source.file, work)
            found = isolation.build(
                archive, work, self._index, self._as_of, isolated=self._rule == "isolated"
            )
            if isinstance(found, str):
                raise source.refused(f"its source cannot be built: {found}")
            name, _, _, tags = parse_wheel_filename(found.name)
            if canonicalize_name(name) != canonicalize_name(source.name):
                raise source.refused(f"its source is one of {name}")
            if any(tag.platform != "any" or tag.abi != "none" for tag in tags):
                raise source.refused(f"its source is native: it became {found.name}")
            try:
                repack(found, new / found.name)
            except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
                raise source.refused(f"what its source became is no wheel: {error}") from error
            if not to.exists():
                new.rename(to)
        return to / found.name


@dataclass(frozen=True, slots=True)
class _Source:
    """A source that one platform needs."""

    name: str
    version: str
    file: IndexFile
    platform: Platform

    def refused(self, why: str) -> UnbuildableError:
        return UnbuildableError(*_refusal(self.name, self.version, self.platform, why))


class UnbuildableError(ResolutionError):
    """A source that is there and becomes no wheel: another moment would change nothing."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)


def _refusal(name: str, version: str, platform: Platform, why: str) -> tuple[str, str]:
    return (
        f"{name} {version} has no wheel for {platform}, and {why}".replace("  ", " "),
        f"Put a wheel of it into an index; engines that build it in a container: {ENGINES}.",
    )


def _native(filename: str, version: Version) -> bool:
    try:
        _, found, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return found == version and any(tag.platform != "any" for tag in tags)


def _filename(url: str) -> str:
    return unquote(urlsplit(url).path).rpartition("/")[2]


def _fetch(http: requests.Session, source: IndexFile, folder: Path) -> Path:
    """Raises TransferError where the hash is another one than the index or the lock tells."""
    path, seen, size = folder / Path(source.filename).name, hashlib.sha256(), 0
    try:
        with http.get(source.url, stream=True, timeout=(10, 60)) as answer, path.open("wb") as sink:
            if answer.status_code != 200:
                raise IndexUnavailableError(
                    f"{bare(source.url)} answers {answer.status_code}",
                    hint="Are the index's credentials there (UV_INDEX_<NAME>_USERNAME, netrc)?",
                )
            for chunk in answer.iter_content(1 << 18):
                size += len(chunk)
                seen.update(chunk)
                sink.write(chunk)
                if size > _LIMIT:
                    raise ResolutionError(f"{source.filename} is larger than {_LIMIT >> 20} MiB")
    except requests.RequestException as error:
        host = urlsplit(source.url).hostname
        raise IndexUnavailableError(
            f"{source.filename} cannot be had from {host}: {type(error).__name__}"
        ) from error
    if source.sha256 and seen.hexdigest() != source.sha256:
        raise TransferError(
            f"{source.filename} came from {urlsplit(source.url).hostname} with another hash than told"
        )
    return path
