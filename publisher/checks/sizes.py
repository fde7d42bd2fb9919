"""What weighs how much in an image: its Python packages, and the folders of everything else."""

from __future__ import annotations

import re
from dataclasses import dataclass

from publisher.checks.homes import Homes
from publisher.checks.packages import Package
from publisher.checks.tree import File, Tree

_BYTECODE = re.compile(r"(.*/)__pycache__/([^/.]+)\.[^/]*\.pyc")


@dataclass(frozen=True, slots=True)
class Weight:
    """`package` is None for a folder, whose path is `place`. `size`: bytes, unpacked, of what the image shows."""

    place: str
    package: Package | None
    files: int
    size: int


def weights(tree: Tree) -> list[Weight]:
    """Every Python package with its bytecode, and every folder of the rest; the heaviest first."""
    files = list(tree.files())
    homes = Homes.of(tree.packages, files)
    counts: dict[tuple[str, Package | None], list[int]] = {}
    seen: set[int] = set()
    for path, file in files:
        if id(file) in seen:  # another hard link to it
            continue
        seen.add(id(file))
        package = _owner(path, file, homes, tree)
        place = (
            f"/{package.site}" if package else "/".join(path.split("/")[:3]) if path.count("/") > 2 else "/"
        )
        count = counts.setdefault((place, package), [0, 0])
        count[0] += 1
        count[1] += file.size
    found = [Weight(place, package, *count) for (place, package), count in counts.items()]
    return sorted(found, key=lambda each: (-each.size, each.place, str(each.package)))


def _owner(path: str, file: File, homes: Homes, tree: Tree) -> Package | None:
    if package := homes.home(path, file).package:
        return package
    # Bytecode beside modules that are packages of one file, such as six: no RECORD of ours names it.
    match = _BYTECODE.fullmatch(path)
    source = tree.file(f"{match[1]}{match[2]}.py") if match else None
    return source.package if source else None
