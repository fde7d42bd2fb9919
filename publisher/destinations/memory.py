"""What earlier builds left in a registry: a small manifest for each key, in a repository of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass

from publisher.builders.base import Remembered
from publisher.errors import PublisherError
from publisher.oci import layout as layouts
from publisher.oci.layout import CONFIG, MANIFEST, Blob, BytesBlob, Descriptor, Layout, RemoteBlob
from publisher.oci.push import push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries

_DOCUMENT = "io.github.model-publisher.document"


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

    def keep(self, one: Remembered, layout: Layout, source: Repository, jobs: int) -> None:
        """Leave `one`, whose blobs are in `layout` and in the repository `source` already. Raises RegistryError."""
        cache = self.repository
        if not one.newest and self.registries.at(cache.host).head_manifest(cache.name, one.key):
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
        push(small, cache, self.registries, workers=jobs, mount_from=(source,))
        tag(top, content, cache, one.key, self.registries)
