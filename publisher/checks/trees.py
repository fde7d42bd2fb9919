"""Unpacked images: the layers that versions of a model share are unpacked once, and kept in the cache folder.

An environment's layers lie below those of a version: its model, its client. So an image is a folder with what its
uppermost layers bring, and whole folders of the kept tree below, which are joined to it as the way allows.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from publisher import scratch, turns
from publisher.cache_folder import COMPLETE, CacheFolder
from publisher.checks import unpacked
from publisher.checks.enclosure import MAPPED, Way
from publisher.checks.survey import Survey
from publisher.checks.tree import Tree
from publisher.checks.unpacked import Plan
from publisher.oci.layout import Blob, Descriptor, Layout

FOLDER = "unpacked"
_FORM = 1  # raised when the same layers are unpacked another way
_MOST = 4  # trees that are kept; that of a scikit-learn model has 750 MB
_JOINTS = 300  # more are none that an image has, and more than a command line takes
# What belongs to a system or a Python, which many versions of a model have in common.
_SHARED = re.compile(r"(usr|etc|s?bin|lib\w*)/|.*/(site-packages|dist-packages|lib\w*/python3[^/]*)/")


@dataclass(frozen=True, slots=True)
class Unpacked:
    """`joints`: a kept folder, and the place below `root` where it belongs."""

    root: Path
    joints: Sequence[tuple[Path, str]] = ()


@contextmanager
def unpack(
    folder: Path | None,
    layout: Layout,
    layers: Sequence[Descriptor],
    surveys: Sequence[Survey],
    tree: Tree,
    *,
    way: Way,
) -> Iterator[Unpacked]:
    """The image of `layers`, whose `tree` is, in a folder that is gone afterwards. `folder`: the cache folder.

    Raises BuildError for layers that are not what was surveyed, HostError where there is no room.
    """
    cache = CacheFolder(folder) if folder else None
    number = _shared(surveys) if cache else 0
    part = scratch.below(folder).part("root")
    with cache.in_use() if cache else nullcontext():
        try:
            yield _unpack(cache, layout.blobs, layers, surveys[:number], tree, way=way, part=part)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _unpack(
    cache: CacheFolder | None,
    blobs: Mapping[str, Blob],
    layers: Sequence[Descriptor],
    shared: Sequence[Survey],
    tree: Tree,
    *,
    way: Way,
    part: Path,
) -> Unpacked:
    if cache and shared:
        whole = len(shared) == len(layers)
        below = tree if whole else Tree(shared)
        kept = _kept(cache, blobs, layers[: len(shared)], below)
        mounts = way in ("bubblewrap", "namespaces")
        if whole and mounts:
            return Unpacked(kept)
        plan = Plan.of(tree, below, joined=way != "chroot")
        if not mounts or len(plan.joints) <= _JOINTS:
            joints = [(kept / path, path) for path in plan.joints]
            if way in MAPPED:
                plan.links += [(path, str(place)) for place, path in joints]
                plan.joints = []
            unpacked.write(plan, layers, blobs, part, kept)
            return Unpacked(part, joints)
    unpacked.write(Plan.of(tree), layers, blobs, part)
    return Unpacked(part)


def _kept(cache: CacheFolder, blobs: Mapping[str, Blob], layers: Sequence[Descriptor], tree: Tree) -> Path:
    key = hashlib.sha256(json.dumps([_FORM, [layer.digest for layer in layers]]).encode()).hexdigest()
    folder = cache.folder / FOLDER / key
    with nullcontext() if cache.used(folder / COMPLETE) else turns.held(cache.folder, f"{FOLDER}-{key}"):
        if not cache.used(folder / COMPLETE):
            folder.parent.mkdir(parents=True, exist_ok=True)
            new, plan = scratch.below(cache.folder).part(FOLDER), Plan.of(tree)
            try:
                new.mkdir(mode=0o700)
                unpacked.write(plan, layers, blobs, new / "root")
                (new / COMPLETE).write_text(json.dumps({"size": plan.size}))
                cache.adopt(new, folder)
            finally:
                shutil.rmtree(new, ignore_errors=True)
            cache.keep(FOLDER, _MOST)
    return folder / "root"


def _shared(surveys: Sequence[Survey]) -> int:
    """How many layers, from the lowest, other versions will have as well."""
    for number in range(len(surveys), 0, -1):
        if any(_SHARED.match(entry.path) for entry in surveys[number - 1].entries if entry.kind != "folder"):
            return number
    return 0
