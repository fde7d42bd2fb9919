"""What must not happen on the main way: half publications, overwritten images, one fault that stops all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from publisher.errors import SOME_FAILED
from tests import models
from tests.e2e.conftest import NewWorkplace
from tests.e2e.published import outcomes, published
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
CANARY = "canary-4f1c9e"


def test_a_dry_run_leaves_everything_as_it_was(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """With --dry-run no image and no status appear, for a version that would be published."""
    model = models.register_pyfunc(mlflow_server.uri, "rehearsed", tag_target="DRY")
    before = mlflow_server.tags(model.name, model.version)
    rehearsal = new_workplace(DRY=f"{registry.host}/dry")
    done = rehearsal.publisher("publish", model.name, model.version, "--target", "DRY", "--dry-run", "--json")
    assert outcomes(done.stdout)[f"{model.name}/{model.version}"]["state"] == "planned"
    assert mlflow_server.tags(model.name, model.version) == before
    assert not [name for name in bare_client.repositories(registry.host) if name.startswith("dry/")]


def test_one_failing_version_does_not_stop_the_others(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """A model folder outside the artifacts fails with its reason in its status; its neighbours are published."""
    good = [
        models.register_pyfunc(mlflow_server.uri, name, tag_target="MIXED") for name in ("a-good", "z-good")
    ]
    bad = models.register_pyfunc(mlflow_server.uri, "m-bad", tag_target="MIXED")
    mlflow_server.client().set_model_version_tag(bad.name, bad.version, "MODEL_FOLDER", "../..")
    done = new_workplace(MIXED=f"{registry.host}/mixed").publisher("poll", "--once", expect=SOME_FAILED)
    for model in good:
        published(mlflow_server, model, "MIXED").index()
    tags = mlflow_server.tags(bad.name, bad.version)
    assert tags["publisher.MIXED.state"] == "failed"
    assert "MODEL_FOLDER" in tags["publisher.MIXED.reason"]
    assert bad.name in done.stdout + done.stderr
    assert not [name for name in bare_client.repositories(registry.host) if name == "mixed/m-bad"]


def test_another_image_under_the_tag_is_replaced_by_force_alone(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, base_layout: Path
) -> None:
    """A v<version> with another digest stays, and the status tells why; --force replaces it."""
    model = models.register_pyfunc(mlflow_server.uri, "taken", tag_target="TAKEN")
    bare_client.push_layout(base_layout, registry.host, "taken/taken", f"v{model.version}")
    image = f"{registry.host}/taken/taken:v{model.version}"
    theirs = bare_client.of_reference(image)
    assert theirs is not None

    machine = new_workplace(TAKEN=f"{registry.host}/taken")
    machine.publisher("poll", "--once", expect=SOME_FAILED)
    tags = mlflow_server.tags(model.name, model.version)
    assert bare_client.of_reference(image) == theirs
    assert tags["publisher.TAKEN.state"] == "failed"
    assert "--force" in tags["publisher.TAKEN.reason"]

    machine.publisher("publish", model.name, model.version, "--target", "TAKEN", "--force")
    ours = published(mlflow_server, model, "TAKEN")
    assert ours.index().digest == ours.status("digest") != theirs.digest


def test_wrong_credentials_fail_with_a_reason_and_leave_nothing(
    mlflow_server: MlflowServer, private_registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """A registry that refuses us: the status says so, no secret is told, nothing is there; right ones publish."""
    model = models.register_pyfunc(mlflow_server.uri, "refused", tag_target="PRIVATE")
    account = (private_registry.user, private_registry.password)
    machine = new_workplace(PRIVATE=f"{private_registry.host}/secret")
    wrong = {"REGISTRY_USER": private_registry.user, "REGISTRY_TOKEN": CANARY}
    done = machine.publisher("poll", "--once", environment=wrong, expect=SOME_FAILED)
    tags = mlflow_server.tags(model.name, model.version)
    assert tags["publisher.PRIVATE.state"] == "failed"
    assert private_registry.host in tags["publisher.PRIVATE.reason"]
    assert CANARY not in done.stdout + done.stderr + json.dumps(tags)
    assert not [
        n for n in bare_client.repositories(private_registry.host, account) if n.startswith("secret/")
    ]

    right = {"REGISTRY_USER": private_registry.user, "REGISTRY_TOKEN": private_registry.password}
    done = machine.publisher("publish", model.name, model.version, "--target", "PRIVATE", environment=right)
    after = published(mlflow_server, model, "PRIVATE", account)
    assert after.index().digest == after.status("digest")
    assert private_registry.password not in done.stdout + done.stderr + json.dumps(after.tags)
