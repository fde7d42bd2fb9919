"""Where the files of one model contradict each other: told, and decided by the rule of read.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

_SHOWN = 6


def packages(taken: str, ours: Iterable[str], other: str, theirs: Iterable[str]) -> list[str]:
    """One line each for pins of the file `other` that contradict those of `taken`, and for what it has more."""
    here, there = _versions(ours), _versions(theirs)
    apart = [
        f"{name}{there[name]} (taken: {name}{here[name]})"
        for name in sorted(here.keys() & there.keys())
        if _contradict(here[name], there[name])
    ]
    more = sorted(there.keys() - here.keys() - {"pip"})
    notes = []
    if apart:
        notes.append(f"{other} disagrees with {taken}, which is taken: {_short(apart)}")
    if more:
        notes.append(f"{other} also lists {_short(more)}, which {taken} does not: not installed")
    return notes


def python(found: Mapping[str, str]) -> list[str]:
    """One line where files name different minor versions of Python; the first of `found` is taken."""
    if not found:
        return []
    (taken, version), *others = found.items()
    apart = [f"{name} has {each}" for name, each in others if _minor(each) != _minor(version)]
    return [f"Python {version} of {taken} is taken; {', '.join(apart)}"] if apart else []


def locked(lock: str, versions: Mapping[str, set[str]], taken: str, ours: Iterable[str]) -> list[str]:
    """One line where requirements contradict all versions that a lock has of a package; the lock is taken."""
    apart = [
        f"{name}{specifiers} (locked: {', '.join(sorted(versions[name]))})"
        for name, specifiers in sorted(_versions(ours).items())
        if versions.get(name) and not any(specifiers.contains(v, prereleases=True) for v in versions[name])
    ]
    return [f"{taken} disagrees with {lock}, which is taken: {_short(apart)}"] if apart else []


def _versions(lines: Iterable[str]) -> dict[str, SpecifierSet]:
    found: dict[str, SpecifierSet] = {}
    for line in lines:
        try:
            requirement = Requirement(line)
            if not requirement.url and (requirement.marker is None or _here(requirement)):
                name = canonicalize_name(requirement.name)
                found[name] = found.get(name, SpecifierSet()) & requirement.specifier
        except (InvalidRequirement, InvalidSpecifier):
            continue
    return found


def _here(requirement: Requirement) -> bool:
    """Whether it may hold on Linux; other markers may differ by platform and count as true."""
    text = str(requirement.marker)
    return "win32" not in text and "Windows" not in text and "arwin" not in text


def _contradict(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Whether a pin of one side is no version of the other: two ranges are left to the resolver."""
    for first, second in ((one, other), (other, one)):
        for specifier in first:
            pin = specifier.operator in ("==", "===") and not specifier.version.endswith("*")
            if pin and not second.contains(specifier.version, prereleases=True):
                return True
    return False


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _short(entries: list[str]) -> str:
    more = f" and {len(entries) - _SHOWN} more" if len(entries) > _SHOWN else ""
    return ", ".join(entries[:_SHOWN]) + more
