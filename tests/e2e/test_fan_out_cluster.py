"""Fan-out on a real Kubernetes, by the rights and the template of k8s/components/fan-out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import small
from tests.e2e.conftest import Workplace
from tests.e2e.kubernetes_site import Site, site
from tests.e2e.test_kubernetes import Servers
from tests.engines import bare_client, debian
from tests.engines.kubernetes import Kubernetes
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry")]
FAN_OUT = 'executor = "kubernetes"\nkubernetes_patience = "1m"\n'


@pytest.fixture(scope="module")
def servers(
    kubernetes: Kubernetes, mlflow_server: MlflowServer, private_registry: RealRegistry, base_layout: Path
) -> Servers:
    """With a base image in the registry."""
    host = kubernetes.reached(private_registry.host)
    made = Servers(mlflow_server, private_registry, host, f"{host}/base/python:{{python}}")
    bare_client.push_layout(base_layout, private_registry.host, "base/python", debian.MINOR, made.account)
    return made


@pytest.fixture
def here(kubernetes: Kubernetes, publisher_image: str, tmp_path: Path) -> Iterator[Site]:
    """A site that enforces "restricted"."""
    with site(kubernetes, tmp_path, publisher_image) as made:
        yield made


def started(here: Site, servers: Servers, target: str) -> str:
    """Secrets, rights and templates of a site with one target; its settings."""
    toml = FAN_OUT + servers.toml(here.kubernetes, target)
    here.secrets(servers.accounts)
    here.apply("cronjob", toml, components=["fan-out"])
    return toml


def builds(here: Site) -> dict[str, Any]:
    """The Jobs that build, by their names."""
    found = here.kubernetes.get("jobs", namespace=here.namespace, labels="app.kubernetes.io/component=build")
    return {each["metadata"]["name"]: each for each in found["items"]}


def test_a_cronjob_spreads_its_builds(here: Site, servers: Servers) -> None:
    """The publisher has the rights of k8s/ and no other; a platform without a node of its own is built, and told."""
    model = small.register(servers.mlflow, "spread", "SPREAD")
    started(here, servers, "SPREAD")
    here.kubectl("create", "job", "--from=cronjob/publisher", "now")
    here.ended("now")
    assert servers.have(model, "SPREAD")
    tags = servers.mlflow.tags(model.name, model.version)
    assert "linux/arm64 was built on amd64" in tags["publisher.SPREAD.proof"]
    made = builds(here)
    assert len(made) == 2 and all(job["status"]["succeeded"] == 1 for job in made.values())
    account = f"--as=system:serviceaccount:{here.namespace}:publisher"
    for right in ("get secrets", "create pods", "update jobs", "get cronjobs/publisher", "list nodes"):
        assert here.kubectl("auth", "can-i", *right.split(), account, expect=1).startswith("no")
    here.kubectl("create", "job", "--from=cronjob/publisher-build", "by-hand")
    here.ended("by-hand")


@dataclass(frozen=True, slots=True)
class Outside:
    """A publisher beside the cluster, with the administrator's kubeconfig."""

    place: Workplace
    model: Registered

    def begin(self) -> subprocess.Popen[bytes]:
        """By name, so that no claim of one that was killed keeps it from its work."""
        program = str(Path(sys.executable).with_name("publisher"))
        return subprocess.Popen(
            [program, "publish", self.model.name, self.model.version, "--json"],
            cwd=self.place.folder,
            env=self.place.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def end(self, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        """Its outcome."""
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, (said, errors)
        (outcome,) = json.loads(said)["outcomes"]
        assert isinstance(outcome, dict)
        return outcome


def outside(here: Site, servers: Servers, model: Registered, toml: str, folder: Path) -> Outside:
    folder.mkdir()
    lines = f'cache_folder = "{folder}/cache"\nkubernetes_namespace = "{here.namespace}"\n'
    (folder / "publisher.toml").write_text(lines + toml)
    (folder / "docker").mkdir()
    (folder / "docker/config.json").write_text(json.dumps({"auths": servers.accounts}))
    near = {"KUBECONFIG": str(here.kubernetes.kubeconfig)}
    for name in ("no_proxy", "NO_PROXY"):
        near[name] = ",".join(filter(None, (os.environ.get(name), "10.201.0.0/16")))
    return Outside(Workplace(folder, near), model)


def test_whatever_ends_in_between_it_is_one_build(here: Site, servers: Servers, tmp_path: Path) -> None:
    """A publisher is killed when its Jobs are there, the API server while another waits, beside which a third one
    meets the same Jobs; finished Jobs are deleted: always the same digest, and each platform was built once."""
    model = small.register(servers.mlflow, "killed", "KILLED")
    toml = started(here, servers, "KILLED")
    first = outside(here, servers, model, toml, tmp_path / "first")
    process = first.begin()
    here.kubernetes.until(lambda: len(builds(here)) == 2, 90)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    second, third = first.begin(), outside(here, servers, model, toml, tmp_path / "third").begin()
    here.kubernetes.kill("kube-apiserver")
    done = first.end(second)
    assert first.end(third)["digest"] == done["digest"]
    uids = {name: job["metadata"]["uid"] for name, job in builds(here).items()}
    assert len(uids) == 2
    here.kubectl("delete", "pods", "--selector=app.kubernetes.io/component=build")
    assert first.end(first.begin())["digest"] == done["digest"]
    assert {name: job["metadata"]["uid"] for name, job in builds(here).items()} == uids
    here.kubectl("delete", "jobs", "--selector=app.kubernetes.io/component=build")
    assert first.end(first.begin())["digest"] == done["digest"]
    assert not builds(here)
    assert servers.have(model, "KILLED")
