"""What engines hand over becomes one image: OCI's media types, our labels and time, only what was asked for."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from publisher.destinations.layout import LayoutDestination
from publisher.domain import ManifestForm, Platform
from publisher.errors import BuildError
from publisher.oci import layout_folder
from publisher.oci.layout import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
    BytesBlob,
    Descriptor,
    Layout,
    encode,
    platforms,
)
from publisher.oci.normalise import one_image

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def image(platform: Platform, *, docker: bool, **config: Any) -> Layout:
    """An image of one layer; Docker's builders add what only they know."""
    layer = Descriptor.of(DOCKER_LAYER_GZIP if docker else LAYER_GZIP, b"layer")
    document = {
        "os": platform.os,
        "architecture": platform.architecture,
        "created": "2001-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{'1' * 64}"]},
        "config": {"Labels": {"own": "engine", "theirs": "x"}, "Healthcheck": {"Test": ["CMD", "true"]}},
        **({"docker_version": "27", "container_config": {"Hostname": "h"}, "parent": "p"} if docker else {}),
        **config,
    }
    described = Descriptor.of(DOCKER_CONFIG if docker else CONFIG, encode(document))
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else MANIFEST,
            "config": described.json(),
            "layers": [layer.json()],
            "annotations": {"org.opencontainers.image.base.name": "theirs"},
        }
    )
    top = Descriptor.of(DOCKER_MANIFEST if docker else MANIFEST, manifest)
    blobs = {described.digest: BytesBlob(encode(document)), layer.digest: BytesBlob(b"layer")}
    return Layout(top, {top.digest: manifest}, blobs, {each.digest: each.size for each in (described, layer)})


@pytest.mark.parametrize("docker", [True, False])
def test_one_index(docker: bool, tmp_path: Path) -> None:
    """Types are OCI's on each level, ours win over the engine's, and a health check stays."""
    found = {ARM64: image(ARM64, docker=docker), AMD64: image(AMD64, docker=docker)}
    labels = {"own": "ours", "org.opencontainers.image.version": "v1"}
    layout = one_image(found, labels, CREATED, {"context": "c"})
    layout_folder.write(layout, tmp_path)
    layout = layout_folder.read(tmp_path)  # every digest and size fits
    index = layout.json(layout.top.digest)
    told = {"org.opencontainers.image.version": "v1", "context": "c"}
    assert (layout.top.media_type, index["annotations"]) == (INDEX, told)
    assert [each["platform"]["architecture"] for each in index["manifests"]] == ["amd64", "arm64"]
    for child in index["manifests"]:
        manifest, config = layout.json(child["digest"]), layout.config(child["digest"])
        types = (manifest["mediaType"], manifest["config"]["mediaType"], manifest["layers"][0]["mediaType"])
        assert types == (MANIFEST, CONFIG, LAYER_GZIP)
        assert manifest["annotations"] == told
        assert config["created"] == "2026-01-02T03:04:05Z"
        assert config["config"]["Labels"] == {**labels, "theirs": "x"}
        assert config["config"]["Healthcheck"] == {"Test": ["CMD", "true"]}
        assert not {"docker_version", "container_config", "parent"} & set(config)


def test_the_format_it_came_in_leaves_no_trace() -> None:
    """By Docker's types or by OCI's: the same bytes."""
    made = [one_image({AMD64: image(AMD64, docker=each)}, {}, CREATED, {}) for each in (True, False)]
    assert made[0].top == made[1].top


def test_an_image_of_another_platform_is_refused() -> None:
    """An engine that did not heed the platform must not publish amd64 as arm64."""
    with pytest.raises(BuildError, match="linux/arm64 is an image of another platform"):
        one_image({ARM64: image(AMD64, docker=False)}, {}, CREATED, {})


def test_an_image_without_labels_or_config() -> None:
    layout = one_image({AMD64: image(AMD64, docker=False, config=None)}, {"a": "b"}, CREATED, {})
    (child,) = layout.json(layout.top.digest)["manifests"]
    assert json.loads(json.dumps(layout.config(child["digest"])["config"])) == {"Labels": {"a": "b"}}


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize(
    ("form", "types"),
    [
        ("plain", (MANIFEST, CONFIG, LAYER_GZIP)),
        ("docker", (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)),
    ],
)
def test_one_manifest(form: ManifestForm, types: tuple[str, str, str], docker: bool, tmp_path: Path) -> None:
    """Of one platform, by OCI's media types or Docker's, whatever the engine wrote; it says what it was made from."""
    labels = {"org.opencontainers.image.version": "v1"}
    built = one_image({AMD64: image(AMD64, docker=docker)}, labels, CREATED, {"context": "c"}, form)
    layout_folder.write(built, tmp_path, ["m:v1"])
    layout = layout_folder.read(tmp_path)  # every digest and size fits
    manifest, config = layout.json(layout.top.digest), layout.config(layout.top.digest)
    found = (manifest["mediaType"], manifest["config"]["mediaType"], manifest["layers"][0]["mediaType"])
    assert (layout.top.media_type, found) == (types[0], types)
    assert list(layout.manifests) == [layout.top.digest]
    assert [(place, child.digest) for place, child in platforms(layout)] == [(AMD64, layout.top.digest)]
    told = LayoutDestination(tmp_path).annotations(f"oci:{tmp_path}/m:v1", layout.top.digest)
    assert {"context": "c", **labels}.items() <= told.items()
    assert ("annotations" in manifest) == (form == "plain")  # Docker's format has none
    assert config["config"]["Labels"].get("context") == (None if form == "plain" else "c")


def test_one_manifest_is_for_one_platform() -> None:
    """Said before anything is pushed, where the settings let it through."""
    found = {each: image(each, docker=False) for each in (AMD64, ARM64)}
    with pytest.raises(BuildError, match="is for linux/amd64, linux/arm64"):
        one_image(found, {}, CREATED, {}, "plain")


def test_a_layer_that_docker_has_no_type_for() -> None:
    """zstd came after Docker's manifests; to call it gzip would make an image that nobody can unpack."""
    layout = image(AMD64, docker=False)
    zstd = LAYER_GZIP.replace("gzip", "zstd")
    manifest = layout.manifests[layout.top.digest].replace(LAYER_GZIP.encode(), zstd.encode())
    top = Descriptor.of(MANIFEST, manifest)
    with pytest.raises(BuildError, match=r"layer\.v1\.tar\+zstd has no media type of Docker's"):
        one_image(
            {AMD64: replace(layout, top=top, manifests={top.digest: manifest})}, {}, CREATED, {}, "docker"
        )
