"""The registry client and the pusher, on real registries: open, with htpasswd, with tokens."""

from __future__ import annotations

import io
import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from publisher.domain import Platform
from publisher.errors import AuthenticationError, BuildError, RegistryError, TransferError
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.layout import (
    CONFIG,
    INDEX,
    LAYER_TAR,
    MANIFEST,
    BytesBlob,
    Descriptor,
    Layout,
    RemoteBlob,
    collect,
    digest_of,
    encode,
)
from publisher.oci.push import push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries
from tests.engines.registry import RealRegistry, TokenService

PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))


def small_image(seed: str) -> Layout:
    """An index of two platforms that share a layer; other bytes for each seed."""
    contents: dict[str, bytes] = {}
    manifests: dict[str, bytes] = {}
    entries = []
    for platform in PLATFORMS:
        parts = [f"shared {seed}".encode() * 1000, f"{platform} {seed}".encode() * 5000]
        layers = [Descriptor.of(LAYER_TAR, part) for part in parts]
        rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
        config = encode({"architecture": platform.architecture, "os": platform.os, "rootfs": rootfs})
        contents |= {digest_of(part): part for part in (*parts, config)}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(CONFIG, config).json(),
            "layers": [layer.json() for layer in layers],
        }
        manifest = encode(document)
        manifests[digest_of(manifest)] = manifest
        entries.append(Descriptor.of(MANIFEST, manifest, platform=platform).json())
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    manifests[digest_of(index)] = index
    blobs = {digest: BytesBlob(content) for digest, content in contents.items()}
    sizes = {digest: len(content) for digest, content in contents.items()}
    return Layout(Descriptor.of(INDEX, index), manifests, blobs, sizes)


def clients(registry: RealRegistry) -> Registries:
    """Clients that know the registry's user, where it has one."""
    auth = {registry.host: BasicAuth(registry.user, registry.password)} if registry.user else {}
    return Registries(Credentials(auth))


@pytest.fixture(params=["registry", "private_registry", "token_registry"])
def any_registry(request: pytest.FixtureRequest) -> RealRegistry:
    """Each kind of authentication."""
    found: RealRegistry = request.getfixturevalue(request.param)
    return found


def test_round_trip(any_registry: RealRegistry, repository: str) -> None:
    """What is pushed comes back with the same bytes, whatever the registry wants to know of us."""
    image, place = small_image(repository), Repository(any_registry.host, repository)
    pushed = push(image, place, clients(any_registry))
    fresh = clients(any_registry)
    reader = fresh.at(place.host)

    def manifest(digest: str) -> bytes:
        found = reader.get_manifest(repository, digest)
        assert found is not None
        return found[1]

    back = collect(image.top, manifest, lambda digest: RemoteBlob(place, digest, fresh.open_blob))
    assert back.manifests == image.manifests
    assert set(back.blobs) == set(image.blobs)
    for digest, blob in back.blobs.items():
        with blob.open() as stream:
            assert digest_of(stream.read()) == digest
    assert pushed.sent == sum(image.sizes.values()) + sum(map(len, image.manifests.values()))


def test_second_push_sends_nothing(any_registry: RealRegistry, repository: str) -> None:
    """A second push of the same image sends no byte, and the registry sees no write."""
    image, place = small_image(repository), Repository(any_registry.host, repository)
    push(image, place, clients(any_registry))
    writes = len(any_registry.requests("PUT", repository)), len(any_registry.requests("POST", repository))
    heard: list[int] = []
    pushed = push(image, place, clients(any_registry), on_total=heard.append, on_bytes=heard.append)
    assert (pushed.sent, pushed.mounted, pushed.present) == (0, 0, len(image.blobs))
    assert heard == []
    assert writes == (
        len(any_registry.requests("PUT", repository)),
        len(any_registry.requests("POST", repository)),
    )


def test_mount_between_repositories(any_registry: RealRegistry, repository: str) -> None:
    """Blobs of another repository of the same registry are mounted: only manifests travel."""
    image, source = small_image(repository), Repository(any_registry.host, f"{repository}/source")
    known = clients(any_registry)
    push(image, source, known)
    remote = {digest: RemoteBlob(source, digest, known.open_blob) for digest in image.blobs}
    linked = Layout(image.top, image.manifests, remote, image.sizes)
    by_blob = push(linked, Repository(source.host, f"{repository}/one"), known)
    by_list = push(image, Repository(source.host, f"{repository}/two"), known, mount_from=[source])
    manifests = sum(map(len, image.manifests.values()))
    for pushed in (by_blob, by_list):
        assert (pushed.sent, pushed.mounted, pushed.present) == (manifests, len(image.blobs), 0)


