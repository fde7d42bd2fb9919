"""A layout on disk: an OCI image layout (image-spec, "image-layout"), written so that no reader sees half of it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from publisher import scratch
from publisher.errors import BuildError
from publisher.oci.layout import (
    INDEX,
    NAME,
    BytesBlob,
    Descriptor,
    FileBlob,
    Layout,
    collect,
    digest_of,
    encode,
)


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
    with _alone(folder):
        old = _entries(folder)
        new = [{**layout.top.json(), "annotations": {NAME: name}} for name in names] or [layout.top.json()]
        taken = {_named(entry) for entry in new}
        _write_index(folder, [*(entry for entry in old if _named(entry) not in taken), *new])


def forget(folder: Path, digest: str) -> None:
    """Take every name of the image `digest` out of a layout's index; its blobs stay, for others may share them."""
    with _alone(folder):
        _write_index(folder, [entry for entry in _entries(folder) if entry["digest"] != digest])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time reads the index, changes it and replaces it: else of two names one would be lost."""
    with os.fdopen(
        os.open(folder / "oci-layout", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b"
    ) as marker:
        with suppress(OSError):  # no locks on this file system: then it is as if there were one writer
            fcntl.flock(marker, fcntl.LOCK_EX)
        if not marker.read(1):
            marker.write(b'{"imageLayoutVersion":"1.0.0"}')
            marker.flush()
        yield


def _entries(folder: Path) -> list[Any]:
    index_file = folder / "index.json"
    try:
        entries: list[Any] = json.loads(index_file.read_bytes())["manifests"] if index_file.exists() else []
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{folder} is not an OCI image layout: {error}") from error
    return entries


def _named(entry: Mapping[str, Any]) -> str:
    return str((entry.get("annotations") or {}).get(NAME, entry["digest"]))


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


def _read_blob(folder: Path, digest: str) -> bytes:
    try:
        content = blob_path(folder, digest).read_bytes()
    except OSError as error:
        raise BuildError(f"{folder} lacks the blob {digest}") from error
    if digest_of(content) != digest:
        raise BuildError(f"the blob {digest} in {folder} is corrupt")
    return content
