"""Who we are to real registries, when credential helpers keep it, and when what they gave expires."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path

import pytest

from publisher.errors import AuthenticationError
from publisher.oci.credentials import Credentials
from publisher.oci.layout import digest_of
from publisher.oci.push import push
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from tests.contract.fronts import Handler, blob_upload, front
from tests.contract.test_registry import small_image
from tests.engines.registry import RealRegistry, TokenService

CONTENT = os.urandom(1 << 20)
DIGEST = digest_of(CONTENT)


def helped(folder: Path, user: str, secrets: list[str]) -> Credentials:
    """Credentials of a helper that gives one secret after the other, and the last for ever."""
    program, state = folder / "docker-credential-tests", folder / "secrets"
    state.write_text("\n".join(secrets) + "\n")
    program.write_text(
        f"""#!/bin/sh
secret=$(head -n 1 {state})
[ $(wc -l < {state}) -gt 1 ] && sed -i 1d {state}
echo '{{"ServerURL": "x", "Username": "{user}", "Secret": "'$secret'"}}'
"""
    )
    program.chmod(0o755)
    (folder / "config.json").write_text(json.dumps({"credsStore": "tests"}))
    return Credentials.load({"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"})


@pytest.mark.parametrize("kind", ["private_registry", "token_registry"])
def test_helper(kind: str, repository: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A password of a helper opens a registry, by Basic and by tokens."""
    found: RealRegistry = request.getfixturevalue(kind)
    known = Registries(helped(tmp_path, found.user, [found.password]))
    image = small_image(repository)
    push(image, Repository(found.host, repository), known)
    assert known.at(found.host).head_manifest(repository, image.top.digest) == image.top


def test_helper_with_an_identity_token(
    token_registry: RealRegistry, token_service: TokenService, repository: str, tmp_path: Path
) -> None:
    """An identity token of a helper buys access tokens; where the service takes it once, its successor does."""
    client = Registry(
        token_registry.host, helped(tmp_path, "<token>", [token_service.identity_token, "gone"])
    )
    token_service.rotates = True
    try:
        client.push_blob(repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT))
        assert client.head_blob(f"{repository}/other", DIGEST) is None
    finally:
        token_service.rotates = False


@pytest.mark.parametrize("kind", ["private_registry", "token_registry"])
def test_helper_whose_password_expired(
    kind: str, repository: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A helper is asked again, once, when what it gave is refused: passwords of clouds last for hours."""
    found: RealRegistry = request.getfixturevalue(kind)
    client = Registry(found.host, helped(tmp_path, found.user, ["expired", found.password]))
    client.push_blob(repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT))
    assert client.head_blob(repository, DIGEST) == len(CONTENT)


@pytest.mark.parametrize("kind", ["private_registry", "token_registry"])
def test_helper_whose_passwords_are_all_wrong(
    kind: str, repository: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A second refusal is told, without any of the passwords."""
    found: RealRegistry = request.getfixturevalue(kind)
    passwords = [f"canary-{number}" for number in range(9)]
    client = Registry(found.host, helped(tmp_path, found.user, passwords))
    with pytest.raises(AuthenticationError, match="does not accept our credentials") as caught:
        client.try_push(repository)
    assert "canary" not in caught.value.line
    assert (tmp_path / "secrets").read_text().splitlines()[0] == "canary-2"


def test_helper_that_is_missing(
    registry: RealRegistry, private_registry: RealRegistry, repository: str
) -> None:
    """A registry that asks nobody is read all the same; one that asks gets the helper's fault told."""
    known = Registries(Credentials.load({"DOCKER_AUTH_CONFIG": '{"credsStore": "absent"}', "PATH": "/bin"}))
    assert known.at(registry.host).head_manifest(repository, "v1") is None
    with pytest.raises(AuthenticationError, match="docker-credential-absent is not on the PATH") as caught:
        known.at(private_registry.host).head_manifest(repository, "v1")
    assert "install that helper" in caught.value.hint


def test_namespaces(private_registry: RealRegistry, repository: str, tmp_path: Path) -> None:
    """Of two namespaces of one registry each is asked for with its own credentials."""
    path = tmp_path / "auth.json"
    good = f"{private_registry.user}:{private_registry.password}"
    path.write_text(
        json.dumps(
            {
                "auths": {
                    f"{private_registry.host}/{repository}": {"auth": packed(good)},
                    f"{private_registry.host}/other": {"auth": packed("ci:wrong")},
                }
            }
        )
    )
    client = Registry(private_registry.host, Credentials.load({"REGISTRY_AUTH_FILE": str(path)}))
    client.try_push(f"{repository}/model")
    with pytest.raises(AuthenticationError, match="does not accept"):
        client.try_push("other/model")
    with pytest.raises(AuthenticationError, match="none are known"):
        client.try_push("third")


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_token_that_expires_in_mid_push(
    token_registry: RealRegistry, token_service: TokenService, repository: str, tmp_path: Path
) -> None:
    """A 401 to the request that carries the bytes costs one new token, and the same request again."""
    refused: list[str] = []

    def expired(handler: Handler) -> bool:
        if not blob_upload(handler) or refused:
            return False
        refused.append(handler.headers["Authorization"])
        realm = f'Bearer realm="{token_service.url}",service="{token_service.name}"'
        return handler.answer(401, {"WWW-Authenticate": f'{realm},error="invalid_token"'})

    with front(expired, token_registry.host) as before:
        known = helped(tmp_path, token_service.user, [token_service.password])
        heard: list[int] = []
        issued = len(token_service.issued)
        Registry(before.host, known).push_blob(
            repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT), heard.append
        )
        puts = before.methods("PUT")
        assert [put.path for put in puts] == [puts[0].path] * 2
        assert puts[1].headers["Authorization"] not in refused
        assert len(before.methods("POST")) == 2  # the challenge, and the upload
    assert len(token_service.issued) - issued == 2
    assert sum(heard) == len(CONTENT)


def test_tokens_last_until_just_before_they_expire(
    token_registry: RealRegistry, token_service: TokenService, repository: str, tmp_path: Path
) -> None:
    """One token serves many requests of a scope; each repository has its own, and a mount one for both."""
    client = Registry(token_registry.host, helped(tmp_path, token_service.user, [token_service.password]))
    issued = len(token_service.issued)
    for _ in range(3):
        client.push_blob(repository, DIGEST, len(CONTENT), lambda: io.BytesIO(CONTENT))
    assert token_service.issued[issued:] == [(f"repository:{repository}:pull,push",)]
    assert client.mount_blob(f"{repository}/other", DIGEST, repository) is True
    assert token_service.issued[issued + 1 :] == [
        (f"repository:{repository}/other:pull,push", f"repository:{repository}:pull")
    ]
