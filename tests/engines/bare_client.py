"""Registry calls as plain HTTP, so that what the publisher pushed is judged by none of its own code."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from publisher.oci import layout, layout_folder

ACCEPT = ", ".join((*layout.INDEX_TYPES, *layout.MANIFEST_TYPES))
Account = tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index as it came: the digest is computed here, not taken from a header."""

    digest: str
    document: dict[str, Any]

    @property
    def platforms(self) -> dict[str, str]:
        """Of an index: ``os/architecture`` -> digest."""
        return {
            f"{entry['platform']['os']}/{entry['platform']['architecture']}": entry["digest"]
            for entry in self.document["manifests"]
        }

    @property
    def layers(self) -> list[str]:
        """Of a platform's manifest: the layers' digests, bottom first."""
        return [entry["digest"] for entry in self.document["layers"]]


def manifest(host: str, name: str, reference: str, account: Account = None) -> Manifest | None:
    """A manifest by tag or digest, None where the registry has none."""
    url = f"http://{host}/v2/{name}/manifests/{reference}"
    answer = requests.get(url, headers={"Accept": ACCEPT}, auth=account, timeout=30)
    if answer.status_code == 404:
        return None
    answer.raise_for_status()
    return Manifest("sha256:" + hashlib.sha256(answer.content).hexdigest(), answer.json())


def of_reference(image: str, account: Account = None) -> Manifest | None:
    """The same for ``host/name:tag``."""
    host, _, rest = image.partition("/")
    name, _, tag = rest.rpartition(":")
    return manifest(host, name, tag, account)


def repositories(host: str, account: Account = None) -> list[str]:
    """The registry's catalog: every repository into which anything was ever committed."""
    answer = requests.get(f"http://{host}/v2/_catalog?n=1000", auth=account, timeout=30)
    answer.raise_for_status()
    return list(answer.json()["repositories"] or [])


def push_layout(folder: Path, host: str, name: str, tag: str, account: Account = None) -> None:
    """Send the only image of an OCI layout on disk."""
    image = layout_folder.read(folder)
    with requests.Session() as session:
        session.auth = account
        for digest in image.blobs:
            place = session.post(f"http://{host}/v2/{name}/blobs/uploads/", timeout=30).headers["Location"]
            with layout_folder.blob_path(folder, digest).open("rb") as stream:
                session.put(place, params={"digest": digest}, data=stream, timeout=300).raise_for_status()
        below = [child for child in image.children() if child != image.top]
        for entry, reference in [*((child, child.digest) for child in below), (image.top, tag)]:
            session.put(
                f"http://{host}/v2/{name}/manifests/{reference}",
                data=image.manifests[entry.digest],
                headers={"Content-Type": entry.media_type},
                timeout=30,
            ).raise_for_status()
