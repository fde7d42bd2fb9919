"""The files of a version once its parts are located: all of them, or the few that tell what an image would be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from publisher.domain import ModelVersion
from publisher.progress import Progress
from publisher.sources.artifacts import Item, download, walk
from publisher.sources.base import Examined, Fetched, Part, VersionTags
from publisher.sources.locate import Parts, Place
from publisher.sources.places import Places

# What describes an environment lies directly in the model's folder (docs/environments.md). Requirement files may
# include others of any name, so small files are looked at whatever they are called, as far as there are few.
SMALL, LARGEST, FEW = 1 << 20, 33 << 20, 500  # bytes, bytes of a lock file, files
TEMPLATES = (".template", ".j2")
TELLING = ("MLmodel", ".python-version", ".txt", ".yaml", ".yml", ".toml", ".lock")


def examined(
    version: ModelVersion,
    located: tuple[Places, Parts, Place],
    folder: Path,
    progress: Progress,
    subject: str,
) -> Examined:
    """Where the parts are and why, and the files that describe the environment or are templates, brought into `folder`.

    `located`: also the place that the version's source names.
    """
    places, parts, source = located
    items = distinct(parts, version)

    def part(found: tuple[Place, str], why: str) -> Part:
        below = [item for item in items if item.destination.startswith(f"{found[1]}/")]
        size = sum(item.size or 0 for item in below)
        return Part(found[1], places.address(found[0]), why, len(below), size)

    tags = VersionTags.read(version)
    if tags.model is not None:
        why = "its tag MODEL_FOLDER names it"
    else:
        why = "its source is a model" if parts.model[0] == source else "the model of its artifacts"
    told = filter(None, (_told(item, parts) for item in items))
    few = sorted(told, key=lambda each: each[0])[:FEW]
    return Examined(
        model=part(parts.model, why),
        client=part(parts.client, _why("MODEL_CLIENT_FOLDER", tags)) if parts.client else None,
        templates=part(parts.templates, _why("MODEL_TEMPLATES_FOLDER", tags)) if parts.templates else None,
        fetched=brought(parts, [item for _, item in few], folder, progress, subject),
    )


def distinct(parts: Parts, version: ModelVersion) -> list[Item]:
    """The files of all parts, each once."""
    items: dict[str, Item] = {}
    for part in (parts.model, parts.client, parts.templates):
        for item in _items(*part, str(version)) if part else ():
            items.setdefault(item.destination, item)
    return list(items.values())


def brought(parts: Parts, items: Sequence[Item], folder: Path, progress: Progress, subject: str) -> Fetched:
    """Bring `items` into `folder`; raises ArtifactError, TransferError, HostError."""
    size = download(items, folder, progress, subject)
    return Fetched(
        root=folder,
        model=folder / parts.model[1],
        client=folder / parts.client[1] if parts.client else None,
        templates=folder / parts.templates[1] if parts.templates else None,
        bytes=size,
    )


def _why(tag: str, tags: VersionTags) -> str:
    return f"its tag {tag} names it" if tag in tags.explicit else "the folder that is looked for by default"


def _told(item: Item, parts: Parts) -> tuple[int, Item] | None:
    """A file that may describe the environment, or a template: 0 where its name says so, 1 where it is small enough
    to look at."""
    size = item.size or 0
    if parts.templates and item.destination.startswith(f"{parts.templates[1]}/"):
        return (0, item) if item.destination.endswith(TEMPLATES) and size <= SMALL else None
    name = item.destination.removeprefix(f"{parts.model[1]}/")
    if "/" in name or name == item.destination:
        return None
    if name.endswith(TELLING):
        return (0, item) if size <= LARGEST else None
    return (1, item) if size <= SMALL else None


def _items(place: Place, folder: str, subject: str) -> Iterator[Item]:
    prefix = f"{place.path}/" if place.path else ""
    for entry in walk(place.storage, place.path, subject):
        yield Item(place.storage, entry.path, f"{folder}/{entry.path.removeprefix(prefix)}", entry.size)
