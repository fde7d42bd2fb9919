"""`register` against real servers: the version is there with all its tags, or nothing is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher import status
from publisher.domain import Status
from publisher.errors import (
    ArtifactError,
    DeadlineError,
    ModelRegistryError,
    PublicationError,
    PublisherError,
    RegistrationError,
    ResolutionError,
    TemplateError,
    UnknownVersionError,
)
from publisher.notebook import Publication, find, register
from publisher.notebook.here import Here
from tests.engines import mlflow_versions
from tests.engines.mlflow import MlflowServer, serve
from tests.engines.mlflow_versions import NEWEST_2, ROOT

PINNED = ["six==1.17.0"]


@pytest.fixture(autouse=True)
def place(
    mlflow_server: MlflowServer, base_layout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A notebook's folder, with settings of one target on disk, and a client folder."""
    for key in [key for key in os.environ if key.startswith(("MLFLOW_", "PUBLISHER_", "REGISTRY_"))]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "publisher.toml").write_text(
        f'cache_folder = "cache"\n[targets.lab-one]\nregistry = "oci:images"\nbase = "oci:{base_layout}"\n'
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "app.py").write_text("print('hello')\n")
    return tmp_path


@pytest.fixture
def model() -> Any:
    return echo()


def echo() -> Any:
    """A model that is logged in a moment: of Python alone."""
    import mlflow.pyfunc  # noqa: PLC0415 - takes seconds

    class Echo(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context: Any, model_input: list[str]) -> list[str]:
            return model_input

    return Echo()


def versions(server: MlflowServer, name: str) -> list[str]:
    return sorted(str(v.version) for v in server.client().search_model_versions(f"name = '{name}'"))


def is_registered(server: MlflowServer, name: str) -> bool:
    return bool(server.client().search_registered_models(f"name = '{name}'"))


def test_a_model_becomes_a_version_with_its_tags(mlflow_server: MlflowServer, model: Any) -> None:
    """What was said is on the version, the folders are in its run, and the publisher's own checks have passed."""
    made = register(
        model,
        "nb-whole",
        client="mine",
        entry_point="python",
        execute_path="client/app.py",
        tags={"team": "risk", "year": 2026},
        pip_requirements=PINNED,
    )
    assert (made.name, made.version, made.targets, made.notes) == ("nb-whole", "1", ("lab-one",), ())
    assert mlflow_server.tags("nb-whole", "1") == {
        "MODEL_CLIENT_FOLDER": "client",
        "MODEL_ENTRY_POINT": "python",
        "MODEL_EXECUTE_PATH": "client/app.py",
        "EXTERNAL_TARGET_LAB_ONE": "true",
        "team": "risk",
        "year": "2026",
    }
    assert made.status() == {"lab-one": None}
    assert "lab-one: waiting for a publisher" in str(made)


def test_no_version_where_the_environment_does_not_resolve(mlflow_server: MlflowServer, model: Any) -> None:
    """A package that is nowhere is told with the resolver's words before there is a version, or even a model."""
    with pytest.raises(ResolutionError) as caught:
        register(model, "nb-nowhere", pip_requirements=["six==99.0"])
    assert "six" in caught.value.detail
    assert not is_registered(mlflow_server, "nb-nowhere")


def test_templates_are_rendered(mlflow_server: MlflowServer, place: Path, model: Any) -> None:
    """A template that cannot be rendered is told with its line; with a Dockerfile of its own nothing is resolved."""
    (place / "mine" / "Dockerfile.j2").write_text("FROM scratch\nLABEL a={{ nowhere }}\n")
    with pytest.raises(TemplateError, match="nowhere"):
        register(model, "nb-templates", templates="mine", pip_requirements=PINNED)
    assert not is_registered(mlflow_server, "nb-templates")
    (place / "mine" / "Dockerfile.j2").write_text("FROM scratch\nLABEL a={{ model_name }}\n")
    made = register(model, "nb-templates", templates="mine", pip_requirements=["six==99.0"])
    assert mlflow_server.tags("nb-templates", made.version)["MODEL_TEMPLATES_FOLDER"] == "templates"
    assert not [note for note in made.notes if "no builder can build" not in note]


def test_the_server_refuses_the_version(mlflow_server: MlflowServer, model: Any) -> None:
    """Where MLflow takes the model's name and not the version, the empty model does not stay either."""
    with pytest.raises(ModelRegistryError, match="registration of nb-refused"):
        register(model, "nb-refused", tags={"k" * 300: "v"}, pip_requirements=PINNED)
    assert not is_registered(mlflow_server, "nb-refused")


