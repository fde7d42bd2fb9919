"""A place to put versions into every situation: a real MLflow server, a real registry, a small model."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher import status
from publisher.app import App
from publisher.builders.bases import host_platform
from publisher.domain import ModelVersion, Status, Target
from publisher.progress import Silent
from publisher.settings import Settings, load
from publisher.sources.mlflow import MlflowSource
from publisher.wiring import connect
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

MLMODEL = "flavors: {python_function: {loader_module: nothing}}\n"


@dataclass
class World:
    """One model, whose versions differ by what was done to them. `python`: the base image's minor version."""

    server: MlflowServer
    registry: RealRegistry
    base: Path
    folder: Path
    python: str
    model: str = "explained"
    _runs: dict[str, str] = field(default_factory=dict)

    def settings(self, target: str, **keys: str) -> Settings:
        """Of a publisher with one target, whose registry has a prefix of its own."""
        given = {
            "registry": f"{self.registry.host}/explain/{target.lower()}",
            "base": f"oci:{self.base}",
            "platforms": str(host_platform()),
            "bytecode": "false",
            "cache": "",
            **keys,
        }
        environ = {f"PUBLISHER_TARGETS__{target}__{key.upper()}": value for key, value in given.items()}
        environ |= {
            "MLFLOW_TRACKING_URI": self.server.uri,
            "PUBLISHER_CACHE_FOLDER": str(self.folder / "cache"),
        }
        return load({}, environ)

    @contextmanager
    def app(self, target: str, **keys: str) -> Iterator[App]:
        """A publisher as a process of its own has it: nothing is remembered from an earlier one."""
        with connect(self.settings(target, **keys), os.environ, Silent()) as app:
            yield app

    def target(self, name: str) -> Target:
        return self.settings(name).targets[0]

    def version(self, number: str) -> ModelVersion:
        return MlflowSource(self.server.uri, os.environ).get(self.model, number)

    def register(
        self, *, requirements: str = "six==1.16.0\n", files: bool = True, template: str = "", **tags: str
    ) -> str:
        """A new version: its number. It runs a program, so that it needs nothing but its requirements.

        `template`: of a Dockerfile of its own, in Jinja2's form.
        """
        client = self.server.client()
        if not self._runs:
            client.create_registered_model(self.model)
        kind = requirements + template if files else ""
        if kind not in self._runs:
            self._runs[kind] = client.create_run("0").info.run_id
            if files:
                self._log(client, self._runs[kind], requirements)
            if template:
                client.log_text(self._runs[kind], template, "templates/Dockerfile.j2")
        run = client.get_run(self._runs[kind])
        source = f"{run.info.artifact_uri}/mymodel"
        made = client.create_model_version(self.model, source, run.info.run_id)
        for key, value in {"MODEL_EXECUTE_PATH": "model/run.py", **tags}.items():
            client.set_model_version_tag(self.model, made.version, key, value)
        return str(made.version)

    def _log(self, client: object, run: str, requirements: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "MLmodel").write_text(MLMODEL)
            (Path(folder) / "run.py").write_text("print('ran')\n")
            (Path(folder) / "requirements.txt").write_text(requirements)
            (Path(folder) / "python_env.yaml").write_text(f"python: {self.python}.0\n")
            client.log_artifacts(run, folder, "mymodel")  # type: ignore[attr-defined]

    def tag(self, number: str, **tags: str) -> None:
        for key, value in tags.items():
            self.server.client().set_model_version_tag(self.model, number, key, value)

    def say(self, number: str, target: str, now: Status) -> None:
        """Write a status as another publisher would have left it, for the version as it is now."""
        version = self.version(number)
        known = replace(now, fingerprint=status.fingerprint(version, self.target(target)))
        for key, value in status.to_tags(known, target).items():
            self.server.client().set_model_version_tag(self.model, number, key, value)

    def poll(self, target: str, **keys: str) -> dict[str, tuple[str, str]]:
        """Poll once: state and reason of each version that the poll told of."""
        with self.app(target, **keys) as app:
            return {each.version.version: (each.state, each.reason) for each in app.poll()}

    def image(self, target: str, number: str) -> str:
        return f"{self.registry.host}/explain/{target.lower()}/{self.model}:v{number}"

    def remove(self, target: str, number: str) -> None:
        """Take an image away behind the publisher's back."""
        import requests  # noqa: PLC0415

        found = bare_client.of_reference(self.image(target, number))
        assert found
        name = self.image(target, number).partition("/")[2].rpartition(":")[0]
        url = f"http://{self.registry.host}/v2/{name}/manifests/{found.digest}"
        assert requests.delete(url, timeout=10).status_code == 202

    def occupy(self, target: str, number: str) -> None:
        """Put an image of somebody else under the version's tag."""
        name = self.image(target, number).partition("/")[2].rpartition(":")[0]
        bare_client.push_layout(self.base, self.registry.host, name, f"v{number}")


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="session")
def world(
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    base_layout: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """One world for the session, far from the settings of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("world")
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_CONFIG", str(folder))
        yield World(mlflow_server, registry, base_layout, folder, minor)
