"""A publisher that polls for as long as it is wanted, as a real process: signals, MLflow away, the health file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from publisher.cli.health import UNHEALTHY
from publisher.errors import ModelRegistryError
from tests import small
from tests.contract.lying_proxy import Answer, LyingProxy, lying_proxy
from tests.e2e.conftest import FOREIGN, NewWorkplace, Workplace
from tests.e2e.published import published
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
ARTIFACTS = "/mlflow-artifacts/artifacts"
AWAY = Answer(503, "text/html", b"<html>later</html>")


@contextmanager
def started(
    place: Workplace, *arguments: str, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A publisher process in `place`; it is gone with the block."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    clean |= {"XDG_CACHE_HOME": str(place.folder / "cache"), "DOCKER_CONFIG": str(place.folder / "docker")}
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("publisher")), *arguments],
        cwd=place.folder,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def until(true: Callable[[], object], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.05)


def held_up(until_then: threading.Event) -> Callable[[str, Answer], None]:
    """Files are answered from then on."""

    def hold(line: str, _: Answer) -> None:
        if ARTIFACTS in line:
            until_then.wait(60)

    return hold


def begun(front: LyingProxy, server: MlflowServer, model: Registered, target: str) -> None:
    """Wait until the version is claimed, and its files are asked for."""
    state = f"publisher.{target}.state"
    until(lambda: server.tags(model.name, model.version).get(state) == "publishing")
    until(lambda: any(ARTIFACTS in line for line in front.requests))


@pytest.fixture
def front(mlflow_server: MlflowServer) -> Iterator[LyingProxy]:
    """MLflow behind a proxy."""
    with lying_proxy(mlflow_server.uri) as proxy:
        yield proxy


def through(front: LyingProxy) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": front.uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def test_sigterm_ends_between_two_stages_and_the_next_poll_goes_on_at_once(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, front: LyingProxy
) -> None:
    """The stage at hand is finished, the claim given up, the exit code is 0; nobody waits for an hour."""
    model = small.register(mlflow_server, "daily-term", "TERM")
    place, held = new_workplace(TERM=f"{registry.host}/term"), threading.Event()
    front.lie = held_up(held)
    with started(place, "poll", "--every", "1h", environment=through(front)) as process:
        begun(front, mlflow_server, model, "TERM")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        held.set()
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert "stopped" in output
    tags = mlflow_server.tags(model.name, model.version)
    assert tags["publisher.TERM.state"] == "stopped"
    assert "asked to end" in tags["publisher.TERM.reason"]
    assert "publisher.TERM.attempts" not in tags

    # Another machine, so that no lock tells it that the first publisher is gone.
    new_workplace(TERM=f"{registry.host}/term").publisher("poll", "--once")
    published(mlflow_server, model, "TERM").index()


def test_a_second_signal_ends_at_once(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, front: LyingProxy
) -> None:
    """With the stage still held up, SIGTERM twice is exit code 143, and the next poll here knows of it."""
    model = small.register(mlflow_server, "daily-twice", "TWICE")
    place, held = new_workplace(TWICE=f"{registry.host}/twice"), threading.Event()
    front.lie = held_up(held)
    with started(place, "poll", environment=through(front)) as process:
        begun(front, mlflow_server, model, "TWICE")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    held.set()
    place.publisher("poll", "--once")
    published(mlflow_server, model, "TWICE").index()


def test_ctrl_c_ends_a_publication_between_two_stages(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, front: LyingProxy
) -> None:
    """`publisher publish` that is interrupted gives its claim up, and ends with 130."""
    model = small.register(mlflow_server, "daily-int", "INT")
    place, held = new_workplace(INT=f"{registry.host}/int"), threading.Event()
    front.lie = held_up(held)
    with started(place, "publish", model.name, model.version, environment=through(front)) as process:
        begun(front, mlflow_server, model, "INT")
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.5)
        held.set()
        assert process.wait(30) == 130
    assert mlflow_server.tags(model.name, model.version)["publisher.INT.state"] == "stopped"


def test_a_poll_without_mlflow_is_skipped_and_the_next_one_does_the_work(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, front: LyingProxy
) -> None:
    """While MLflow is away nothing is written, the health file says why; when it is back, all is as ever."""
    model = small.register(mlflow_server, "daily-away", "AWAY")
    place = new_workplace(AWAY=f"{registry.host}/away")
    state = place.folder / "health.json"
    front.lie = lambda *_: AWAY
    once = place.publisher("poll", "--once", environment=through(front), expect=ModelRegistryError.exit_code)
    assert "503" in once.stderr
    arguments = ("poll", "--every", "1s", "--health", str(state))
    with started(place, *arguments, environment=through(front)) as process:
        until(lambda: state.exists() and "503" in json.loads(state.read_text())["fault"])
        unhealthy = place.publisher("health", str(state), expect=UNHEALTHY)
        assert "no good poll yet" in unhealthy.stdout
        assert "publisher.AWAY.state" not in mlflow_server.tags(model.name, model.version)
        front.lie = None
        until(lambda: json.loads(state.read_text()).get("polled"))
        place.publisher("health", str(state), "--max-age", "1m")
        assert json.loads(state.read_text())["fault"] == ""
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    published(mlflow_server, model, "AWAY").index()
    # Not one line of the log is of another kind, and the version's stages are all there.
    events = [json.loads(line) for line in errors.splitlines()]
    stages = [each["stage"] for each in events if each["event"] == "stage" and each["model"] == model.name]
    # A poll that saw MLflow come back in the middle of it may have given the version up once.
    begin = len(stages) - 1 - stages[::-1].index("fetch")
    assert stages[begin : begin + 5] == ["fetch", "lock", "build", "check", "push"]
    assert [each["digest"] for each in events if each["event"] == "published"]


def test_mlflow_that_goes_away_in_mid_poll_marks_nothing(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, front: LyingProxy
) -> None:
    """From the first file on, MLflow is away: exit code 4, no version failed, and the next poll publishes both."""
    found = [small.register(mlflow_server, f"daily-gone-{number}", "GONE") for number in (1, 2)]
    place = new_workplace(GONE=f"{registry.host}/gone")
    gone = threading.Event()

    def leave(line: str, _: Answer) -> Answer | None:
        if ARTIFACTS in line:
            gone.set()
        return AWAY if gone.is_set() else None

    front.lie = leave
    code = ModelRegistryError.exit_code
    place.publisher("--parallel", "1", "poll", environment=through(front), expect=code)
    states = {mlflow_server.tags(m.name, m.version).get("publisher.GONE.state") for m in found}
    assert states <= {None, "publishing"}
    place.publisher("poll", "--once")
    for model in found:
        published(mlflow_server, model, "GONE").index()