def test_mount_of_an_absent_blob(registry: RealRegistry, repository: str) -> None:
    """A mount that the registry declines is False, and the upload that it opened instead is cancelled."""
    client = clients(registry).at(registry.host)
    assert client.mount_blob(repository, digest_of(repository.encode()), f"{repository}/other") is False
    assert ['" 204 ' in line for line in registry.requests("DELETE", repository)] == [True]


def test_copy_between_registries(
    registry: RealRegistry, private_registry: RealRegistry, repository: str
) -> None:
    """Blobs of another registry are copied through us, each registry with its own credentials."""
    image, source = small_image(repository), Repository(private_registry.host, repository)
    known = clients(private_registry)
    push(image, source, known)
    remote = {digest: RemoteBlob(source, digest, known.open_blob) for digest in image.blobs}
    place = Repository(registry.host, repository)
    pushed = push(Layout(image.top, image.manifests, remote, image.sizes), place, known)
    assert pushed.sent > sum(image.sizes.values())
    assert known.at(place.host).head_manifest(repository, image.top.digest) == image.top


def test_order_and_tag(registry: RealRegistry, repository: str) -> None:
    """Blobs come first, then platform manifests, then the index; a tag exists only when `tag` has put it."""
    image, place, known = small_image(repository), Repository(registry.host, repository), clients(registry)
    push(image, place, known)
    puts = [line.split('"')[1].split()[1] for line in registry.requests("PUT", repository)]
    kinds = ["blob" if "/blobs/" in path else path.rpartition("/")[2] for path in puts]
    children = [child.digest for child in image.children()]
    assert kinds[: len(image.blobs)] == ["blob"] * len(image.blobs)
    assert sorted(kinds[len(image.blobs) : -1]) == sorted(children)
    assert kinds[-1] == image.top.digest
    assert known.at(place.host).head_manifest(repository, "v1") is None
    tag(image.top, image.manifests[image.top.digest], place, "v1", known)
    assert known.at(place.host).head_manifest(repository, "v1") == image.top


class Slow(io.RawIOBase):
    """A byte each twentieth of a second."""

    def read(self, amount: int = -1) -> bytes:
        time.sleep(0.05)
        return b"x"


class SlowBlob:
    def open(self) -> BinaryIO:
        return Slow()  # type: ignore[return-value]


def test_first_error_stops_the_push(registry: RealRegistry, repository: str) -> None:
    """One blob that cannot be sent ends the push, the others in mid-blob too, and no manifest is put."""
    image = small_image(repository)
    wrong, slow = sorted(image.blobs)[:2]
    broken = {**image.blobs, wrong: BytesBlob(b"not this"), slow: SlowBlob()}
    layout = Layout(image.top, image.manifests, broken, {**image.sizes, slow: 1000})
    start = time.monotonic()
    with pytest.raises(BuildError, match=wrong):
        push(layout, Repository(registry.host, repository), clients(registry))
    assert time.monotonic() - start < 10
    assert not [line for line in registry.requests("PUT", repository) if "/manifests/" in line]


@pytest.mark.parametrize("kind", ["private_registry", "token_registry"])
def test_wrong_password(kind: str, repository: str, request: pytest.FixtureRequest) -> None:
    """A wrong password is told with the host and the user, without the password and without a retry."""
    found: RealRegistry = request.getfixturevalue(kind)
    wrong = Registries(Credentials({found.host: BasicAuth(found.user, "canary-7261")}))
    start = time.monotonic()
    with pytest.raises(AuthenticationError) as caught:
        push(small_image(repository), Repository(found.host, repository), wrong)
    assert found.host in str(caught.value)
    assert "does not accept our credentials" in str(caught.value)
    assert "canary-7261" not in caught.value.line + repr(caught.value.__cause__) + repr(wrong.at(found.host))
    assert time.monotonic() - start < 3


