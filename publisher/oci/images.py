"""Images by name, from a registry or an OCI layout on disk, as layouts: manifests read, blobs by reference."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import BinaryIO

from publisher.domain import MACHINES, Platform
from publisher.errors import BuildError, RegistryError
from publisher.oci import layout as layouts
from publisher.oci import layout_folder
from publisher.oci.layout import INDEX_TYPES, Descriptor, Layout, RemoteBlob
from publisher.oci.reference import Reference, Repository
from publisher.oci.registry import Registries


@dataclass(slots=True)
class Images:
    """Reads images. Safe for several threads. A name is looked up once: what it meant then is what it means to the end of the run."""

    registries: Registries
    mirrors: Mapping[str, str] = field(default_factory=dict)  # host -> host that is asked first
    _known: dict[str, Layout] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def load(self, name: str) -> Layout:
        """The image `name`, whole: ``registry/repository:tag``, with or without digest, or ``oci:DIR[:NAME]``.

        Raises BuildError where it is no image, RegistryError where there is none.
        """
        with self._lock:  # of two that ask at once, a tag that moves between must not give each another image
            if name not in self._known:
                self._known[name] = self._layout(name[4:]) if name.startswith("oci:") else self._remote(name)
            return self._known[name]

    def _layout(self, place: str) -> Layout:
        folder, colon, tag = place.rpartition(":")
        if colon and not Path(place).is_dir():
            return layout_folder.read(Path(folder), tag)
        return layout_folder.read(Path(place))

    def _remote(self, name: str) -> Layout:
        try:
            reference = Reference.parse(name)
        except ValueError as error:
            raise BuildError(str(error)) from error
        repository = reference.repository
        mirror = self.mirrors.get(repository.host)
        places = [repository, *([Repository(mirror, repository.name)] if mirror else [])][::-1]
        for repository in places:
            registry = self.registries.at(repository.host)
            if found := registry.get_manifest(repository.name, reference.name):
                break
        if found is None:
            raise RegistryError(
                f"there is no image {name}",
                hint="Is the base image's name right? `publisher base-image` makes one where no registry has any.",
            )
        top, content = found
        known = {top.digest: content}

        def manifest(digest: str) -> bytes:
            if digest not in known:
                answer = registry.get_manifest(repository.name, digest)
                if answer is None:
                    raise RegistryError(f"{repository} lacks the manifest {digest} that its index names")
                known[digest] = answer[1]
            return known[digest]

        if top.media_type in INDEX_TYPES:
            known[top.digest] = _images_only(content)
        return layouts.collect(top, manifest, lambda digest: RemoteBlob(repository, digest, self._open))

    def _open(self, repository: Repository, digest: str) -> BinaryIO:
        return self.registries.at(repository.host).open_blob(repository.name, digest)


def _images_only(content: bytes) -> bytes:
    """An index without what we never build for, and without attestations, which are no images."""
    with layouts.readable("the index of the base image"):
        document = layouts.decode(content)
        places = [Descriptor.read(entry).platform for entry in document["manifests"]]
    known = [bool(place and place.os == "linux" and place.architecture in MACHINES) for place in places]
    return layouts.encode({**document, "manifests": list(compress(document["manifests"], known))})


def select(layout: Layout, platform: Platform) -> Descriptor | None:
    """The manifest of a platform: the very one, else one that differs by its variant only."""
    found = list(layouts.platforms(layout))
    exact = [child for place, child in found if place == platform]
    near = [c for p, c in found if (p.os, p.architecture) == (platform.os, platform.architecture)]
    return next(iter(exact or near), None)


def missing(layout: Layout, wanted: Sequence[Platform]) -> list[Platform]:
    return [platform for platform in wanted if select(layout, platform) is None]
