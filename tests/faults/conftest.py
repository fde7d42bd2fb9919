"""A small model whose environment comes from an index of the tests' own, and machines that publish it."""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import wheels
from tests.e2e.conftest import base_image, base_layout
from tests.engines.mlflow import MlflowServer
from tests.faults.index import serve_wheels
from tests.faults.machine import Machine

__all__ = ["base_image", "base_layout"]
NewMachine = Callable[..., Machine]


@dataclass(frozen=True, slots=True)
class Model:
    """A registered version, and the target whose tag it carries: a test that polls sees its own models alone."""

    server: MlflowServer
    name: str
    version: str
    target: str

    def status(self) -> dict[str, str]:
        """What its status tags say of the target: field -> value."""
        prefix = f"publisher.{self.target}."
        tags = self.server.tags(self.name, self.version)
        return {key.removeprefix(prefix): tags[key] for key in tags if key.startswith(prefix)}

    def forget(self) -> None:
        """Delete the status, as if nobody had ever tried."""
        for field in self.status():
            key = f"publisher.{self.target}.{field}"
            self.server.client().delete_model_version_tag(self.name, self.version, key)


@pytest.fixture(scope="session")
def package_index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Pure wheels: one of many modules, one large, one that needs them, and the pip that every environment has."""
    folder = tmp_path_factory.mktemp("wheels")
    noise = random.Random(4)
    modules = {f"manifold/m{n}.py": f"def answer():\n    return {n}\n".encode() * 20 for n in range(200)}
    imports = "".join(f"import manifold.m{n}\n" for n in range(200)).encode()
    wheels.make(folder, "pip", {"pip/__init__.py": b""})
    wheels.make(folder, "tinything", {"tinything/__init__.py": b"import manifold\n"})
    wheels.make(folder, "manifold", {**modules, "manifold/__init__.py": imports})
    wheels.make(folder, "largething", {"largething/data.bin": noise.randbytes(6 << 20)})
    with serve_wheels(folder) as url:
        yield url


def register(server: MlflowServer, target: str, files: Mapping[str, bytes], name: str = "") -> Model:
    """Log `files` as the folder ``mymodel`` of a run, register it and tag it."""
    client = server.client()
    run = client.create_run("0").info
    with tempfile.TemporaryDirectory() as folder:
        for path, content in {"run.py": b"print('ran')\n", **files}.items():
            place = Path(folder) / "mymodel" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
        client.log_artifacts(run.run_id, folder)
    name = name or f"faulty-{target.lower()}"
    client.create_registered_model(name)
    tags = {f"EXTERNAL_TARGET_{target}": "true", "MODEL_EXECUTE_PATH": "model/run.py"}
    made = client.create_model_version(name, run.artifact_uri, run.run_id, tags=tags)
    return Model(server, name, str(made.version), target)


def small_model() -> dict[str, bytes]:
    """What MLflow keeps of a model, with 8 MiB of weights in two files."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}.0"
    noise = random.Random(5)
    return {
        "MLmodel": b"flavors: {}\n",
        "requirements.txt": b"tinything==1.0\nmanifold==1.0\nlargething==1.0\n",
        "python_env.yaml": f"python: {python}\ndependencies:\n- -r requirements.txt\n".encode(),
        "weights/a.bin": noise.randbytes(7 << 20),
        "weights/b.bin": noise.randbytes(1 << 20),
    }


@pytest.fixture(scope="session")
def new_machine(
    tmp_path_factory: pytest.TempPathFactory, mlflow_server: MlflowServer, base_image: str, package_index: str
) -> NewMachine:
    """``new_machine("TARGET", "127.0.0.1:5000/prefix", mlflow=…)``"""

    def make(target: str, registry: str, **settings: Any) -> Machine:
        folder = tmp_path_factory.mktemp("machine")
        machine = Machine(folder, mlflow_server.uri, base_image, package_index, target)
        machine.settings(registry, **settings)
        return machine

    return make
