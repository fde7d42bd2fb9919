"""A site with an overlay of its own over k8s/, as k8s/README.md says how: its namespace, secrets, settings and image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.engines import machine, programs
from tests.engines.kubernetes import Kubernetes

K8S = Path(__file__).parents[2] / "k8s"
_ENDS = ("Complete", "Succeeded", "Failed")
_REACH = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")


@dataclass(frozen=True, slots=True)
class Site:
    """`folder` is the site's own; `image`: what stands for ``model-publisher``, with its tag."""

    kubernetes: Kubernetes
    namespace: str
    folder: Path
    image: str

    def kubectl(self, *words: str, expect: int | None = 0, seconds: float = 120) -> str:
        return self.kubernetes.kubectl("--namespace", self.namespace, *words, expect=expect, seconds=seconds)

    def shell(self, script: str) -> str:
        """What a script prints in which kubectl is this cluster's, and this namespace the one by default."""
        config = self.folder / "kubeconfig"
        shutil.copy(self.kubernetes.kubeconfig, config)
        folder = programs.path("kubectl").parent
        choose = f"kubectl config set-context --current --namespace {self.namespace}\n"
        with self.kubernetes.calm():
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", choose + script],
                env={
                    "PATH": f"{folder}:{os.environ['PATH']}",
                    "KUBECONFIG": str(config),
                    "HOME": str(self.folder),  # kubectl keeps what it learns of a cluster there
                },
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{self.kubernetes.told(self.namespace)}"
        return done.stdout

    def secrets(self, accounts: Mapping[str, Mapping[str, str]] | None = None, **variables: str) -> None:
        """Both secrets, and the machine's authorities; `accounts`: user and password by registry."""
        config = json.dumps({"auths": accounts or {}})
        (self.folder / "config.json").write_text(config)
        self.kubectl(
            *("create", "secret", "generic", "publisher-registry", "--type=kubernetes.io/dockerconfigjson"),
            f"--from-file=.dockerconfigjson={self.folder / 'config.json'}",
        )
        index = machine.pip_settings().get("index-url")
        known = {name: os.environ[name] for name in _REACH if os.environ.get(name)}
        known |= {"UV_DEFAULT_INDEX": index} if index else {}
        words = [f"--from-literal={name}={value}" for name, value in {**known, **variables}.items()]
        self.kubectl("create", "secret", "generic", "publisher-variables", *words)
        self.authorities()

    def authorities(self) -> None:
        self.kubectl(
            *("create", "configmap", "publisher-authorities"),
            f"--from-file=ca-bundle.crt={machine.authorities()}",
        )

    def overlay(
        self,
        name: str,
        settings: str,
        *,
        patches: Sequence[Mapping[str, Any]] = (),
        namespace: str = "",
        components: Sequence[str] = (),
    ) -> Path:
        """Write the site's overlay of the overlay `name`, with these settings; for ``kubectl apply -k``."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "publisher.toml").write_text(settings)
        repository, _, tag = self.image.rpartition(":")
        document = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace or self.namespace,
            "resources": [os.path.relpath(K8S / "overlays" / name, folder)],
            "components": [
                os.path.relpath(K8S / "components" / each, folder) for each in (*components, "authorities")
            ],
            "images": [{"name": "model-publisher", "newName": repository, "newTag": tag}],
            "configMapGenerator": [
                {"name": "publisher-settings", "behavior": "replace", "files": ["publisher.toml"]}
            ],
            "patches": list(patches),
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
        return folder

    def apply(
        self,
        name: str,
        settings: str,
        *,
        patches: Sequence[Mapping[str, Any]] = (),
        expect: int = 0,
        namespace: str = "",
        components: Sequence[str] = (),
    ) -> str:
        """What ``kubectl apply -k`` says."""
        folder = self.overlay(name, settings, patches=patches, namespace=namespace, components=components)
        return self.kubernetes.kubectl("apply", "-k", str(folder), expect=expect)

    def ended(self, job: str) -> None:
        """Wait for a Job's end; raises AssertionError, with what its pod said, where that is no good one."""

        def ends() -> str:
            status = self.kubernetes.get("job", job, namespace=self.namespace)["status"]
            return "".join(c["type"] for c in status.get("conditions", []) if c["type"] in _ENDS)

        self._well(ends, "Complete")

    def succeeded(self, pod: str) -> None:
        """The same for a pod."""

        def ends() -> str:
            phase = str(self.kubernetes.get("pod", pod, namespace=self.namespace)["status"]["phase"])
            return phase if phase in _ENDS else ""

        self._well(ends, "Succeeded")

    def rolled_out(self, deployment: str) -> None:
        """Wait until a Deployment is available; raises as `ended`."""

        def available() -> str:
            status = self.kubernetes.get("deployment", deployment, namespace=self.namespace)["status"]
            return "available" if status.get("availableReplicas") else ""

        self._well(available, "available")

    def _well(self, state: Callable[[], str], good: str) -> None:
        try:
            found = self.kubernetes.until(state, 300)
        except AssertionError as error:
            found = str(error)
        if found != good:
            raise AssertionError(f"{found}:\n{self.kubernetes.told(self.namespace)}")


@contextmanager
def site(kubernetes: Kubernetes, folder: Path, image: str, enforce: str = "restricted") -> Iterator[Site]:
    """A site whose namespace has that Pod Security standard; all of it goes at the end."""
    with kubernetes.namespace(enforce) as namespace:
        yield Site(kubernetes, namespace, folder, image)
