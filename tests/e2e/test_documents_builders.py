"""Versions with a Dockerfile of their own: which engine builds them, and what happens when that goes wrong."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from publisher.errors import SOME_FAILED
from tests.contract.fronts import Handler, front
from tests.e2e import notebook
from tests.e2e.conftest import NewEngineWorkplace, Workplace
from tests.e2e.published import outcomes, published
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry")]
PLATFORM = "linux/amd64"
DOCKERFILE = """\
FROM python:3.9.19-slim-bullseye
WORKDIR /app
ADD ${model_folder} model
ADD ${model_client_folder} client
RUN date +%N > when
ENTRYPOINT ["${entry_point}"]
CMD ["${command_line}"]
"""
Register = Callable[..., Registered]


@pytest.fixture
def register(mlflow_server: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Register:
    """``register("name", "TARGET", more="a further line of its Dockerfile")``"""

    def made(name: str, target: str, more: str = "") -> Registered:
        files = {
            "templates/Dockerfile.template": DOCKERFILE + more,
            "client/execute_model.py": "print('hello')\n",
        }
        return notebook.register_small(mlflow_server, name, [target], files, tmp_path_factory.mktemp("run"))

    return made


def keys(registry: RealRegistry, prefix: str, **more: Any) -> dict[str, Any]:
    return {"registry": f"{registry.host}/{prefix}", "platforms": [PLATFORM], **more}


@pytest.mark.parametrize(
    ("engines", "chosen"),
    [
        (("buildx", "kaniko", "buildah"), "buildx"),
        (("kaniko", "buildah"), "kaniko"),
        (("buildah",), "buildah"),
    ],
)
def test_auto_takes_the_first_engine_that_is_there(  # noqa: PLR0917 - fixtures come by name
    engines: tuple[str, ...],
    chosen: str,
    register: Register,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
) -> None:
    """A version with its own Dockerfile, and no builder in the settings."""
    model = register(f"auto-{chosen}", "AUTO")
    place = new_engine_workplace(*engines, AUTO=keys(registry, "auto"))
    done = place.publisher("publish", model.name, model.version)
    assert set(re.findall(r"(\w+) builds for", done.stdout + done.stderr)) == {chosen}
    published(mlflow_server, model, "AUTO").index()


def test_without_an_engine_the_status_says_what_each_lacks(
    register: Register,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
) -> None:
    """Every builder is named with its reason, and nothing is pushed."""
    model = register("nobody", "NOBODY")
    place = new_engine_workplace(NOBODY=keys(registry, "nobody"))
    place.publisher("publish", model.name, model.version, expect=None)
    tags = mlflow_server.tags(model.name, model.version)
    assert tags["publisher.NOBODY.state"] == "failed"
    reason = tags["publisher.NOBODY.reason"]
    for builder in ("layers", "buildx", "kaniko", "buildah"):
        assert re.search(rf"{builder}: [^;]{{10,}}", reason), reason
    assert not [name for name in bare_client.repositories(registry.host) if name.startswith("nobody/")]


def test_a_failing_dockerfile_is_its_own_versions_failure(
    register: Register,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
) -> None:
    """One poll: the status has the step's reason, its last lines and log are kept, its neighbours are published."""
    good = [register(name, "FAILING") for name in ("a-good", "z-good")]
    more = "RUN for line in $(seq 40); do echo line $line; done; echo no compiler here >&2; exit 7\n"
    bad = register("m-bad", "FAILING", more=more)
    place = new_engine_workplace("buildx", FAILING=keys(registry, "failing"))
    done = place.publisher("poll", "--once", "--json", expect=SOME_FAILED)
    for model in good:
        published(mlflow_server, model, "FAILING").index()
    told = outcomes(done.stdout)[f"{bad.name}/{bad.version}"]
    tags = mlflow_server.tags(bad.name, bad.version)
    assert tags["publisher.FAILING.state"] == told["state"] == "failed"
    assert "exit code: 7" in tags["publisher.FAILING.reason"]
    lines = told["detail"].splitlines()
    assert len(lines) == 20
    assert any("no compiler here" in line for line in lines)
    [log] = (place.folder / "cache" / "logs").glob("*m-bad*")
    assert "line 1\n" in re.sub(r"(?m)^.* line", "line", log.read_text())
    assert not [name for name in bare_client.repositories(registry.host) if name == "failing/m-bad"]


def test_what_a_killed_publisher_has_tagged_is_taken_over(
    register: Register,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
) -> None:
    """SIGKILL between tag and status: the next poll knows the image by its build context, and builds nothing."""
    model = register("orphan", "ORPHAN")
    image = f"{registry.host}/orphan/orphan:v{model.version}"
    gone = threading.Event()

    def hold(handler: Handler) -> bool:
        """MLflow takes no tag any more once the image is there, and the publisher waits for it."""
        if gone.is_set() or not handler.path.endswith("set-tag") or bare_client.of_reference(image) is None:
            return False
        gone.wait(60)
        return handler.cut()

    with front(hold, mlflow_server.uri.removeprefix("http://")) as before:
        place = new_engine_workplace(
            "buildx", mlflow=f"http://{before.host}", ORPHAN=keys(registry, "orphan", builder="buildx")
        )
        process = start(place, "publish", model.name, model.version)
        try:
            wait_for(image, process)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            gone.set()
        tagged = bare_client.of_reference(image)
        assert mlflow_server.tags(model.name, model.version)["publisher.ORPHAN.state"] != "published"
        done = place.publisher("poll", "--once")
    assert "builds for" not in done.stdout + done.stderr
    version = published(mlflow_server, model, "ORPHAN")
    assert tagged is not None
    assert version.status("digest") == version.index().digest == tagged.digest


def start(place: Workplace, *arguments: str) -> subprocess.Popen[bytes]:
    """`publisher` as the leader of a process group of its own."""
    command = [str(Path(sys.executable).with_name("publisher")), *arguments]
    with (place.folder / "said").open("wb") as sink:
        return subprocess.Popen(
            command,
            cwd=place.folder,
            env=place.environment(),
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )


def wait_for(image: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while bare_client.of_reference(image) is None:
        assert process.poll() is None, "it ended before its image was there"
        assert time.monotonic() < deadline, "no image after two minutes"
        time.sleep(0.02)
