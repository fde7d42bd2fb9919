"""A repository of a container registry as a destination."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publisher import scratch
from publisher.builders.base import Memory, Remembered
from publisher.destinations.base import Early, annotations_of
from publisher.destinations.memory import RegistryMemory
from publisher.errors import BuildError, PublisherError, RegistryError
from publisher.naming import parse
from publisher.oci import layout as layouts
from publisher.oci.layout import Descriptor, Layout, RemoteBlob, decode_small
from publisher.oci.push import Ahead, Pushed, push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries
from publisher.progress import Report


@dataclass(frozen=True, slots=True)
class Witness:
    """What this machine last pushed to a repository, so that a hundred layers need not be asked for each time."""

    folder: Path
    repository: Repository

    @property
    def _path(self) -> Path:
        return self.folder / f"{hashlib.sha256(str(self.repository).encode()).hexdigest()}.json"

    def last(self) -> tuple[str, frozenset[str]]:
        """The top manifest's digest, and the blobs; empty where nothing can be read."""
        try:
            data = json.loads(self._path.read_bytes())
            return str(data["top"]), frozenset(data["blobs"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", frozenset()

    def keep(self, layout: Layout) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = scratch.below(self.folder.parent).part(self._path.name)
        part.write_text(json.dumps({"top": layout.top.digest, "blobs": sorted(layout.blobs)}))
        part.replace(self._path)


@dataclass(frozen=True, slots=True)
class RegistryDestination:
    """`cache`: the repository for what is remembered, None for nowhere. `witnesses`: a folder of this machine.
    `jobs`: transfers at once."""

    registries: Registries
    cache: Repository | None
    witnesses: Path
    jobs: int = 8

    def existing(self, image: str) -> str:
        reference = parse(image)
        registry = self.registries.at(reference.repository.host)
        found = registry.head_manifest(reference.repository.name, reference.name)
        return found.digest if found else ""

    def check(self, image: str) -> None:
        repository = parse(image).repository
        self.registries.at(repository.host).try_push(repository.name)

    @contextmanager
    def ahead(self, image: str) -> Iterator[Early]:
        near = (self.cache,) if self.cache else ()
        early = Ahead(parse(image).repository, self.registries, mount_from=near)
        try:
            yield early
        except BaseException:
            early.finish(abandon=True)
            raise
        early.finish()

    def push(self, layout: Layout, image: str, report: Report, there: Set[str]) -> Pushed:
        repository = parse(image).repository
        pushed = push(
            layout,
            repository,
            self.registries,
            workers=self.jobs,
            on_total=lambda total: report.expect("push", total),
            on_bytes=lambda amount: report.advance("push", amount),
            mount_from=(self.cache,) if self.cache else (),
            present=there | self._witnessed(repository),
        )
        self._witness(repository).keep(layout)
        return pushed

    def _witness(self, repository: Repository) -> Witness:
        return Witness(self.witnesses, repository)

    def _witnessed(self, repository: Repository) -> frozenset[str]:
        """The blobs of our last push there, if its manifest still is: a manifest is there with all below it."""
        top, blobs = self._witness(repository).last()
        if top and self.registries.at(repository.host).head_manifest(repository.name, top):
            return blobs
        return frozenset()

    def tag(self, layout: Layout, image: str) -> None:
        reference = parse(image)
        if reference.tag is None:
            raise BuildError(f"{image} has no tag", hint="Correct `image` of the target.")
        content = layout.manifests[layout.top.digest]
        tag(layout.top, content, reference.repository, reference.tag, self.registries)

    def remove(self, image: str, digest: str, extra: Sequence[str]) -> None:
        reference = parse(image)
        registry, name = self.registries.at(reference.repository.host), reference.repository.name
        try:
            # By its digest, because that is how every registry that deletes at all can, and other tags go with it.
            registry.delete_manifest(name, digest)
        except RegistryError as error:
            if error.status != 405:
                raise
            for each in (reference.name, *extra):
                found = registry.head_manifest(name, each)
                if found and found.digest == digest:
                    registry.delete_manifest(name, each)

    def annotations(self, image: str, digest: str) -> Mapping[str, str]:
        found, repository = self._manifest(image, digest), parse(image).repository

        def config(blob: str) -> Any:
            with self.registries.at(repository.host).open_blob(repository.name, blob) as stream:
                return decode_small(stream)

        return annotations_of(found[1], config) if found else {}

    def read(self, image: str, digest: str) -> Layout | None:
        found, repository = self._manifest(image, digest), parse(image).repository
        if found is None:
            return None
        registry = self.registries.at(repository.host)

        def manifest(wanted: str) -> bytes:
            answer = found if wanted == digest else registry.get_manifest(repository.name, wanted)
            if answer is None:
                raise RegistryError(f"{repository} lacks the manifest {wanted} that {digest} names")
            return answer[1]

        blob = self.registries.open_blob
        return layouts.collect(found[0], manifest, lambda each: RemoteBlob(repository, each, blob))

    def also(self, image: str, digest: str, name: str) -> None:
        found, other = self._manifest(image, digest), parse(name)
        if found is None or other.tag is None:
            raise RegistryError(
                f"{image}@{digest} is no longer in its registry",
                hint="Publish the version again with --force.",
            )
        tag(found[0], found[1], other.repository, other.tag, self.registries)

    def _manifest(self, image: str, digest: str) -> tuple[Descriptor, bytes] | None:
        repository = parse(image).repository
        return self.registries.at(repository.host).get_manifest(repository.name, digest)

    def memory(self) -> Memory | None:
        return self._memory()

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        memory = self._memory()
        if memory is None:
            return
        for one in kept:
            try:
                memory.keep(one, layout, parse(image).repository, self.jobs)
            except PublisherError:
                return  # a registry that gives no place for it loses speed, and nothing else

    def _memory(self) -> RegistryMemory | None:
        return RegistryMemory(self.registries, self.cache) if self.cache else None
