"""Where a finished layout goes: a repository of a container registry, or an OCI layout on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from publisher import scratch
from publisher.builders.base import Memory, Remembered
from publisher.errors import BuildError, PublisherError, RegistryError
from publisher.naming import parse
from publisher.oci import layout as layouts
from publisher.oci.layout import CONFIG, MANIFEST, Blob, BytesBlob, Descriptor, Layout, RemoteBlob
from publisher.oci.push import Ahead, Pushed, push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries
from publisher.progress import Report

_DOCUMENT = "io.github.model-publisher.document"


class Early(Protocol):
    """`sent`: bytes that went, `there`: digests that arrived; final when the context has ended."""

    sent: int
    there: set[str]

    def offer(self, digest: str, size: int, blob: Blob) -> None: ...


@dataclass(slots=True)
class _Late:
    """Takes nothing early."""

    sent: int = 0
    there: set[str] = field(default_factory=set)

    def offer(self, digest: str, size: int, blob: Blob) -> None: ...


class Destination(Protocol):
    """`image` is the whole name as naming.image_name makes it."""

    def existing(self, image: str) -> str:
        """The digest that the image's tag holds now; empty where there is none."""
        ...

    def check(self, image: str) -> None:
        """Raise what stands against pushing `image`: nothing answers, it does not know us, we may not write."""
        ...

    def ahead(self, image: str) -> AbstractContextManager[Early]:
        """Takes blobs while the image is still being built, where that saves time."""
        ...

    def push(self, layout: Layout, image: str, report: Report, there: Set[str]) -> Pushed:
        """Bring everything there by digest; `there` went ahead. Nobody who asks by tag sees it yet."""
        ...

    def tag(self, layout: Layout, image: str) -> None:
        """The commit point."""
        ...

    def remove(self, image: str, digest: str, extra: Sequence[str]) -> None:
        """Take the image away under all its tags, `extra` among them, as far as they are of this digest.

        Raises RegistryError where the registry does not allow it.
        """
        ...

    def origin(self, image: str, digest: str) -> str:
        """What the manifest `digest` in the image's repository says that it was made from: its annotation
        ``org.opencontainers.image.source``; empty where it says nothing."""
        ...

    def also(self, image: str, digest: str, name: str) -> None:
        """Put the manifest `digest`, which the image's repository has, under `name` of that repository too."""
        ...

    def memory(self) -> Memory | None:
        """What earlier builds left here."""
        ...

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        """Leave `kept` for later builds. Best effort: raises nothing that a publication should fail for."""
        ...


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

    def origin(self, image: str, digest: str) -> str:
        found = self._manifest(image, digest)
        return _origin(found[1]) if found else ""

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
        return RegistryMemory(self.registries, self.cache) if self.cache else None

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        if self.cache is None:
            return
        source = parse(image).repository
        for one in kept:
            try:
                self._remember(self.cache, source, layout, one)
            except PublisherError:
                return  # a registry that gives no place for it loses speed, and nothing else

    def _remember(self, cache: Repository, source: Repository, layout: Layout, one: Remembered) -> None:
        if self.registries.at(cache.host).head_manifest(cache.name, one.key):
            return
        document = json.dumps(one.document, sort_keys=True)
        diff_ids = [entry["diff_id"] for entry in one.document.get("layers", [])]
        # A valid image config, since some registries read what is called one.
        config = layouts.encode(
            {
                "architecture": "unknown",
                "os": "unknown",
                "config": {"Labels": {_DOCUMENT: document}},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            }
        )
        described = Descriptor.of(CONFIG, config)
        content = layouts.encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": described.json(),
                "layers": [layer.json() for layer in one.layers],
            }
        )
        top = Descriptor.of(MANIFEST, content)
        blobs: dict[str, Blob] = {described.digest: BytesBlob(config)}
        blobs |= {layer.digest: layout.blobs[layer.digest] for layer in one.layers}
        sizes = {part.digest: part.size for part in (described, *one.layers)}
        small = Layout(top, {top.digest: content}, blobs, sizes)
        push(small, cache, self.registries, workers=self.jobs, mount_from=(source,))
        tag(top, content, cache, one.key, self.registries)


@dataclass(frozen=True, slots=True)
class RegistryMemory:
    """A Memory (builders/base.py) in a repository: a tag for each key. Whatever cannot be read is not there."""

    registries: Registries
    repository: Repository

    def find(self, key: str) -> Remembered | None:
        registry = self.registries.at(self.repository.host)
        try:
            found = registry.get_manifest(self.repository.name, key)
            if found is None or found[0].media_type != MANIFEST:
                return None
            manifest = layouts.decode(found[1])
            with registry.open_blob(self.repository.name, manifest["config"]["digest"]) as stream:
                config = layouts.decode_small(stream)
            document = layouts.decode(config["config"]["Labels"][_DOCUMENT])
            layers = tuple(Descriptor.read(entry) for entry in manifest["layers"])
        except (PublisherError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Remembered(key, document, layers) if isinstance(document, dict) else None

    def blob(self, digest: str) -> Blob:
        return RemoteBlob(self.repository, digest, self.registries.open_blob)


@dataclass(frozen=True, slots=True)
class LayoutDestination:
    """An OCI layout below `folder`; an image's name there is its name without the folder."""

    folder: Path

    def existing(self, image: str) -> str:
        if not (self.folder / "index.json").exists():
            return ""
        try:
            return layouts.read(self.folder, self._name(image)).top.digest
        except BuildError:
            return ""

    def check(self, image: str) -> None:
        scratch.below(self.folder)

    def ahead(self, image: str) -> AbstractContextManager[Early]:
        return nullcontext(_Late())

    def push(self, layout: Layout, image: str, report: Report, there: Set[str]) -> Pushed:
        layouts.write_blobs(layout, self.folder)
        return Pushed(sent=sum(layout.sizes.values()))

    def tag(self, layout: Layout, image: str) -> None:
        layouts.write(layout, self.folder, [self._name(image)])

    def remove(self, image: str, digest: str, extra: Sequence[str]) -> None:
        layouts.forget(self.folder, digest)

    def origin(self, image: str, digest: str) -> str:
        return _origin(layouts.read(self.folder, digest=digest).manifests[digest])

    def also(self, image: str, digest: str, name: str) -> None:
        layouts.write(layouts.read(self.folder, digest=digest), self.folder, [self._name(name)])

    def memory(self) -> Memory | None:
        return None

    def remember(self, image: str, layout: Layout, kept: Sequence[Remembered]) -> None:
        """The cache on disk has it already."""

    def _name(self, image: str) -> str:
        return image.removeprefix(f"oci:{self.folder}").lstrip("/")


def _origin(manifest: bytes) -> str:
    try:
        return str(json.loads(manifest)["annotations"]["org.opencontainers.image.source"])
    except (ValueError, KeyError, TypeError):
        return ""