def test_a_version_that_exists(mlflow_server: MlflowServer, model: Any) -> None:
    """It is taken up with the tags that it lacks; one that says otherwise is left as it is."""
    first = register(model, "nb-again", client="mine", execute_path="client/app.py", pip_requirements=PINNED)
    tags = mlflow_server.tags("nb-again", "1")
    uri = mlflow_server.client().get_model_version("nb-again", "1").source
    assert register("models:/nb-again/1", "nb-again").version == first.version
    assert register(uri, "nb-again", tags={"more": "1"}).version == first.version
    assert mlflow_server.tags("nb-again", "1") == {**tags, "more": "1"}
    with pytest.raises(RegistrationError, match="v1 is these files already, with other tags: MODEL_EXEC"):
        register(uri, "nb-again", client="client", execute_path="client/other.py", tags={"x": "y"})
    assert mlflow_server.tags("nb-again", "1") == {**tags, "more": "1"}
    assert register("models:/nb-again/1", "nb-copied").version == "1"
    assert versions(mlflow_server, "nb-again") == versions(mlflow_server, "nb-copied") == ["1"]


def test_a_run_that_has_ended_takes_the_folders(mlflow_server: MlflowServer, model: Any) -> None:
    """A client comes to the run of a model that was logged before; what an earlier version uses stays as it was."""
    import mlflow  # noqa: PLC0415

    with mlflow.start_run() as run:
        info = mlflow.pyfunc.log_model(name="mymodel", python_model=model, pip_requirements=PINNED)
    for number, folder in (("1", "client"), ("2", "client-2")):
        made = register(info, f"nb-ended-{number}", client=Path("mine"), execute_path="client/app.py")
        assert mlflow_server.tags(made.name, "1")["MODEL_CLIENT_FOLDER"] == folder
    mlflow_server.client().delete_run(run.info.run_id)
    with pytest.raises(RegistrationError, match="was deleted, and takes no more files"):
        register(info.model_uri, "nb-deleted", client="mine")
    with pytest.raises(ArtifactError, match="no such folder"):
        register(info.model_uri, "nb-deleted", client="not-there")
    assert not is_registered(mlflow_server, "nb-deleted")


def test_the_active_run_is_used_and_stays_open(mlflow_server: MlflowServer, model: Any) -> None:
    """Inside a run the model goes to that run."""
    import mlflow  # noqa: PLC0415

    with mlflow.start_run() as run:
        made = register(model, "nb-active", pip_requirements=PINNED)
        assert mlflow.active_run().info.run_id == run.info.run_id
    found = mlflow_server.client().get_model_version(made.name, made.version)
    assert found.run_id == run.info.run_id


def test_models_that_mlflow_cannot_log(mlflow_server: MlflowServer, place: Path, model: Any) -> None:
    """The cause is told in one line, and nothing is registered."""
    model.lock = threading.Lock()
    (place / "empty").mkdir()
    for bad, said in [
        (object(), "no flavor that logs a builtins.object"),
        (model, "MLflow cannot log this model: .*"),
        ("empty", "holds no file MLmodel"),
        ("not-there", "'not-there' is no model"),
    ]:
        with pytest.raises(RegistrationError, match=said):
            register(bad, "nb-bad")
    for uri in ("models:/nb-none/7", f"runs:/{'0' * 32}/mymodel"):
        with pytest.raises(UnknownVersionError):
            register(uri, "nb-bad")
    assert not is_registered(mlflow_server, "nb-bad")


def test_a_folder_that_mlflow_saved(mlflow_server: MlflowServer, place: Path, model: Any) -> None:
    """A folder of this machine is logged to a run of its own."""
    import mlflow  # noqa: PLC0415

    mlflow.pyfunc.save_model(str(place / "saved"), python_model=model, pip_requirements=PINNED)
    made = register(place / "saved", "nb-folder")
    found = mlflow_server.client().get_model_version(made.name, made.version)
    assert found.source.endswith("/artifacts/mymodel")
    assert find("nb-folder").version == "1"


def test_without_settings_only_the_tag_is_set(mlflow_server: MlflowServer, place: Path, model: Any) -> None:
    """No publisher.toml: any target's tag is written, the handle says what was not looked at, and finds statuses."""
    (place / "publisher.toml").unlink()
    made = register(model, "nb-alone", target="far-away", pip_requirements=PINNED)
    assert mlflow_server.tags("nb-alone", "1") == {"EXTERNAL_TARGET_FAR_AWAY": "true"}
    assert "whether there is a target far-away" in made.notes[0]
    write(
        mlflow_server,
        "nb-alone",
        "Far-Away",
        Status("published", image="r/x:v1", digest=f"sha256:{'0' * 64}"),
    )
    assert made.wait(5).images == {"Far-Away": "r/x:v1"}
    assert find("nb-alone").targets == ("FAR_AWAY",)


