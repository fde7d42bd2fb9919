"""`publisher doctor` finds what is there and what is not, by asking for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from publisher import doctor as module
from publisher.cli import doctor as command
from publisher.doctor import Check
from publisher.errors import HostError
from publisher.progress import Silent
from publisher.settings import load
from publisher.wiring import connect
from tests.contract.world import World
from tests.engines import bare_client, free_port
from tests.engines.registry import RealRegistry

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


def checks(world: World, **keys: str) -> dict[tuple[str, str], Check]:
    with world.app("DOC", **keys) as app:
        return {(check.topic, check.subject): check for check in app.doctor()}


def test_a_sound_installation_is_ok(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check is ok, each on its line, the exit code is 0, and the registry has no repository more."""
    before = bare_client.repositories(world.registry.host)
    with world.app("DOC", cache="{registry}/publisher-cache") as app:
        assert command.run(contextlib.nullcontext(app), json=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(": ok, " in line for line in lines), lines
    assert f"MLflow {world.server.uri}: ok, MLflow " in lines[0]
    topics = (
        "registry DOC",
        "cache repository DOC",
        "base image DOC",
        "package index uv",
        "disk cache_folder",
    )
    for topic in topics:
        assert any(line.startswith(f"{topic}: ok") for line in lines), topic
    assert bare_client.repositories(world.registry.host) == before


def test_an_mlflow_that_is_not_there_hides_nothing_else(world: World) -> None:
    """Its check fails with its exit code, and the registry is looked at all the same."""
    with (
        silent_mlflow(),
        connect(settings(world, f"http://127.0.0.1:{free_port()}"), os.environ, Silent()) as app,
    ):
        found = {check.topic: check for check in app.doctor()}
    assert (found["MLflow"].state, found["MLflow"].exit_code) == ("fail", 4)
    assert "cannot reach MLflow" in found["MLflow"].text
    assert found["registry"].state == "ok"


def test_a_registry_that_refuses_us(world: World, private_registry: RealRegistry) -> None:
    """Without credentials we may not push, the hint says what to set, and the cache is no more than a warning."""
    place = f"{private_registry.host}/team"
    found = checks(world, registry=place, cache="{registry}/cache")
    refused = found["registry", "DOC"]
    assert (refused.state, refused.exit_code) == ("fail", 13)
    assert refused.hint
    assert found["cache repository", "DOC"].state == "warn"


def test_base_images(world: World) -> None:
    """A base image that is nowhere, and one of several that is not there, fail; a template needs one at least."""
    lost = checks(world, base="oci:/nowhere")["base image", "DOC"]
    assert (lost.state, lost.exit_code) == ("fail", 11)
    several = f"{world.python}=oci:{world.base},3.9=oci:/nowhere"
    assert checks(world, base=several)["base image", "DOC"].state == "fail"
    assert checks(world, base=f"{world.python}=oci:{world.base}")["base image", "DOC"].state == "ok"


def test_an_index_that_is_not_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index is asked as a lock would ask it, past uv's own cache."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("UV_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    found = checks(world)["package index", "uv"]
    assert (found.state, found.exit_code) == ("fail", 10)


def test_a_disk_that_is_nearly_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little space is a warning, hardly any a failure; both say what helps."""
    monkeypatch.setattr(module, "ENOUGH", 1 << 60)
    found = checks(world)["disk", "cache_folder"]
    assert (found.state, found.exit_code) == ("warn", 0)
    assert "publisher cache --limit" in found.hint
    monkeypatch.setattr(module, "LITTLE", 1 << 59)
    assert checks(world)["disk", "cache_folder"].exit_code == HostError.exit_code


def test_targets_are_counted(world: World) -> None:
    """Versions whose tag says true select a target, the others do not."""
    world.register(EXTERNAL_TARGET_COUNTED="true")
    world.register(EXTERNAL_TARGET_COUNTED="no")
    with world.app("COUNTED") as app:
        assert app.count() == {"COUNTED": 1}


def settings(world: World, uri: str) -> object:
    environ = {
        "MLFLOW_TRACKING_URI": uri,
        "PUBLISHER_CACHE_FOLDER": str(world.folder / "cache"),
        "PUBLISHER_TARGETS__DOC__REGISTRY": f"{world.registry.host}/doc",
        "PUBLISHER_TARGETS__DOC__BASE": f"oci:{world.base}",
    }
    return load({}, environ)


@contextlib.contextmanager
def silent_mlflow() -> Iterator[None]:
    """Without the retries, which would take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield
