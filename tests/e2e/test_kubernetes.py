"""On a real Kubernetes, from the manifests in k8s/: each way of running the publisher publishes a tagged version."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import small
from tests.e2e import notebook
from tests.e2e.kubernetes_site import K8S, Site, site
from tests.engines import bare_client, debian
from tests.engines.kubernetes import Kubernetes
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry")]
DOCKERFILE = """\
FROM {base}
USER 0:0
ADD ${{model_folder}} model
ADD ${{model_client_folder}} client
RUN id -u > /who && chown 5001:5001 /who
USER 5001
ENTRYPOINT ["${{entry_point}}"]
CMD ["${{command_line}}"]
"""


@dataclass(frozen=True, slots=True)
class Servers:
    """MLflow, and a registry that asks for an account, both on this machine; `host` is the registry's for pods."""

    mlflow: MlflowServer
    registry: RealRegistry
    host: str
    base: str

    @property
    def account(self) -> tuple[str, str]:
        return self.registry.user, self.registry.password

    @property
    def accounts(self) -> dict[str, dict[str, str]]:
        """As Docker's config.json has them."""
        return {self.host: {"username": self.registry.user, "password": self.registry.password}}

    def toml(self, kubernetes: Kubernetes, target: str, *, emulated: bool = True) -> str:
        """publisher.toml with one target: for both architectures, or this machine's alone."""
        return (
            f'mlflow_tracking_uri = "{kubernetes.reached(self.mlflow.uri)}"\n[targets.{target}]\n'
            f'registry = "{self.host}/{target.lower()}"\nbase = "{self.base}"\ninsecure = true\n'
            f"platforms = {list(debian.PLATFORMS if emulated else debian.PLATFORMS[:1])}\n"
        )

    def have(self, model: Registered, target: str) -> bool:
        """Whether the status says that it is published; then the registry has that very image."""
        tags = self.mlflow.tags(model.name, model.version)
        if tags.get(f"publisher.{target}.state") != "published":
            return False
        name = tags[f"publisher.{target}.image"].partition("/")[2]
        found = bare_client.of_reference(f"{self.registry.host}/{name}", self.account)
        assert found and found.digest == tags[f"publisher.{target}.digest"]
        return True


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


def test_the_cronjob_fires_and_publishes(here: Site, servers: Servers) -> None:
    """By its schedule alone, each minute for the test; the pod is admitted by "restricted"."""
    model = small.register(servers.mlflow, "cron", "CRON")
    here.secrets(servers.accounts)
    often = [{"op": "replace", "path": "/spec/schedule", "value": "* * * * *"}]
    patch = {"target": {"kind": "CronJob"}, "patch": json.dumps(often)}
    here.apply("cronjob", servers.toml(here.kubernetes, "CRON"), patches=[patch])
    jobs = here.kubernetes.until(lambda: here.kubernetes.get("jobs", namespace=here.namespace)["items"], 90)
    here.ended(jobs[0]["metadata"]["name"])
    assert servers.have(model, "CRON")


def test_the_deployment_publishes_and_ends_when_asked(here: Site, servers: Servers) -> None:
    """It counts as available after its first poll; doctor in its pod finds no fault; it may ask the cluster nothing."""
    model = small.register(servers.mlflow, "deployed", "DEPLOYED")
    here.secrets(servers.accounts)
    here.apply("deployment", servers.toml(here.kubernetes, "DEPLOYED"))
    here.rolled_out("publisher")
    assert servers.have(model, "DEPLOYED")
    said = here.kubectl("exec", "deployment/publisher", "--", "publisher", "doctor")
    assert "we may push" in said, said
    account = f"system:serviceaccount:{here.namespace}:publisher"
    assert here.kubectl("auth", "can-i", "get", "pods", f"--as={account}", expect=1).startswith("no")
    here.kubectl("delete", "deployment", "publisher")
    here.kubectl("wait", "--for=delete", "pod", "--all", "--timeout=28s")


def test_the_kaniko_pod_builds_and_pushes(
    kubernetes: Kubernetes, kaniko_publisher_image: str, servers: Servers, tmp_path: Path
) -> None:
    """A version with a Dockerfile of its own; "restricted" refuses the pod, "baseline" admits it."""
    text = DOCKERFILE.format(base=servers.base.format(python=debian.MINOR))
    files = {"templates/Dockerfile.template": text, "client/execute_model.py": "print('hello')\n"}
    model = notebook.register_small(servers.mlflow, "by-kaniko", ["KANIKO"], files, tmp_path / "run")
    toml = servers.toml(kubernetes, "KANIKO", emulated=False)
    env = [{"name": "MODEL_NAME", "value": model.name}, {"name": "MODEL_VERSION", "value": model.version}]
    container = {"name": "publisher", "env": env}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "kaniko-publisher"}}
    chosen = {"patch": json.dumps({**pod, "spec": {"containers": [container]}})}
    with site(kubernetes, tmp_path, kaniko_publisher_image) as strict:
        said = strict.apply("kaniko", toml, patches=[chosen], expect=1)
        assert 'violates PodSecurity "restricted' in said
    with site(kubernetes, tmp_path, kaniko_publisher_image, "baseline") as made:
        made.secrets(servers.accounts)
        made.apply("kaniko", toml, patches=[chosen])
        made.succeeded("kaniko-publisher")
        assert servers.have(model, "KANIKO")


def test_a_missing_secret_is_named(here: Site, servers: Servers) -> None:
    """Without its secrets the pod does not start, and Kubernetes says which one it waits for."""
    here.authorities()
    here.apply("cronjob", servers.toml(here.kubernetes, "NONE"))
    here.kubectl("create", "job", "--from=cronjob/publisher", "now")
    here.kubernetes.until(lambda: 'secret "publisher-registry" not found' in here.kubectl("get", "events"))


def test_a_wrong_namespace_is_named(here: Site, servers: Servers) -> None:
    """Nothing is made in a namespace that is not there."""
    said = here.apply("cronjob", servers.toml(here.kubernetes, "NONE"), expect=1, namespace="nowhere")
    assert 'namespaces "nowhere" not found' in said


def test_the_readme_looks_whether_everything_is_there(here: Site, servers: Servers) -> None:
    """Its fourth step, as it stands there: `publisher doctor` in the pod of the CronJob, with nothing built."""
    here.secrets(servers.accounts)
    here.apply("cronjob", servers.toml(here.kubernetes, "LOOK"))
    step = re.search(r"^\*\*4\. (?:.+\n)+\n((?:    .+\n)+)", (K8S / "README.md").read_text(), re.M)
    assert step
    said = here.shell(step[1])
    assert "we may push to" in said and "base image LOOK: ok" in said, said
