"""A registry as a destination: nothing is asked or sent twice, and a wrong belief costs time, not the image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from publisher.builders.base import Remembered
from publisher.destinations.layout import LayoutDestination
from publisher.destinations.registry import RegistryDestination
from publisher.oci import layout as layouts
from publisher.oci.credentials import Credentials
from publisher.oci.layout import CONFIG, LAYER_GZIP, MANIFEST, BytesBlob, Descriptor, Layout
from publisher.oci.push import push
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries
from publisher.progress import Report, Silent
from tests.engines.registry import RealRegistry

REPORT = Report(Silent(), "test")
SHARED = [b"environment layer %d" % number for number in range(20)]


def image(name: bytes) -> Layout:
    """A small image: twenty layers that all images share, and one of its own."""
    layers = [Descriptor.of(LAYER_GZIP, content) for content in [*SHARED, name]]
    config = b'{"architecture":"amd64","os":"linux","name":"%s"}' % name
    described = Descriptor.of(CONFIG, config)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described.json()}
    content = layouts.encode({**document, "layers": [layer.json() for layer in layers]})
    top = Descriptor.of(MANIFEST, content)
    blobs = {
        d.digest: BytesBlob(c) for d, c in zip([described, *layers], [config, *SHARED, name], strict=True)
    }
    return Layout(top, {top.digest: content}, blobs, {d.digest: d.size for d in [described, *layers]})


@pytest.fixture
def registries() -> Registries:
    return Registries(Credentials())


def destination(registry: RealRegistry, registries: Registries, folder: Path) -> RegistryDestination:
    return RegistryDestination(registries, Repository(registry.host, "cache/all"), folder / "pushed")


def test_the_next_image_asks_for_its_own_blobs_alone(
    registry: RealRegistry, registries: Registries, repository: str, tmp_path: Path
) -> None:
    """What the last push brought is known by its manifest: one question instead of one for each layer."""
    place = destination(registry, registries, tmp_path)
    for name in (b"one", b"two"):
        whole = f"{registry.host}/{repository}:{name.decode()}"
        before = len(registry.requests("HEAD", f"/v2/{repository}/blobs/"))
        place.push(image(name), whole, REPORT, frozenset())
        place.tag(image(name), whole)
        assert place.existing(whole) == image(name).top.digest
    asked = len(registry.requests("HEAD", f"/v2/{repository}/blobs/")) - before
    assert asked <= 2


def test_a_wrong_belief_is_mended(registry: RealRegistry, registries: Registries, repository: str) -> None:
    """Blobs that are believed to be there and are not are sent when the registry says so."""
    one = image(b"believed")
    pushed = push(one, Repository(registry.host, repository), registries, present=frozenset(one.blobs))
    assert pushed.sent > 0
    assert registries.at(registry.host).head_manifest(repository, one.top.digest)


def test_what_went_ahead_is_not_asked_for(
    registry: RealRegistry, registries: Registries, repository: str, tmp_path: Path
) -> None:
    """Blobs sent during the build count as sent, are there, and name nothing."""
    place, one = destination(registry, registries, tmp_path), image(b"ahead")
    whole = f"{registry.host}/{repository}:v1"
    with place.ahead(whole) as early:
        for digest, blob in one.blobs.items():
            early.offer(digest, one.sizes[digest], blob)
    assert early.sent == sum(one.sizes.values())
    assert early.there == set(one.blobs)
    assert place.existing(whole) == ""
    pushed = place.push(one, whole, REPORT, early.there)
    assert pushed.sent == len(one.manifests[one.top.digest])


def test_what_is_remembered_is_found_by_another_machine(
    registry: RealRegistry, registries: Registries, repository: str, tmp_path: Path
) -> None:
    """A document and its layers come back from the cache repository, and the layers can be read there."""
    place, one = destination(registry, registries, tmp_path), image(b"kept")
    whole = f"{registry.host}/{repository}:v1"
    place.push(one, whole, REPORT, frozenset())
    layers = tuple(one.layers(one.top.digest))
    document = {"layers": [{"title": "t", "diff_id": layer.digest} for layer in layers]}
    place.remember(
        whole, one, [Remembered("env-test", document, layers), Remembered("base-test", {"python": "3"})]
    )
    other = destination(registry, Registries(Credentials()), tmp_path / "other").memory()
    assert other is not None
    found = other.find("env-test")
    assert found is not None
    assert (found.document, found.layers) == (document, layers)
    with other.blob(layers[-1].digest).open() as stream:
        assert stream.read() == b"kept"
    facts = other.find("base-test")
    assert facts is not None
    assert facts.document == {"python": "3"}
    assert other.find("env-absent") is None


def test_a_folder_is_a_destination_too(tmp_path: Path) -> None:
    """An image on disk has no name before its tag, and keeps its neighbours."""
    place = LayoutDestination(tmp_path)
    for name in (b"one", b"two"):
        whole = f"oci:{tmp_path}/{name.decode()}:v1"
        place.push(image(name), whole, REPORT, frozenset())
        assert place.existing(whole) == ""
        place.tag(image(name), whole)
    assert place.existing(f"oci:{tmp_path}/one:v1") == image(b"one").top.digest
    assert place.existing(f"oci:{tmp_path}/two:v1") == image(b"two").top.digest


def test_many_writers_of_one_layout(tmp_path: Path) -> None:
    """Publications side by side into one folder: no name is lost to another's reading and writing of the index."""
    place = LayoutDestination(tmp_path)
    names = [f"oci:{tmp_path}/model:v{number}" for number in range(40)]

    def bring(name: str) -> None:
        made = image(name.encode())
        place.push(made, name, REPORT, frozenset())
        place.tag(made, name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(bring, names))
    assert [place.existing(name) for name in names] == [image(name.encode()).top.digest for name in names]
