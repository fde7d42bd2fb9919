"""What the registry client asks beside pulling and pushing: may we push, and remove what was published."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.errors import AuthenticationError, RegistryError
from publisher.oci.credentials import BasicAuth, Credentials
from publisher.oci.push import push, tag
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from tests.contract.fronts import front
from tests.contract.test_registry import small_image
from tests.engines.registry import RealRegistry, TokenService, running


def client(registry: RealRegistry) -> Registry:
    auth = {registry.host: BasicAuth(registry.user, registry.password)} if registry.user else {}
    return Registries(Credentials(auth)).at(registry.host)


@pytest.mark.parametrize("kind", ["registry", "private_registry", "token_registry"])
def test_may_push(kind: str, repository: str, request: pytest.FixtureRequest) -> None:
    """Whether we may push is found by an upload that is begun and cancelled, so that no bytes go."""
    found: RealRegistry = request.getfixturevalue(kind)
    client(found).try_push(repository)
    assert [line for line in found.requests("DELETE", repository) if '" 204 ' in line]


def test_may_not_push(
    private_registry: RealRegistry, token_registry: RealRegistry, token_service: TokenService, repository: str
) -> None:
    """Without credentials, or where the token service gives no right to push, the answer is an error."""
    with pytest.raises(AuthenticationError, match="none are known"):
        Registry(private_registry.host, Credentials()).try_push(repository)
    token_service.allowed = {"pull"}
    try:
        with pytest.raises(AuthenticationError, match="refuses pushing to"):
            client(token_registry).try_push(repository)
    finally:
        token_service.allowed = None


@pytest.mark.parametrize("kind", ["registry", "private_registry", "token_registry"])
def test_delete_manifest(kind: str, repository: str, request: pytest.FixtureRequest) -> None:
    """A manifest is deleted by its digest, its tag with it; a second time there is nothing to delete."""
    found: RealRegistry = request.getfixturevalue(kind)
    auth = {found.host: BasicAuth(found.user, found.password)} if found.user else {}
    known, image = Registries(Credentials(auth)), small_image(repository)
    place = Repository(found.host, repository)
    push(image, place, known)
    tag(image.top, image.manifests[image.top.digest], place, "v1", known)
    assert known.at(found.host).delete_manifest(repository, image.top.digest) is True
    assert known.at(found.host).head_manifest(repository, image.top.digest) is None
    assert known.at(found.host).head_manifest(repository, "v1") is None
    assert known.at(found.host).delete_manifest(repository, image.top.digest) is False


def test_delete_tag_where_that_is_not_allowed(registry: RealRegistry, repository: str) -> None:
    """Debian's registry deletes no tags: that is said, with what to do, and the tag stays."""
    known, image, place = (
        Registries(Credentials()),
        small_image(repository),
        Repository(registry.host, repository),
    )
    push(image, place, known)
    tag(image.top, image.manifests[image.top.digest], place, "v1", known)
    with pytest.raises(RegistryError, match=f"does not delete tags: {repository} v1 stays") as caught:
        known.at(registry.host).delete_manifest(repository, "v1")
    assert caught.value.status == 405
    assert known.at(registry.host).head_manifest(repository, "v1") == image.top


def test_delete_where_nothing_may_be_deleted(tmp_path: Path, repository: str) -> None:
    """A registry whose operator forbids deletion is told as that."""
    with running(tmp_path, deletes=False) as strict:
        known, image = Registries(Credentials()), small_image(repository)
        push(image, Repository(strict.host, repository), known)
        with pytest.raises(RegistryError, match="does not delete manifests") as caught:
            known.at(strict.host).delete_manifest(repository, image.top.digest)
    assert "let its operator allow deletion" in caught.value.hint


def test_delete_tag_where_that_is_allowed(repository: str) -> None:
    """A registry that deletes tags is asked for it by the tag's name, once."""
    with front(lambda handler: handler.answer(202)) as before:
        assert Registry(before.host, Credentials()).delete_manifest(repository, "v1") is True
    assert [seen.path for seen in before.seen] == [f"/v2/{repository}/manifests/v1"]
