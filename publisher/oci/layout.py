"""Manifests and where the bytes of their blobs are: the one noun between build and push.

A layout's manifests and configs are in memory (they are small); each blob is a file, a few bytes, or a blob
of a repository that can be mounted or copied from, so that what a registry has is never fetched only to be
sent back. Written to disk, it is an OCI image layout (image-spec, "image-layout").
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from publisher import scratch
from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci.reference import Repository, is_digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_TAR = "application/vnd.oci.image.layer.v1.tar"
NAME = "org.opencontainers.image.ref.name"  # how an index entry of a layout on disk is named
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"

_LARGEST = 8 << 20  # bytes of a config
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
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


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


def blob_path(folder: Path, digest: str) -> Path:
    algorithm, _, name = digest.partition(":")
    return folder / "blobs" / algorithm / name


def write_blobs(layout: Layout, folder: Path) -> None:
    """Write every blob and manifest below `folder`, under no name. What is there already is kept."""
    for digest, blob in [*layout.blobs.items(), *((d, BytesBlob(m)) for d, m in layout.manifests.items())]:
        path = blob_path(folder, digest)
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        part = scratch.below(folder).part(path.name)
        seen = hashlib.sha256()
        try:
            with blob.open() as source, part.open("wb") as sink:
                while chunk := source.read(1 << 20):
                    seen.update(chunk)
                    sink.write(chunk)
            if f"sha256:{seen.hexdigest()}" != digest:
                raise BuildError(f"a blob does not have the digest {digest} that its manifest names")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def write(layout: Layout, folder: Path, names: Sequence[str] = ()) -> None:
    """Write an OCI image layout below `folder`, beside what is there, under each of `names`.

    The index is replaced last and in one step, so that a reader never sees a name without its blobs.
    """
    write_blobs(layout, folder)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index_file = folder / "index.json"
    old = json.loads(index_file.read_bytes())["manifests"] if index_file.exists() else []
    new = [{**layout.top.json(), "annotations": {NAME: name}} for name in names] or [layout.top.json()]
    taken = {(entry.get("annotations") or {}).get(NAME, entry["digest"]) for entry in new}
    kept = [
        entry for entry in old if (entry.get("annotations") or {}).get(NAME, entry["digest"]) not in taken
    ]
    _write_index(folder, kept + new)


def forget(folder: Path, digest: str) -> None:
    """Take every name of the image `digest` out of a layout's index; its blobs stay, for others may share them."""
    entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    _write_index(folder, [entry for entry in entries if entry["digest"] != digest])


def _write_index(folder: Path, entries: list[Any]) -> None:
    index_file = folder / "index.json"
    part = scratch.below(folder).part(index_file.name)
    part.write_bytes(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    part.replace(index_file)


def read(folder: Path, name: str | None = None, *, digest: str | None = None) -> Layout:
    """Read an OCI image layout: the manifest of that name, or digest, or its only one. Raises BuildError."""
    try:
        entries = json.loads((folder / "index.json").read_bytes())["manifests"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{folder} is not an OCI image layout: {error}") from error
    found = [
        entry
        for entry in entries
        if name in (None, (entry.get("annotations") or {}).get(NAME)) and digest in (None, entry["digest"])
    ]
    if len({e["digest"] for e in found}) != 1:
        named = name or digest
        raise BuildError(
            f"{folder} holds {len(found)} images" + (f" named {named}" if named else "; name one")
        )
    top = Descriptor.read({k: v for k, v in found[0].items() if k != "annotations"})
    return collect(
        top, lambda digest: _read_blob(folder, digest), lambda digest: FileBlob(blob_path(folder, digest))
    )


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


def _read_blob(folder: Path, digest: str) -> bytes:
    try:
        content = blob_path(folder, digest).read_bytes()
    except OSError as error:
        raise BuildError(f"{folder} lacks the blob {digest}") from error
    if digest_of(content) != digest:
        raise BuildError(f"the blob {digest} in {folder} is corrupt")
    return content


def platforms(layout: Layout) -> Iterator[tuple[Platform, Descriptor]]:
    """Each platform with its manifest; a plain manifest's platform is read from its config."""
    for child in layout.children():
        if child.platform:
            yield child.platform, child
        elif child == layout.top:
            config = layout.config(child.digest)
            yield Platform.parse(f"{config['os']}/{config['architecture']}"), child