def test_no_credentials(private_registry: RealRegistry, repository: str) -> None:
    """A registry that asks for credentials, of which there are none, gets a hint that says how to give them."""
    with pytest.raises(AuthenticationError, match="none are known") as caught:
        Registries(Credentials()).at(private_registry.host).head_manifest(repository, "v1")
    assert "REGISTRY_TOKEN" in caught.value.hint


def test_expired_token(token_registry: RealRegistry, token_service: TokenService, repository: str) -> None:
    """A token that expires between two requests is renewed once, and the request repeated."""
    client = clients(token_registry).at(token_registry.host)
    token_service.seconds = -58  # the registry's leeway is 60 s: good for two seconds more
    client.head_blob(repository, digest_of(b""))
    token_service.seconds = 300
    issued = len(token_service.issued)
    time.sleep(3.2)
    assert client.head_blob(repository, digest_of(b"")) is None
    assert len(token_service.issued) == issued + 1
    client.head_blob(repository, digest_of(b"a"))
    assert len(token_service.issued) == issued + 1


def test_identity_token(token_registry: RealRegistry, token_service: TokenService, repository: str) -> None:
    """An identity token, as `docker login` keeps it for some registries, buys access by OAuth 2."""
    auth = BasicAuth(token_service.user, identity_token=token_service.identity_token)
    known = Registries(Credentials({token_registry.host: auth}))
    image = small_image(repository)
    push(image, Repository(token_registry.host, repository), known)
    assert known.at(token_registry.host).head_manifest(repository, image.top.digest) == image.top


class Pattern(io.RawIOBase):
    """`size` bytes that no file and no memory holds; the same each time."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, amount: int = -1) -> bytes:
        amount = min(self._left, amount if amount >= 0 else self._left)
        self._left -= amount
        return bytes(amount)


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_flat_memory(registry: RealRegistry, repository: str) -> None:
    """64 MiB go up and come down with less than 8 MiB of memory."""
    size = 64 << 20
    digest = "sha256:3b6a07d0d404fab4e23b6d34bc6696a6a312dd92821332385e5af7c01c421351"
    client = clients(registry).at(registry.host)
    client.push_blob(repository, digest, size, lambda: Pattern(size))  # type: ignore[arg-type,return-value]
    assert client.head_blob(repository, digest) == size
    with client.open_blob(repository, digest) as stream:
        while stream.read(1 << 20):
            pass
    assert tracemalloc.get_traced_memory()[1] < 8 << 20


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sizes(registry: RealRegistry, repository: str, size: int) -> None:
    """Blobs at the edges of our blocks, and the empty one, arrive whole."""
    content, heard = os.urandom(size), [0]
    client = clients(registry).at(registry.host)
    client.push_blob(repository, digest_of(content), size, lambda: io.BytesIO(content), heard.append)
    assert client.open_blob(repository, digest_of(content)).read() == content
    assert sum(heard) == size


@pytest.mark.parametrize("claimed", [9, 11])
def test_wrong_size(registry: RealRegistry, repository: str, claimed: int) -> None:
    """A blob that is shorter or longer than its manifest says is an error of the build, and is not stored."""
    client, digest = clients(registry).at(registry.host), digest_of(b"0123456789")
    with pytest.raises(BuildError, match="longer" if claimed == 9 else "shorter"):
        client.push_blob(repository, digest, claimed, lambda: io.BytesIO(b"0123456789"))
    assert client.head_blob(repository, digest) is None


def test_wrong_digest(registry: RealRegistry, repository: str) -> None:
    """Bytes of another digest are refused in the registry's own words, after one try."""
    heard: list[int] = []
    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        clients(registry).at(registry.host).push_blob(
            repository, digest_of(b"other"), 4, lambda: io.BytesIO(b"blob"), heard.append
        )
    assert len(registry.requests("POST", repository)) == 1
    assert sum(heard) == 0


def test_corrupt_in_the_registry(registry: RealRegistry, repository: str) -> None:
    """Bytes that changed in the registry's storage are not handed over as good, not even the last block."""
    content = os.urandom(100_000)
    digest = digest_of(content)
    client = clients(registry).at(registry.host)
    client.push_blob(repository, digest, len(content), lambda: io.BytesIO(content))
    name = digest.removeprefix("sha256:")
    stored = Path(registry.folder, "storage/docker/registry/v2/blobs/sha256", name[:2], name, "data")
    stored.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(TransferError, match="arrived as"):
        client.open_blob(repository, digest).read(len(content))
