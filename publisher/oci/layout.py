"""Manifests and where the bytes of their blobs are: the one noun between build and push.

A layout's manifests and configs are in memory (they are small); each blob is a file, a few bytes, or a blob
of a repository that can be mounted or copied from, so that what a registry has is never fetched only to be
sent back. Written to disk, it is an OCI image layout (image-spec, "image-layout").
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci.reference import Repository, is_digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
READABLE_LAYERS = ("gzip", "tar")  # how media types of layers end that are read here
NAME = "org.opencontainers.image.ref.name"  # how an index entry of a layout on disk is named
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_TAR = "application/vnd.docker.image.rootfs.diff.tar"

_LARGEST = 8 << 20  # bytes of a config
_DEEPEST = 100  # lists and objects within each other
_NESTING = re.compile(
    r'[\[\]{}]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL
)  # what is in a string does not count
_MOST_CHILDREN = 1000  # of an index; each costs a request

INDEX_TYPES = (INDEX, DOCKER_LIST)
MANIFEST_TYPES = (MANIFEST, DOCKER_MANIFEST)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An OCI content descriptor. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""

    @classmethod
    def of(cls, media_type: str, content: bytes, **more: Any) -> Descriptor:
        return cls(media_type, digest_of(content), len(content), **more)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Descriptor:
        """From JSON; raises BuildError where a field is missing or of another kind."""
        try:
            place = data.get("platform") or {}
            platform = (
                Platform.parse(
                    "/".join(filter(None, (place["os"], place["architecture"], place.get("variant"))))
                )
                if place.get("os") not in (None, "", "unknown")
                else None
            )
            digest, size = data["digest"], data["size"]
            if not isinstance(size, int) or size < 0 or not is_digest(str(digest)):
                raise ValueError(f"a descriptor with digest {digest!r} and size {size!r}")
            return cls(
                data["mediaType"],
                digest,
                size,
                platform,
                dict(data.get("annotations") or {}),
                data.get("artifactType", ""),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BuildError(f"a manifest cannot be read: {error!r}") from error

    def json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            data["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.variant:
                data["platform"]["variant"] = self.platform.variant
        if self.annotations:
            data["annotations"] = dict(sorted(self.annotations.items()))
        if self.artifact_type:
            data["artifactType"] = self.artifact_type
        return data


class Blob(Protocol):
    """Where bytes are."""

    def open(self) -> BinaryIO:
        """A stream from the first byte; the caller closes it. Opening again starts anew."""
        ...


@dataclass(frozen=True, slots=True)
class BytesBlob:
    content: bytes

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


@dataclass(frozen=True, slots=True)
class FileBlob:
    path: Path

    def open(self) -> BinaryIO:
        return self.path.open("rb")


@dataclass(frozen=True, slots=True)
class RemoteBlob:
    """A blob of a repository: mounted from there where the registry is the same, else copied."""

    repository: Repository
    digest: str
    opener: Callable[[Repository, str], BinaryIO]

    def open(self) -> BinaryIO:
        return self.opener(self.repository, self.digest)


@dataclass(frozen=True, slots=True)
class Layout:
    """An image for one or more platforms: its top manifest, and every blob and manifest below it."""

    top: Descriptor
    manifests: Mapping[str, bytes]  # by digest: the index and each platform's manifest
    blobs: Mapping[str, Blob]  # by digest: configs and layers
    sizes: Mapping[str, int]  # of the blobs, by digest

    def children(self) -> list[Descriptor]:
        """The platform manifests, in the index's order; the top alone where it is a plain manifest."""
        if self.top.media_type not in INDEX_TYPES:
            return [self.top]
        return [Descriptor.read(entry) for entry in self.json(self.top.digest)["manifests"]]

    def json(self, digest: str) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self.manifests[digest])
        return data

    def layers(self, manifest: str) -> list[Descriptor]:
        """The layers of a platform's manifest, bottom first."""
        return [Descriptor.read(entry) for entry in self.json(manifest)["layers"]]

    def config(self, manifest: str) -> dict[str, Any]:
        digest = self.json(manifest)["config"]["digest"]
        with readable(f"the config {digest}"), self.blobs[digest].open() as stream:
            content = decode_small(stream)
        if not isinstance(content, dict):
            raise BuildError(f"the config {digest} is no document")
        return content


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def encode(document: Mapping[str, Any]) -> bytes:
    """The one way we write JSON: keys sorted, no spaces, so that the same document has the same digest."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode(content: bytes | str) -> Any:
    """JSON of others; raises ValueError, for what is nested without end, too."""
    text = content if isinstance(content, str) else content.decode(errors="replace")
    if text.count("[") + text.count("{") > _DEEPEST and _depth(text) > _DEEPEST:
        # Not left to the parser: where it has used up the stack, whatever Python frees in that moment fails as well.
        raise ValueError("it is nested too deeply")
    return json.loads(content)


def _depth(text: str) -> int:
    depth = deepest = 0
    for token in _NESTING.finditer(text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def decode_small(stream: BinaryIO) -> Any:
    """The same of a blob, which is said to be a config and may be of any size."""
    content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
    return decode(content)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Documents that are not what they should be, read inside, become a BuildError."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"{what} cannot be read: {error!r}"[:500]) from error


def collect(top: Descriptor, manifest: Callable[[str], bytes], blob: Callable[[str], Blob]) -> Layout:
    """Follow an index to its manifests and their blobs. `manifest` must give bytes of the digest asked for.

    Entries without a platform, which builders use for attestations, are left out of the walk's blobs but the
    index itself stays as it is.
    """
    manifests = {top.digest: manifest(top.digest)}
    blobs: dict[str, Blob] = {}
    sizes: dict[str, int] = {}
    below = [top]
    with readable(f"the manifest {top.digest}"):
        if top.media_type in INDEX_TYPES:
            below = [Descriptor.read(entry) for entry in decode(manifests[top.digest])["manifests"]]
        if len(below) > _MOST_CHILDREN:
            raise ValueError(f"it has {len(below):,} entries")
        for child in below:
            content = manifests.setdefault(
                child.digest, manifest(child.digest) if child != top else manifests[top.digest]
            )
            document = decode(content)
            for entry in [document["config"], *document["layers"]]:
                descriptor = Descriptor.read(entry)
                blobs[descriptor.digest] = blob(descriptor.digest)
                sizes[descriptor.digest] = descriptor.size
    return Layout(top, manifests, blobs, sizes)


def platforms(layout: Layout) -> Iterator[tuple[Platform, Descriptor]]:
    """Each platform with its manifest; a plain manifest's platform is read from its config."""
    for child in layout.children():
        if child.platform:
            yield child.platform, child
        elif child == layout.top:
            config = layout.config(child.digest)
            yield Platform.parse(f"{config['os']}/{config['architecture']}"), child
