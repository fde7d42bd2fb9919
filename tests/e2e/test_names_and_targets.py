"""Names of any kind, tags that follow aliases, and several targets of one version, on the whole way."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from publisher.errors import SOME_FAILED
from publisher.naming import repository_name
from tests import small
from tests.e2e.conftest import NewWorkplace, Workplace
from tests.e2e.published import outcomes, published
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


def keys(target: str, **values: str) -> dict[str, str]:
    return {f"PUBLISHER_TARGETS__{target}__{key.upper()}": value for key, value in values.items()}


def status_of(server: MlflowServer, model: Registered, target: str) -> dict[str, str]:
    """The status tags of one target, by their field."""
    prefix = f"publisher.{target}."
    tags = server.tags(model.name, model.version)
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}


def uploads(registry: RealRegistry) -> int:
    return len(registry.requests("POST", "/blobs/uploads/"))


def test_a_name_of_any_kind_has_its_image_and_its_labels(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """Capitals, accents, spaces, an emoji: the repository is as documented, and the labels have the real name."""
    model = small.register(mlflow_server, "Früh Model ⚡", "ODD")
    place = new_workplace(ODD=f"{registry.host}/odd")
    image = f"{registry.host}/odd/{repository_name(model.name)}:v1"
    (before,) = json.loads(place.publisher("status", model.name, "1", "--json").stdout)["versions"]
    assert (before["state"], before["image"]) == (None, image)
    place.publisher("poll", "--once")
    found = published(mlflow_server, model, "ODD")
    assert found.image == image
    annotations = found.index().document["annotations"]
    assert annotations["org.opencontainers.image.title"] == model.name
    assert annotations["org.opencontainers.image.version"] == "v1"


def test_tags_follow_aliases_without_a_build(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """The first poll writes them with the image; when the alias moves, the next writes one manifest and no blob."""
    client = mlflow_server.client()
    first, second = (small.register(mlflow_server, "Aliased", "MOVE", number=number) for number in (1, 2))
    client.set_registered_model_alias(first.name, "prod", "1")
    place = new_workplace(MOVE=f"{registry.host}/move")
    settings = keys("MOVE", tags="{alias}, latest, {version}-{date}")
    place.publisher("poll", "--once", environment=settings)
    image = published(mlflow_server, first, "MOVE").image.rpartition(":")[0]

    def digest(tag: str) -> str:
        found = bare_client.of_reference(f"{image}:{tag}")
        assert found, tag
        return found.digest

    assert digest("prod") == digest("v1") != digest("v2") == digest("latest")
    client.set_registered_model_alias(first.name, "prod", "2")
    sent, puts = uploads(registry), len(registry.requests("PUT", "/manifests/"))
    done = outcomes(place.publisher("poll", "--once", "--json", environment=settings).stdout)
    assert [done[f"Aliased/{number}"]["state"] for number in (1, 2)] == ["tagged", "tagged"]
    assert digest("prod") == digest("v2")
    assert (uploads(registry), len(registry.requests("PUT", "/manifests/"))) == (sent, puts + 1)
    assert "prod" in status_of(mlflow_server, second, "MOVE")["tags"].split()
    assert "prod" not in status_of(mlflow_server, first, "MOVE")["tags"].split()
    asked = registry.log.read_bytes()
    done = outcomes(place.publisher("poll", "--once", "--json", environment=settings).stdout)
    assert {outcome["state"] for outcome in done.values()} == {"skipped"}
    assert registry.log.read_bytes() == asked


@pytest.fixture
def pair(mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace) -> Workplace:
    """Two targets in one registry, for one platform each."""
    return new_workplace(CLOUD=f"{registry.host}/pair", SITE=f"{registry.host}/pair")


PAIR = {
    **keys("CLOUD", platforms="linux/amd64"),
    **keys("SITE", platforms="linux/arm64", image="{registry}/{model}:v{version}-{target}"),
}


def both(server: MlflowServer, name: str) -> Registered:
    model = small.register(server, name, "CLOUD")
    server.client().set_model_version_tag(name, model.version, "EXTERNAL_TARGET_SITE", "true")
    return model


def test_two_targets_of_one_registry(mlflow_server: MlflowServer, pair: Workplace) -> None:
    """One version goes to both, each with its own platform, image and state; the same image twice is refused."""
    refused = pair.publisher("poll", "--once", expect=3)
    assert "would write the same images as targets.CLOUD" in refused.stderr
    model = both(mlflow_server, "paired")
    pair.publisher("publish", model.name, model.version, environment=PAIR)
    cloud, site = (published(mlflow_server, model, target) for target in ("CLOUD", "SITE"))
    assert site.image == f"{cloud.image}-site"
    assert ([*cloud.index().platforms], [*site.index().platforms]) == (["linux/amd64"], ["linux/arm64"])


def test_a_target_that_fails_leaves_the_other_alone(
    mlflow_server: MlflowServer, registry: RealRegistry, pair: Workplace
) -> None:
    """Published there and failed here: each has its own state, and what retries the one does not touch the other."""
    model = both(mlflow_server, "half")
    away: Mapping[str, str] = {**PAIR, **keys("SITE", registry="127.0.0.1:1/pair", cache="")}
    told = pair.publisher("publish", model.name, model.version, "--json", environment=away, expect=None)
    states = {each["target"]: each["state"] for each in json.loads(told.stdout)["outcomes"]}
    assert states == {"CLOUD": "published", "SITE": "failed"}
    assert told.returncode not in (0, SOME_FAILED)
    cloud, site = (status_of(mlflow_server, model, target) for target in ("CLOUD", "SITE"))
    assert (cloud["state"], site["state"], site["attempts"]) == ("published", "failed", "1")
    assert "next_try" in site
    assert not {"next_try", "attempts", "reason"} & set(cloud)

    asked = len(registry.requests("PUT", "/pair/half/manifests/v1 "))
    assert asked == 1
    done = outcomes_by_target(pair.publisher("poll", "--once", "--json", environment=PAIR).stdout, model)
    assert done == {"CLOUD": "skipped", "SITE": "published"}
    assert status_of(mlflow_server, model, "CLOUD") == cloud
    assert status_of(mlflow_server, model, "SITE")["image"].endswith("/pair/half:v1-site")
    assert len(registry.requests("PUT", "/pair/half/manifests/v1 ")) == asked


def outcomes_by_target(said: str, model: Registered) -> dict[str, str]:
    found = json.loads(said)["outcomes"]
    return {each["target"]: each["state"] for each in found if each["model"] == model.name}
