"""What k8s/ holds: rendered by kustomize, right for each version of Kubernetes, and in step with the publisher."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

import publisher
from publisher import settings
from tests.engines.programs import program

K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = sorted(path.parent for path in K8S.glob("overlays/*/kustomization.yaml"))
# The oldest that clouds still run for money, and the newest of which the schemas are known.
VERSIONS = ("1.27", "1.30", "1.34", kubernetes_validate.latest_version())


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The objects that ``kubectl apply -k`` would apply."""
    command = [program("kubectl"), "kustomize", folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def pods(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The spec of each pod, and of each template of one."""
    for each in objects:
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if template := spec.get("template"):
            yield template["spec"]
        elif each["kind"] == "Pod":
            yield spec


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All objects of each overlay, with no component and with all of them, and of the examples."""
    components = sorted((K8S / "components").iterdir())
    folders = [*OVERLAYS, K8S / "examples/site"]
    for overlay in OVERLAYS:
        folder = tmp_path_factory.mktemp(overlay.name)
        text = {
            "resources": [os.path.relpath(overlay, folder)],
            "components": [os.path.relpath(component, folder) for component in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
        folders.append(folder)
    examples = [yaml.safe_load_all(file.read_text()) for file in (K8S / "examples").glob("*.yaml")]
    return [*(each for folder in folders for each in rendered(folder)), *chain.from_iterable(examples)]


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(everything: list[dict[str, Any]], version: str) -> None:
    """Every object is what the schema of that version says, and nothing more."""
    kinds = {each["kind"] for each in everything}
    assert {"CronJob", "Deployment", "Pod", "PersistentVolumeClaim", "Secret", "Namespace"} <= kinds
    for each in everything:
        kubernetes_validate.validate(each, version, strict=True)


def test_a_wrong_manifest_is_no_manifest() -> None:
    """The schemas do refuse: a key that no version has."""
    cronjob = next(each for each in rendered(K8S / "overlays/cronjob") if each["kind"] == "CronJob")
    cronjob["spec"]["concurency"] = "Forbid"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(cronjob, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda path: path.name)
def test_pods_have_bounds(folder: Path) -> None:
    """Each pod has bounds for memory and disk, no token for the API, a read-only root, and the publisher's version."""
    found = list(pods(rendered(folder)))
    assert found
    for pod in found:
        (container,) = pod["containers"]
        assert pod["automountServiceAccountToken"] is False
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]["cpu"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert all("sizeLimit" in v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v)
        suffix = "-kaniko" if folder.name == "kaniko" else ""
        assert container["image"] == f"model-publisher:{publisher.__version__}{suffix}"


def test_no_credential_in_a_manifest() -> None:
    """Secrets are named, never made: an object of that kind is in the examples alone."""
    for folder in OVERLAYS:
        assert "Secret" not in {each["kind"] for each in rendered(folder)}


def test_pods_differ_in_little() -> None:
    """CronJob and Deployment run the same pod, but for the command, its probes and when it is started again."""

    def common(folder: str) -> dict[str, Any]:
        (pod,) = pods(rendered(K8S / "overlays" / folder))
        pod.pop("restartPolicy", None)
        for key in ("args", "startupProbe", "livenessProbe"):
            pod["containers"][0].pop(key, None)
        return pod

    assert common("cronjob") == common("deployment")


def test_builds_run_in_the_same_pod_without_rights() -> None:
    """The template of Jobs is the publisher's pod, by another account; only the publisher's own pod has a token."""
    folder = K8S / "components/fan-out"
    (template,) = yaml.safe_load_all((folder / "template.yaml").read_text())
    (build,) = pods([template])
    cronjob = yaml.safe_load((K8S / "overlays/cronjob/cronjob.yaml").read_text())
    (publisher_pod,) = pods([cronjob])
    assert build.pop("serviceAccountName") == "publisher-build"
    publisher_pod.pop("serviceAccountName")
    own, base = build["containers"][0], publisher_pod["containers"][0]
    assert own["env"].pop(0) == {"name": "PUBLISHER_EXECUTOR", "value": "here"}
    for container in (own, base):
        del container["args"]
    assert build == publisher_pod
    assert template["spec"]["suspend"] is True
    role, *_ = yaml.safe_load_all((folder / "rights.yaml").read_text())
    allowed = {verb for rule in role["rules"] for verb in rule["verbs"]}
    assert allowed == {"create", "list", "watch", "delete", "get"}


def test_settings_are_settings() -> None:
    """Each publisher.toml below k8s/ is one that the publisher takes."""
    files = list(K8S.rglob("publisher.toml"))
    assert len(files) == 2
    for file in files:
        assert settings.load({}, {}, file).targets
