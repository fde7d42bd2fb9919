"""What all benchmarks share: a model registry, a container registry, a base image, the product as users have it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.process import Run, run
from tests import models
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.registry import RealRegistry, running

PLATFORMS = ("linux/amd64", "linux/arm64")
MODEL = "breast-cancer"
TARGET = "BENCH"
SUITES = {(3, 11): "bookworm", (3, 13): "trixie"}  # Debian releases by their Python: the model's own
_ECHO = """\
import mlflow.pyfunc
from mlflow.models import set_model


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


set_model(Echo())
"""
# Settings of the person who runs this, which must not reach the product; nor one that this shell may have.
FOREIGN = ("MLFLOW_", "MODEL_", "PUBLISHER_", "REGISTRY_", "DOCKER_", "PYTHON")


@dataclass(slots=True)
class World:
    """`command`: the product, installed alone. `python`: where it is installed."""

    folder: Path
    mlflow: MlflowServer
    registry: RealRegistry
    command: Path
    base: str
    registered: list[models.Registered] = field(default_factory=list)
    _number: int = 0

    def register(self) -> models.Registered:
        """The notebook's model, trained on another split each time: new bytes, the same requirements."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            made = models.register_sklearn(
                self.mlflow.uri, MODEL, tag_target=TARGET, seed=len(self.registered)
            )
        self.registered.append(made)
        return made

    def model_files(self, folder: Path) -> None:
        """The first version's model folder, as MLflow has it."""
        first = self.registered[0]
        with using(self.mlflow) as mlflow:
            mlflow.artifacts.download_artifacts(f"models:/{first.name}/{first.version}", dst_path=str(folder))

    def register_large(self, size: int) -> models.Registered:
        """The first version with `size` random bytes beside it, as weights are: they do not compress."""
        first = self.registered[0]
        with (
            tempfile.TemporaryDirectory(dir=self.folder) as name,
            using(self.mlflow) as mlflow,
            mlflow.start_run() as started,
        ):
            self.model_files(Path(name))
            with (Path(name) / "weights.bin").open("wb") as file:
                for _ in range(size >> 20):
                    file.write(os.urandom(1 << 20))
            mlflow.log_artifacts(name, "mymodel")
            client = self.mlflow.client()
            made = client.create_model_version(first.name, started.info.artifact_uri, started.info.run_id)
        client.set_model_version_tag(made.name, made.version, "MODEL_FOLDER", "mymodel")
        client.set_model_version_tag(made.name, made.version, f"EXTERNAL_TARGET_{TARGET}", "true")
        return models.Registered(made.name, str(made.version), first.request, first.predictions)

    def register_requiring(self, name: str, requirements: Sequence[str]) -> models.Registered:
        """A model that is nothing but its requirements."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder, using(self.mlflow) as mlflow:
            code = Path(folder) / "echo.py"
            code.write_text(_ECHO)
            with mlflow.start_run():
                made = mlflow.pyfunc.log_model(
                    name="echo",
                    python_model=str(code),
                    pip_requirements=list(requirements),
                    registered_model_name=name,
                )
        return models.Registered(name, str(made.registered_model_version), {}, None)

    def new_folder(self, name: str) -> Path:
        """An empty folder of nobody else."""
        self._number += 1
        folder = self.folder / f"{name}-{self._number}"
        folder.mkdir()
        return folder

    def workplace(
        self,
        prefix: str,
        *,
        lines: Sequence[str] = (),
        keys: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Workplace:
        """A new machine: a folder with settings and an empty cache. Images go below `prefix`.

        `lines` of its settings and `keys` of its target come to ours, and `variables` to its environment.
        """
        folder = self.new_folder("machine")
        target = {"registry": f"{self.registry.host}/{prefix}", "base": self.base, "platforms": PLATFORMS}
        target |= {"proof": "off"}  # as the peers, which prove nothing; what it costs: proof.py
        target |= keys or {}
        (folder / "publisher.toml").write_text(
            f'mlflow_tracking_uri = "{self.mlflow.uri}"\ncache_folder = "{folder / "cache"}"\n'
            + "".join(f"{line}\n" for line in lines)
            + f"[targets.{TARGET}]\n"
            + "".join(f"{key} = {json.dumps(value)}\n" for key, value in target.items())
        )
        return Workplace(folder, self.command, variables or {})


@dataclass(frozen=True, slots=True)
class Workplace:
    """From where the product is run; its caches, and uv's, are below `folder` alone."""

    folder: Path
    command: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, wait: bool = True) -> Run:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        clean |= {"XDG_CACHE_HOME": str(self.folder / "caches"), "DOCKER_CONFIG": str(self.folder / "docker")}
        clean |= {"UV_CACHE_DIR": str(self.folder / "uv"), **self.variables}
        return run([self.command, *arguments], folder=self.folder, environment=clean, wait=wait)

    def publish(self, model: models.Registered, *, wait: bool = True) -> dict[str, Any]:
        """`publisher publish` as a whole process: its seconds, and what it says of its own."""
        done = self.run("publish", model.name, model.version, "--json", wait=wait)
        [outcome] = json.loads(done.output)["outcomes"]
        if outcome["state"] != "published":
            raise RuntimeError(f"not published: {outcome['reason']}")
        return {
            "seconds": round(done.seconds, 3),
            "cpu": round(done.cpu, 2),
            "stages": outcome["seconds"],
            "sent": outcome["sent"],
            "downloaded": outcome["downloaded"],
            "image": outcome["image"],
            "digest": outcome["digest"],
            "before": dict(done.before),
        }


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Start everything below `folder`; it ends with the block."""
    suite = SUITES.get(sys.version_info[:2])
    if suite is None:
        raise RuntimeError("the model's Python is the one that trains it: run this with Python 3.11 or 3.13")
    command = install(folder / "product")
    with serve(folder / "mlflow") as mlflow, running(folder / "registry") as registry:
        made = World(folder, mlflow, registry, command, "")
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        base = f"{registry.host}/base/python:{python}"
        # pip, which ours does not need, is what the documents' Dockerfile runs: both build on the same base.
        include = ("--suite", suite, "--include", "python3-pip")
        made.workplace("base").run("base-image", base, *include, wait=False)
        made.base = base
        made.register()
        yield made


@contextmanager
def using(server: MlflowServer) -> Iterator[Any]:
    """MLflow's module with that server as its own, and without its chat."""
    import mlflow  # noqa: PLC0415 - takes seconds

    before = {key: os.environ.get(key) for key in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")}
    os.environ.update(dict.fromkeys(before, server.uri))
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield mlflow
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def install(folder: Path) -> Path:
    """The product with its own dependencies and nothing else, compiled, as pip leaves it with its users."""
    uv = Path(sys.executable).with_name("uv")
    environment = {**os.environ, "VIRTUAL_ENV": str(folder)}
    for command in (
        ["venv", "--quiet", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--compile-bytecode", str(ROOT)],
    ):
        subprocess.run([uv, *command], env=environment, check=True)
    return folder / "bin" / "publisher"
