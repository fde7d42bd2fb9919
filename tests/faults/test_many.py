"""Many publishers at once on one version: one digest, one tag, a true status, and nothing is sent again.

Two rounds of eight here; `make torture` plays twenty of sixteen.
"""

from __future__ import annotations

import os

import pytest
import requests

from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.faults.conftest import NewMachine, register, small_model
from tests.faults.machine import kill

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
LONG = "PUBLISHER_ROUNDS" in os.environ
ROUNDS, PUBLISHERS = (20, 16) if LONG else (2, 8)
SECONDS = 300
TARGET = "MANY"


def test_many_publishers_on_one_version(
    mlflow_server: MlflowServer, registry: RealRegistry, new_machine: NewMachine
) -> None:
    """Half of them share a machine's cache, the others are alone: all succeed with the same digest."""
    model = register(mlflow_server, TARGET, small_model())
    digests = set()
    for number in range(ROUNDS):
        model.forget()
        host, name = registry.host, f"many/{number}/{model.name}"
        shared = new_machine(TARGET, f"{host}/many/{number}")
        alone = [new_machine(TARGET, f"{host}/many/{number}") for _ in range(PUBLISHERS // 2)]
        machines = [*alone, *[shared] * (PUBLISHERS - len(alone))]
        arguments = ("publish", model.name, model.version)
        running = [machine.start(*arguments, said=f"said-{n}") for n, machine in enumerate(machines)]
        try:
            codes = [process.wait(SECONDS) for process in running]
        finally:
            for process in running:
                kill(process)
        said = [machine.said(f"said-{n}")[-2000:] for n, machine in enumerate(machines)]
        assert codes == [0] * PUBLISHERS, [text for code, text in zip(codes, said, strict=True) if code]

        tag, status = bare_client.manifest(host, name, f"v{model.version}"), model.status()
        assert tag
        assert (status["state"], status["digest"]) == ("published", tag.digest)
        assert not {"claim", "reason", "next_try", "attempts"} & status.keys()
        assert tags(host, name) == [f"v{model.version}"]
        digests.add(tag.digest)
        assert [machine.leftovers() for machine in machines] == [[]] * PUBLISHERS
    assert len(digests) == 1

    before = [line for method in ("PUT", "PATCH") for line in registry.requests(method)]
    late = new_machine(TARGET, f"{registry.host}/many/{ROUNDS - 1}")
    late.run("publish", model.name, model.version)
    after = [line for method in ("PUT", "PATCH") for line in registry.requests(method)]
    assert after == before, "a later publisher sends nothing"
    assert model.status()["digest"] == digests.pop()


def tags(host: str, name: str) -> list[str]:
    answer = requests.get(f"http://{host}/v2/{name}/tags/list", timeout=30)
    answer.raise_for_status()
    return sorted(answer.json()["tags"])
