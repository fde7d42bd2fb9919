"""What of a model's own lock one platform gets (PEP 751, "Installation"): exactly those files, or an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any
from urllib.parse import urlsplit

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from publisher.domain import BaseImage, Platform, RecordedLock, Wheel
from publisher.environments import tags
from publisher.environments.index import Index, bare
from publisher.environments.sdists import Sdists
from publisher.errors import ResolutionError
from publisher.paths import is_relative

_HINT = "Lock again with a version that fits, such as `uv lock --upgrade-package {name}`, and log the model again."


def markers(platform: Platform, base: BaseImage) -> dict[str, str]:
    """The environment of PEP 508 in an image on `base`."""
    return {
        "implementation_name": "cpython",
        "implementation_version": base.python,
        "os_name": "posix",
        "platform_machine": tags.machine_of(platform),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": base.python,
        "python_version": base.python_minor,
        "sys_platform": "linux",
    }


def wheels(
    lock: RecordedLock, platform: Platform, base: BaseImage, index: Index, sdists: Sdists
) -> Iterator[Wheel]:
    """The lock's wheel of each package that applies. Raises ResolutionError that names package and platform.

    All packages are looked at before the first one is given out, so that nothing is built for a lock that lacks
    a wheel elsewhere.
    """
    environment = markers(platform, base)
    _check_python(lock, environment, base)
    level, applying = tags.level_of(base), {}
    for package in lock.document["packages"]:
        if "marker" in package and not _holds(package["marker"], environment, lock):
            continue
        name = package["name"]
        if name in applying:
            raise ResolutionError(f"{lock.name} has two versions of {name} for {platform}")
        _check_package(lock, package, base)
        entries = [package["archive"]] if "archive" in package else package.get("wheels", [])
        chosen = tags.best(entries, base.python_minor, platform, level)
        if chosen is None and (entries or "sdist" not in package):
            raise ResolutionError(
                f"{lock.name} has no wheel of {name} {package.get('version', '')} for {platform}{_why(entries)}",
                hint=_HINT.format(name=name),
            )
        applying[name] = (package, chosen)
    for package, chosen in applying.values():
        if chosen is None:
            place = str(package["sdist"].get("url") or "")
            if not place:
                raise ResolutionError(f"{lock.name}: the source of {package['name']} has no URL")
            yield sdists.of_lock(package, _checked(lock, package, place, index), platform)
        else:
            yield wheel(package, chosen, _place(lock, package, chosen, index))


def wheel(package: Mapping[str, Any], entry: Mapping[str, Any], place: str) -> Wheel:
    """An entry of a lock as ours; `place` is the URL that it is had from."""
    filename = tags.filename_of(entry)
    version = str(package.get("version") or filename.split("-")[1])
    size = int(entry.get("size") or 0)
    return Wheel(str(package["name"]), version, filename, place, str(entry["hashes"]["sha256"]), size)


def _check_python(lock: RecordedLock, environment: Mapping[str, str], base: BaseImage) -> None:
    wanted = lock.document.get("requires-python")
    # The base image's patch release may be older than the one that locked: the minor version decides.
    if wanted and not any(SpecifierSet(wanted).contains(v) for v in (base.python, f"{base.python_minor}.99")):
        raise ResolutionError(
            f"{lock.name} is for Python {wanted}, and the base image {base.name} has {base.python}",
            hint="Set `python` and `base` of the target so that they fit.",
        )
    known = lock.document.get("environments")
    if known and not any(_holds(each, environment, lock) for each in known):
        raise ResolutionError(
            f"{lock.name} is for other platforms than {environment['sys_platform']} on "
            f"{environment['platform_machine']} with Python {base.python}",
            hint="Lock for all platforms of the target: `uv lock` does.",
        )


def _check_package(lock: RecordedLock, package: Mapping[str, Any], base: BaseImage) -> None:
    for kind, what in (("vcs", "version control"), ("directory", "a folder of the author's machine")):
        if kind in package:
            raise ResolutionError(
                f"{lock.name} takes {package['name']} from {what}, where it would have to be built",
                hint="Lock a wheel of it, from a package index or a URL.",
            )


def _holds(marker: str, environment: Mapping[str, str], lock: RecordedLock) -> bool:
    groups = frozenset(lock.document.get("default-groups") or ())
    known: dict[str, str | Set[str]] = {**environment, "extras": frozenset(), "dependency_groups": groups}
    return Marker(marker).evaluate(known, context="lock_file")


def _why(entries: list[Mapping[str, Any]]) -> str:
    if not entries:
        return ""
    if not any("sha256" in (entry.get("hashes") or {}) for entry in entries):
        return ": its files have no SHA-256"
    return f"; it has {', '.join(sorted(tags.filename_of(entry) for entry in entries)[:4])}"


def _place(lock: RecordedLock, package: Mapping[str, Any], entry: Mapping[str, Any], index: Index) -> str:
    if entry.get("url"):
        return _checked(lock, package, str(entry["url"]), index)
    path = str(entry.get("path") or "").removeprefix("./")
    place = lock.folder / path
    if not is_relative(path) or not place.is_file() or place.is_symlink():
        raise ResolutionError(
            f"{lock.name}: {path[:100]!r} of {package['name']} is not a file inside the model's folder",
            hint="Log the wheel with the model, at that path.",
        )
    return place.absolute().as_uri()


def _checked(lock: RecordedLock, package: Mapping[str, Any], url: str, index: Index) -> str:
    """A URL of a model's lock is a stranger's: HTTPS, or an index that the site itself has configured."""
    if urlsplit(url).scheme != "https" and not index.serves(url):
        raise ResolutionError(
            f"{lock.name}: {package['name']} is not had over HTTPS: {bare(url)[:200]}",
            hint="Lock from an index with HTTPS, or add that index to the target's `index`.",
        )
    return bare(url)
