"""Symbol versions: whether a library is new enough for what was linked against it."""

from __future__ import annotations

from collections.abc import Sequence

from publisher.checks.elf import Elf


def lacking(
    wanted: Sequence[str], name: str, library: Elf, package: str, *, musl: bool
) -> tuple[str, str] | None:
    """What of `wanted` the library `name` does not have, and what to do; None where nothing is lacking.

    A library without any version is taken as it is, as loaders do. `package`: what wants them, for people.
    `musl`: the image's C library, which has no versions and none of glibc's own functions.
    """
    if musl and any(version.startswith("GLIBC_") for version in wanted):
        remedy = "Take a base image with glibc, or wheels for musllinux."
        return f"needs glibc ({name}), and the image's C library is musl", remedy
    missing = [version for version in wanted if version not in library.gives] if library.gives else []
    if not missing:
        return None
    highest = max(missing, key=_order)
    there = _highest(library.gives, highest)
    text = f"needs {highest} of {name}" + (f", and the image has it up to {there}" if there else "")
    what = f"a version of {package} whose wheel" if package else "one that"
    level = there.partition("_")[2].replace(".", "_") if there.startswith("GLIBC_") else ""
    older = f"is for manylinux_{level} or older" if level else "asks for less"
    return text, f"Take {what} {older}, or a newer base image."


def _order(version: str) -> tuple[str, list[int]]:
    """``GLIBC_2.9`` before ``GLIBC_2.38``."""
    prefix, _, number = version.rpartition("_")
    return prefix, [int(part) if part.isdecimal() else -1 for part in number[:100].split(".")]


def _highest(versions: Sequence[str], like: str) -> str:
    """The highest of those of one kind with `like`; empty where there is none."""
    same = [each for each in versions if _order(each)[0] == _order(like)[0]]
    return max(same, key=_order, default="")
