"""What stands against a Job is told in Kubernetes' own words, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes import client, config

from publisher.cluster.api import Api
from publisher.cluster.fan import Fan
from publisher.cluster.jobs import Work
from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import EngineError
from publisher.progress import Report, Silent
from tests.engines.kubernetes import Kubernetes

IMAGE = "publisher.test/pause:1"  # the node has it
ARM64 = Platform("linux", "arm64")
WORK = Work(
    ModelVersion("trouble", "1", "", datetime(2026, 1, 1, tzinfo=UTC)),
    Target("T", "T", "r.example.org", (ARM64,), "python:3.11"),
    ARM64,
)
CAREFUL = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def template(image: str = IMAGE, secret: str = "", **pod: Any) -> dict[str, Any]:
    """A CronJob whose pod only waits."""
    sources = [{"secretRef": {"name": secret}}] if secret else []
    container = {"name": "publisher", "image": image, "securityContext": CAREFUL, "envFrom": sources}
    job = {"spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never", **pod}}}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "publisher-build"},
        "spec": {"suspend": True, "schedule": "0 0 31 2 *", "jobTemplate": job},
    }


def quota(**hard: str) -> dict[str, Any]:
    kind = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}}
    return {**kind, "spec": {"hard": {key.replace("_", "/"): value for key, value in hard.items()}}}


@pytest.fixture
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    with kubernetes.namespace() as name:
        yield name


Reach = Callable[..., Fan]


@pytest.fixture
def fan(kubernetes: Kubernetes, namespace: str) -> Reach:
    """Of the administrator, or with the account of a user who has no rights."""

    def reach(where: str = namespace, *, user: str = "") -> Fan:
        settings = client.Configuration()
        config.load_kube_config(str(kubernetes.kubeconfig), client_configuration=settings)
        settings.no_proxy = "10.201.0.0/16"
        made = client.ApiClient(settings)
        if user:
            made.set_default_header("Impersonate-User", user)
        return Fan(Api(where, client.BatchV1Api(made), client.CoreV1Api(made)), timedelta(seconds=2))

    return reach


def refused(fan: Fan) -> str:
    """What the version's status would say."""
    with pytest.raises(EngineError) as found:
        fan.build([WORK], lambda _: None, Report(Silent(), "test"))
    assert found.value.hint and found.value.retryable
    return str(found.value)


def checked(fan: Fan) -> str:
    """What doctor would say."""
    with pytest.raises(EngineError) as found:
        fan.check(WORK.target, WORK)
    assert found.value.hint
    return str(found.value)


def test_what_is_refused_at_once_is_known_to_doctor(
    kubernetes: Kubernetes, namespace: str, fan: Reach
) -> None:
    """No template, no namespace, no right, a quota on Jobs."""
    for told in (refused, checked):
        assert 'cronjobs.batch "publisher-build" not found' in told(fan())
        assert "not found" in told(fan("nowhere"))
        assert "cannot list resource" in refused(fan(user="nobody"))
    kubernetes.apply(template(), namespace=namespace)
    assert "Jobs can be made of cronjob/publisher-build" in fan().check(WORK.target, WORK)
    kubernetes.apply(quota(**{"count_jobs.batch": "0"}), namespace=namespace)
    kubernetes.until(lambda: "used" in kubernetes.get("quota", "small", namespace=namespace)["status"])
    for told in (refused, checked):
        assert "exceeded quota" in told(fan())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([template(image="127.0.0.1:9/nothing:1")], "ErrImagePull|ImagePullBackOff"),
        ([template(secret="absent")], 'secret "absent" not found'),
        ([template(nodeSelector={"no": "where"})], "Unschedulable"),
        ([template(serviceAccountName="absent")], 'serviceaccount "absent" not found'),
        ([template(hostNetwork=True)], "violates PodSecurity"),
        ([template(), quota(pods="0")], "exceeded quota"),
    ],
)
def test_what_may_pass_is_told_when_it_lasts(
    kubernetes: Kubernetes,
    namespace: str,
    fan: Reach,
    given: list[dict[str, Any]],
    told: str,
) -> None:
    """The Job stays, for what is missing may come."""
    kubernetes.apply(*given, namespace=namespace)
    said = refused(fan())
    assert any(each in said for each in told.split("|")), said
    assert WORK.name in kubernetes.kubectl("get", "jobs", "-n", namespace)
