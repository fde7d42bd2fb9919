"""SIGKILL at any moment: no half tag, and the next run comes to the same digest and leaves nothing behind.

A few rounds here; `make torture` plays two hundred. PUBLISHER_SEED plays a series again.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.faults.conftest import Model, NewMachine, register, small_model
from tests.faults.machine import STAGES, Machine, kill

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
ROUNDS = int(os.environ.get("PUBLISHER_ROUNDS", "12"))
SEED = int(os.environ.get("PUBLISHER_SEED", "20260101"))
TARGET = "KILL"


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """`seconds` of a whole run from empty folders; `began` tells how far into it each stage begins."""

    digest: str
    seconds: float
    began: dict[str, float]


def test_every_rerun_converges(
    mlflow_server: MlflowServer, registry: RealRegistry, new_machine: NewMachine
) -> None:
    """However far a killed publisher came, its rerun ends with the one digest, a true status and clean folders."""
    model = register(mlflow_server, TARGET, small_model())
    machine = new_machine(TARGET, f"{registry.host}/kill/undisturbed")
    undisturbed = measure(machine, model)
    chance, hit, warm = random.Random(SEED), Counter[str](), False
    for number in range(ROUNDS):
        model.forget()
        machine.settings(f"{registry.host}/kill/{number}")
        # Half of the rounds find what the killed ones before them left in the cache.
        if not warm:
            shutil.rmtree(machine.cache)
            machine.cache.mkdir()
        warm = chance.random() < 0.5
        process = machine.start("publish", model.name, model.version)
        wait(process, machine, chance, undisturbed)
        kill(process, group=chance.random() < 0.7)
        stage = machine.reached()
        hit[stage] += 1
        told = f"round {number}, killed in {stage}: {machine.said()[-500:]}"

        image = f"{registry.host}/kill/{number}/{model.name}:v{model.version}"
        tag, status = bare_client.of_reference(image), model.status()
        assert tag is None or tag.digest == undisturbed.digest, told
        assert status.get("state") != "failed", told
        assert status.get("state") != "published" or (tag and status["digest"] == tag.digest), told

        again = ("poll",) if chance.random() < 0.5 else ("publish", model.name, model.version)
        told += machine.run(*again) + str(status)
        tag, status = bare_client.of_reference(image), model.status()
        assert tag, told
        assert tag.digest == undisturbed.digest, told
        assert (status["state"], status["digest"], status["image"]) == ("published", tag.digest, image), told
        assert "next_try" not in status, told
        assert machine.leftovers() == [], told
    print(f"\n{ROUNDS} rounds, killed in: {dict(hit)}")
    assert len(hit) >= min(ROUNDS // 3, 6)


def measure(machine: Machine, model: Model) -> Undisturbed:
    """One run from empty folders."""
    process = machine.start("publish", model.name, model.version)
    begin, began = time.monotonic(), dict[str, float]()
    while process.poll() is None:
        if (stage := machine.reached()) in STAGES:
            began.setdefault(stage, time.monotonic() - begin)
        time.sleep(0.002)
    assert process.returncode == 0, machine.said()
    assert machine.leftovers() == []
    return Undisturbed(model.status()["digest"], time.monotonic() - begin, began)


def wait(
    process: subprocess.Popen[str], machine: Machine, chance: random.Random, undisturbed: Undisturbed
) -> None:
    """To a moment anywhere in the run, or in a stage: by time alone the short ones would hardly ever be met."""
    if chance.random() < 0.4:
        time.sleep(chance.uniform(0, undisturbed.seconds))
        return
    stage = chance.choice(STAGES)
    later = [began for name, began in undisturbed.began.items() if began > undisturbed.began.get(stage, 0)]
    length = min([*later, undisturbed.seconds]) - undisturbed.began.get(stage, 0)
    while process.poll() is None and STAGES.index(stage) > _index(machine.reached()):
        time.sleep(0.001)
    time.sleep(chance.uniform(0, length))


def _index(stage: str) -> int:
    return STAGES.index(stage) if stage in STAGES else len(STAGES)
