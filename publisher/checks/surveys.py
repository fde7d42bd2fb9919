"""Surveys by the digest of their layer: read once in the life of a layer, then kept in the cache folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from publisher import machine, scratch
from publisher.cache_folder import CacheFolder
from publisher.checks.elf import Elf
from publisher.checks.packages import Package
from publisher.checks.survey import Entry, Survey, survey
from publisher.oci.layout import Blob, Descriptor, Layout

_FORM = 1  # raised when a survey tells something else of the same layer
_FOLDER = "surveys"
_BLANK = asdict(Elf())


@dataclass(slots=True)
class Surveys:
    """Reads layers, two at a time. `folder`: the cache folder; None keeps nothing."""

    folder: Path | None = None
    _known: dict[str, Survey] = field(default_factory=dict)

    def of(self, layout: Layout, layers: Sequence[Descriptor]) -> list[Survey]:
        """The survey of each layer, in their order. Raises what `survey.survey` raises."""
        wanted = {layer.digest: layer for layer in layers if layer.digest not in self._known}

        def one(layer: Descriptor) -> Survey:
            return self._of(layer, layout.blobs[layer.digest])

        # Inflating, most of the work, is done without the interpreter's lock. The largest first.
        with ThreadPoolExecutor(max(2, machine.processors())) as pool:
            ordered = sorted(wanted.values(), key=lambda layer: -layer.size)
            self._known |= {each.digest: each for each in pool.map(one, ordered)}
        return [self._known[layer.digest] for layer in layers]

    def known(self, digest: str) -> Survey | None:
        """The survey of a layer that `of` has given, None of any other."""
        return self._known.get(digest)

    def _of(self, layer: Descriptor, blob: Blob) -> Survey:
        if self.folder is None:
            return survey(layer, blob)
        path = self.folder / _FOLDER / f"{_FORM}-{layer.digest.partition(':')[2]}.json"
        kept = _read(path, layer.digest) if CacheFolder(self.folder).used(path) else None
        if kept is None:
            room = scratch.below(self.folder)
            kept = survey(layer, blob, room.folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = room.part(path.name)
            part.write_text(json.dumps(_document(kept), separators=(",", ":")))
            part.replace(path)
        return kept


def _document(kept: Survey) -> dict[str, Any]:
    return {
        "entries": [_row(entry) for entry in kept.entries],
        "packages": [asdict(package) for package in kept.packages],
        "texts": dict(kept.texts),
        "faults": kept.faults,
    }


def _row(entry: Entry) -> list[Any]:
    """What there is of it: most entries have neither target nor line nor ELF."""
    facts = {k: v for k, v in asdict(entry.elf).items() if v != _BLANK[k]} if entry.elf else None
    row: list[Any] = [*entry[:-1], facts]
    blank = Entry("file", "")
    while len(row) > 2 and row[-1] == blank[len(row) - 1]:
        row.pop()
    return row


def _read(path: Path, digest: str) -> Survey | None:
    """None where it is none that this version wrote."""
    try:
        data = json.loads(path.read_bytes())
        return Survey(
            digest,
            tuple(_entry(row) for row in data["entries"]),
            tuple(Package(**_tuples(package)) for package in data["packages"]),
            data["texts"],
            tuple((path, fault) for path, fault in data["faults"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _entry(row: list[Any]) -> Entry:
    facts = row.pop() if len(row) == len(Entry._fields) else None
    if facts is None:
        return Entry(*row)
    wants = {library: tuple(versions) for library, versions in facts.pop("wants", {}).items()}
    return Entry(*row)._replace(elf=Elf(**_tuples(facts), wants=wants))


def _tuples(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
