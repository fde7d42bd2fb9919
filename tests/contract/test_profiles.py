"""Publishing to targets of different platforms: what a registry gets, what an engine pulls, what is refused before."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from publisher.checks.profiles import NAMES
from publisher.domain import Outcome
from publisher.oci.layout import (
    CONFIG,
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    INDEX,
    LAYER_GZIP,
    MANIFEST,
)
from tests.contract.world import World
from tests.engines import bare_client
from tests.engines.buildkit import BuildKit
from tests.engines.docker import Docker
from tests.engines.hub import TAGS, Hub

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
TYPES = {
    "foundry": (MANIFEST, CONFIG, LAYER_GZIP),
    "sagemaker": (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP),
}
AMD64 = {"platforms": "linux/amd64"}


@pytest.fixture(scope="module")
def number(world: World) -> str:
    return world.register()


def published(world: World, number: str, profile: str, **keys: str) -> Outcome:
    with world.app(profile.upper(), profile=profile, **{**AMD64, **keys}) as app:
        (outcome,) = app.publish(world.model, number, [profile.upper()], dry_run=False, force=False)
    return outcome


def config_of(image: str, manifest: bare_client.Manifest) -> dict[str, Any]:
    host, _, rest = image.partition("/")
    name, digest = rest.rpartition(":")[0], manifest.document["config"]["digest"]
    found: dict[str, Any] = requests.get(f"http://{host}/v2/{name}/blobs/{digest}", timeout=10).json()
    return found


@pytest.mark.engine("docker")
@pytest.mark.parametrize("profile", TYPES)
def test_one_manifest_is_pushed_pulled_and_moves_no_bytes_twice(
    profile: str, world: World, number: str, docker: Docker
) -> None:
    """Its tag names a manifest of the platform's own media types; Docker runs it; the same again sends no blob, and
    extra tags are of the same manifest, which says whose image it is."""
    outcome = published(world, number, profile)
    assert outcome.state == "published", outcome.reason
    found = bare_client.of_reference(outcome.image)
    assert found is not None
    assert found.digest == outcome.digest
    types = [found.document["mediaType"], found.document["config"]["mediaType"]]
    assert (*types, found.document["layers"][-1]["mediaType"]) == TYPES[profile]
    argument = ["serve"] if profile == "sagemaker" else []
    assert docker.run_command(outcome.image, "linux/amd64", argument) == "ran\n"
    again = published(world, number, profile, tags="{version}-stable")
    assert (again.state, again.digest, again.sent) == ("published", outcome.digest, 0)
    assert again.tags == (f"{number}-stable",)
    inner = config_of(outcome.image, found)["config"]
    assert inner["User"] == {"foundry": "5001:5001", "sagemaker": "10001:10001"}[profile]
    # Another version takes an extra tag only from an image that says that it is of the same model.
    later = world.register()
    moved = published(world, later, profile, tags=f"{number}-stable")
    assert moved.tags == (f"{number}-stable",), moved.reason


def test_clusters_get_an_index_and_the_status_says_what_was_proven(world: World, number: str) -> None:
    """As without a profile, and `publisher.<target>.proof` names the check."""
    outcome = published(world, number, "openshift")
    found = bare_client.of_reference(outcome.image)
    assert found is not None
    assert found.document["mediaType"] == INDEX
    assert {proof.check: proof.state for proof in outcome.proof}["profile"] == "ok"
    told = world.server.tags(world.model, number)["publisher.OPENSHIFT.proof"]
    assert "it is what the profile openshift takes" in told


@pytest.mark.parametrize("profile", NAMES)
def test_explained(profile: str, world: World, number: str) -> None:
    """Before anything is built, it is told what the platform will get."""
    with world.app("TOLD", profile=profile, **AMD64) as app:
        found = {each.topic: each for each in app.explain(world.model, number, None).targets[0].findings}
    assert (found["profile"].level, found["profile"].facts["profile"]) == ("ok", profile)


@pytest.mark.engine("buildkitd")
@pytest.mark.parametrize("profile", ["foundry", "openshift"])
def test_a_dockerfile_that_ends_as_root(
    profile: str, world: World, hub: Hub, buildkit: BuildKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is built, looked at, and not pushed; with the line that the reason names it goes out, in the profile's form."""
    for key, value in {**buildkit.environment, "BUILDX_BUILDER": buildkit.builder}.items():
        monkeypatch.setenv(key, value)
    keys = {"base": f"{hub.host}/library/python:{TAGS[1]}", "builder": "buildx"}
    template = 'FROM {{ base_image }}\nUSER root\nCMD ["python3", "--version"]\n'
    refused = published(world, world.register(template=template), profile, **keys)
    assert (refused.state, refused.exit_code) == ("failed", 24), refused.reason
    assert "it runs as the user 'root'" in refused.reason
    assert "USER " in refused.reason
    assert bare_client.of_reference(refused.image) is None
    taken = published(world, world.register(template=f"{template}USER 5001:0\n"), profile, **keys)
    assert taken.state == "published", taken.reason
    found = bare_client.of_reference(taken.image)
    assert found is not None
    assert found.document["mediaType"] == (MANIFEST if profile == "foundry" else INDEX)
    assert "io.github.model-publisher.context" in found.document["annotations"]
