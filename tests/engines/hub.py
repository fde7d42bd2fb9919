"""A stand-in for Docker Hub: a registry that serves ``library/python`` for both architectures.

A Dockerfile that says ``FROM python:3.9.19-slim-bullseye`` gets, through an engine's mirror of docker.io, Debian's
Python *of the version that runs the tests* in an image that behaves as the official one (python_image.py). The
documents' Dockerfile names 3.9.19 for every model, whatever Python it needs. ``FROM small:1`` gets a small image
(small_image.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from publisher.oci import layout_folder
from publisher.oci.layout import DOCKER_LIST, DOCKER_MANIFEST, INDEX, Descriptor, Layout, encode
from tests.engines import cut_index, debian, python_image, small_image
from tests.engines.bare_client import push_layout
from tests.engines.registry import RealRegistry, running

NAME = "library/python"
SMALL = "small:1"
TAGS = ("3.9.19-slim-bullseye", f"{debian.MINOR}-slim")
DOCKER_TYPES = f"{debian.MINOR}-docker-types"  # the same image in the media types that older images have


@dataclass(frozen=True, slots=True)
class Hub:
    """`host` is what an engine's mirror setting for docker.io must say; it speaks plain HTTP."""

    registry: RealRegistry

    @property
    def host(self) -> str:
        return self.registry.host


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The stand-in, running until the session ends."""
    folder = tmp_path_factory.mktemp("hub")
    image = folder / "image"
    with cut_index.pip_settings() as pip, running(folder / "registry") as registry:
        made = python_image.make(folder, pip)
        layout_folder.write(made, image)
        layout_folder.write(small_image.make(made, folder), folder / "small")
        push_layout(image, registry.host, NAME, TAGS[0])
        push_layout(folder / "small", registry.host, *f"library/{SMALL}".split(":"))
        for tag in TAGS[1:]:
            _put(registry.host, tag, made.manifests[made.top.digest], INDEX)
        _tag_with_docker_types(registry.host, made)
        yield Hub(registry)


def _put(host: str, reference: str, content: bytes, media_type: str) -> None:
    requests.put(
        f"http://{host}/v2/{NAME}/manifests/{reference}",
        data=content,
        headers={"Content-Type": media_type},
        timeout=30,
    ).raise_for_status()


def _tag_with_docker_types(host: str, image: Layout) -> None:
    children = []
    for child in image.children():
        manifest = image.json(child.digest)
        manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
        for layer in manifest["layers"]:
            layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        content = encode({**manifest, "mediaType": DOCKER_MANIFEST})
        described = Descriptor.of(DOCKER_MANIFEST, content, platform=child.platform)
        _put(host, described.digest, content, DOCKER_MANIFEST)
        children.append(described.json())
    content = encode({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": children})
    _put(host, DOCKER_TYPES, content, DOCKER_LIST)