def test_waiting_ends_with_the_reason(mlflow_server: MlflowServer, model: Any) -> None:
    """For a failure that stays it ends at once, for one that is tried again with the time that was given."""
    made = register(model, "nb-wait", pip_requirements=PINNED)
    began = time.monotonic()
    with pytest.raises(DeadlineError, match="lab-one: waiting for a publisher"):
        made.wait(0.5)
    later = status.read({"publisher.x.state": "failed", "publisher.x.next_try": "2999-01-01T00:00:00Z"}, "x")
    assert later
    write(
        mlflow_server, "nb-wait", "lab-one", Status("failed", "the registry is away", next_try=later.next_try)
    )
    with pytest.raises(DeadlineError, match="the registry is away"):
        made.wait(0.5)
    write(mlflow_server, "nb-wait", "lab-one", Status("failed", "no wheel fits <b>"))
    server = mlflow_server.client()
    server.delete_model_version_tag("nb-wait", "1", "publisher.lab-one.next_try")
    with pytest.raises(PublicationError, match="no wheel fits"):
        made.wait(60)
    assert time.monotonic() - began < 30
    assert "no wheel fits &lt;b&gt;" in made._repr_html_()
    with pytest.raises(PublicationError, match="is not published"):
        made.image  # noqa: B018 - reading it raises


def write(server: MlflowServer, name: str, target: str, known: Status) -> None:
    for key, value in status.to_tags(known, target).items():
        server.client().set_model_version_tag(name, "1", key, value)


def test_the_command_line_does_the_same(
    mlflow_server: MlflowServer, place: Path, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`publisher register` of a folder prints one document; what is refused has its exit code and registers nothing.

    MLflow itself is told of its server by the settings alone.
    """
    import mlflow  # noqa: PLC0415

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    settings = place / "publisher.toml"
    settings.write_text(f'mlflow_tracking_uri = "{mlflow_server.uri}"\n{settings.read_text()}')
    mlflow.pyfunc.save_model(str(place / "saved"), python_model=model, pip_requirements=PINNED)
    done = publisher("register", "saved", "nb-line", "--client", "mine", "--tag", "team=risk", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "model": "nb-line",
        "version": "1",
        "notes": [],
        "targets": [{"target": "lab-one", "state": None, "image": "", "digest": ""}],
    }
    assert mlflow_server.tags("nb-line", "1")["team"] == "risk"
    done = publisher("register", "saved", "nb-line", "--target", "nowhere")
    assert (done.returncode, versions(mlflow_server, "nb-line")) == (RegistrationError.exit_code, ["1"])
    assert "there is no target 'nowhere'; the settings here have lab-one" in done.stderr
    assert publisher("register", "saved", "nb-line", "--tag", "x").returncode == 2


def publisher(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("publisher")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


SCRIPT = """\
import json, sys
import mlflow.pyfunc
from publisher.notebook import register

class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input

made = register(Echo(), sys.argv[1], client="mine", execute_path="client/app.py", pip_requirements=["six==1.17.0"])
again = register(f"models:/{made.name}/{made.version}", made.name)
print(json.dumps([made.version, again.version, list(made.notes)]))
"""


@pytest.fixture(scope="module")
def newest_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with serve(tmp_path_factory.mktemp("nb2") / "s", python=mlflow_versions.python(NEWEST_2)) as server:
        yield server


@pytest.mark.parametrize(
    ("server", "client"), [("newest_2", NEWEST_2), ("newest_2", "3"), ("mlflow_server", NEWEST_2)]
)
def test_mlflow_2_and_3(request: pytest.FixtureRequest, place: Path, server: str, client: str) -> None:
    """Whichever MLflow is in the notebook and whichever serves: the version is whole, and its model is found."""
    running: MlflowServer = request.getfixturevalue(server)
    interpreter = sys.executable if client == "3" else str(mlflow_versions.python(client))
    name = f"nb-{server}-{client[0]}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": running.uri, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [interpreter, "-c", SCRIPT, name],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert json.loads(done.stdout.splitlines()[-1]) == ["1", "1", []]
    assert running.tags(name, "1") == {
        "MODEL_CLIENT_FOLDER": "client",
        "MODEL_EXECUTE_PATH": "client/app.py",
        "EXTERNAL_TARGET_LAB_ONE": "true",
    }


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says which server and why, after its few retries."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PublisherError, match=r"cannot reach MLflow at http://127\.0\.0\.1:9"):
        register("models:/x/1", "x")
    away = Publication("x", "1", ("lab-one",), Here.look())
    with pytest.raises(DeadlineError, match=r"not published after 0 s: cannot reach MLflow"):
        away.wait(0.3)
