"""A proxy between publisher and MLflow spoils what it is asked: what passes is waited for, what stays is told.

The whole command against the real server. How each single answer is judged: tests/contract/test_mlflow_lies.py
and test_mlflow_rest.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from publisher.errors import ArtifactError, ModelRegistryError
from tests.contract.fronts import Front, Handler, front
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.faults.conftest import Model, NewMachine, register, small_model
from tests.faults.machine import Machine

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
TARGET = "WAY"
IMPATIENT = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
HTML = {"Content-Type": "text/html"}


def is_weights(handler: Handler) -> bool:
    return handler.command == "GET" and handler.path.endswith("/weights/a.bin")


def half(handler: Handler) -> bool:
    """Tell the true length, send half of it, and hang up."""
    size = 7 << 20
    handler.send_response(200)
    handler.send_header("Content-Length", str(size))
    handler.end_headers()
    handler.wfile.write(bytes(size // 2))
    handler.close_connection = True
    return True


def short(handler: Handler) -> bool:
    """A whole answer with fewer bytes than the listing names."""
    return handler.answer(200, content=bytes(1000))


def late(handler: Handler) -> bool:
    time.sleep(3)
    return handler.cut()


@dataclass
class Spoiler:
    """`rule` is asked about every request; None lets all pass."""

    front: Front
    rule: Callable[[Handler], bool] | None = None
    first: set[str] = field(default_factory=set)

    def each_once(self, act: Callable[[Handler], bool]) -> None:
        """Spoil the first request to every address, and no other."""

        def rule(handler: Handler) -> bool:
            what = f"{handler.command} {handler.path}"
            new = what not in self.first
            self.first.add(what)
            return new and act(handler)

        self.rule = rule


@contextmanager
def spoiled(server: MlflowServer) -> Iterator[Spoiler]:
    def rule(handler: Handler) -> bool:
        return bool(spoiler.rule and spoiler.rule(handler))

    with front(rule, behind=urlsplit(server.uri).netloc) as before:
        spoiler = Spoiler(before)
        yield spoiler


@pytest.fixture
def spoiler(mlflow_server: MlflowServer) -> Iterator[Spoiler]:
    with spoiled(mlflow_server) as found:
        yield found


@pytest.fixture(scope="module")
def models(mlflow_server: MlflowServer) -> list[Model]:
    """Two versions of one target, as a poll finds them."""
    return [register(mlflow_server, TARGET, small_model(), f"way-{n}") for n in range(2)]


@pytest.fixture(scope="module")
def warm(new_machine: NewMachine, registry: RealRegistry, models: list[Model]) -> Machine:
    """A machine that has the environment already: here only MLflow's side matters."""
    machine = new_machine(TARGET, f"{registry.host}/way/warm")
    machine.run("publish", models[0].name, models[0].version)
    return machine


@pytest.fixture
def machine(
    request: pytest.FixtureRequest,
    warm: Machine,
    registry: RealRegistry,
    models: list[Model],
    spoiler: Spoiler,
) -> Machine:
    """The same with a repository of the test's own and nothing said of any version, behind the proxy."""
    for model in models:
        model.forget()
    warm.settings(
        f"{registry.host}/way/{abs(hash(request.node.name))}", mlflow=f"http://{spoiler.front.host}"
    )
    return warm


def image(machine: Machine, model: Model) -> bare_client.Manifest | None:
    """What the version's tag holds."""
    text = (machine.folder / "publisher.toml").read_text()
    host, _, prefix = text.partition('registry = "')[2].partition('"')[0].partition("/")
    return bare_client.manifest(host, f"{prefix}/{model.name}", f"v{model.version}")


@pytest.mark.parametrize(
    "act",
    [
        lambda handler: handler.answer(429, {"Retry-After": "0"}),
        lambda handler: handler.answer(500, HTML, b"<h1>oops</h1>"),
        lambda handler: half(handler) if is_weights(handler) else handler.cut(),
    ],
    ids=["429", "500", "cut"],
)
def test_what_passes_is_waited_for(
    act: Callable[[Handler], bool], machine: Machine, models: list[Model], spoiler: Spoiler
) -> None:
    """Every single address fails once, downloads in the middle: the publication arrives, and says nothing of it."""
    spoiler.each_once(act)
    machine.run("publish", models[0].name, models[0].version, environment=IMPATIENT)
    found, status = image(machine, models[0]), models[0].status()
    assert found
    assert (status["state"], status["digest"]) == ("published", found.digest)
    assert len(spoiler.first) > 8, spoiler.first


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda handler: handler.answer(401), ("401", "MLFLOW_TRACKING_USERNAME")),
        (lambda handler: handler.answer(200, HTML, b"<html>a portal</html>"), ("MLflow",)),
        (lambda handler: handler.answer(503), ("MLflow", "503")),
        (late, ("timed out",)),
    ],
    ids=["401", "html", "503", "late"],
)
def test_a_server_that_is_of_no_use_skips_the_cycle(
    act: Callable[[Handler], bool],
    words: tuple[str, ...],
    machine: Machine,
    models: list[Model],
    spoiler: Spoiler,
) -> None:
    """A poll ends with MLflow's exit code and one line that says why; nothing is written anywhere."""
    spoiler.rule = act
    environment = {**IMPATIENT, "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    said = machine.run("poll", expect=ModelRegistryError.exit_code, environment=environment)
    assert [word for word in words if word not in said] == [], said
    assert "Traceback" not in said
    assert [model.status() for model in models] == [{}, {}]


def test_mlflow_gone_in_mid_poll(machine: Machine, models: list[Model], spoiler: Spoiler) -> None:
    """From the first download on nobody answers: no version is marked failed or published, and the next poll,
    with MLflow back, publishes them all at once."""
    gone: list[bool] = []

    def rule(handler: Handler) -> bool:
        gone.extend([True] * is_weights(handler))
        return bool(gone) and handler.cut()

    spoiler.rule = rule
    said = machine.run("poll", expect=None, environment=IMPATIENT)
    assert gone
    assert "Traceback" not in said
    states = {model.status().get("state") for model in models}
    assert states <= {None, "publishing"}, states
    assert [image(machine, model) for model in models] == [None, None]
    spoiler.rule = None
    machine.run("poll")
    for model in models:
        found = image(machine, model)
        assert found
        assert (model.status()["state"], model.status()["digest"]) == ("published", found.digest)


def test_a_file_that_stays_short(machine: Machine, models: list[Model], spoiler: Spoiler) -> None:
    """Shorter than its listing, twice: one more download and no third, no tag, a permanent failure that names it."""
    spoiler.rule = lambda handler: is_weights(handler) and short(handler)
    model = models[0]
    machine.run("publish", model.name, model.version, expect=ArtifactError.exit_code, environment=IMPATIENT)
    assert len(spoiler.front.methods("GET", "/weights/a.bin")) == 2
    assert image(machine, model) is None
    status = model.status()
    assert (status["state"], "next_try" in status) == ("failed", False), status
    assert "weights/a.bin" in status["reason"]
    assert "1,000" in status["reason"]
