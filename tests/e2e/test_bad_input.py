"""Versions that cannot be published: each says why, in one line, on itself; nothing is half published."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from publisher.errors import ResolutionError, SettingsError
from tests.e2e.conftest import NewWorkplace
from tests.engines import bare_client, free_port
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
PYTHON = "python: {}\ndependencies:\n- -r requirements.txt\n"
GOOD = "idna==3.10\n"


def register(server: MlflowServer, name: str, files: Mapping[str, str], tags: Mapping[str, str]) -> str:
    """A version whose source is its run's root, with `files` logged as they are; no model is trained."""
    client = server.client()
    run = client.create_run("0")
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            place = Path(folder) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        if files:
            client.log_artifacts(run.info.run_id, folder)
    client.create_registered_model(name)
    source = run.info.artifact_uri
    return str(client.create_model_version(name, source, run.info.run_id, tags=dict(tags)).version)


def model(requirements: str = GOOD, python: str = "") -> dict[str, str]:
    python = python or f"{sys.version_info.major}.{sys.version_info.minor}.0"
    return {
        "mymodel/MLmodel": "flavors: {}\n",
        "mymodel/run.py": "print('ran')\n",
        "mymodel/requirements.txt": requirements,
        "mymodel/python_env.yaml": PYTHON.format(python),
    }


BAD: dict[str, tuple[dict[str, str], dict[str, str], tuple[str, ...]]] = {
    "bad-empty": ({}, {}, ("no",)),
    "bad-folder": (model(), {"MODEL_FOLDER": "mymodle"}, ("MODEL_FOLDER", "mymodle", "mymodel")),
    "bad-path": (model(), {"MODEL_FOLDER": "../.."}, ("MODEL_FOLDER", "../..")),
    "bad-conflict": (model("numpy==1.24.4\npandas==2.3.3\nnumpy==2.2.6\n"), {}, ("numpy",)),
    "bad-arm64": (model("intel-openmp==2024.2.1\n"), {}, ("intel-openmp", "linux/arm64")),
    "bad-nonsense": (model("%%% ???\n"), {}, ("requirements.txt", "line 1")),
    "bad-python": (model(python="3.9.1"), {}, ("3.9",)),
}


# A base image for another Python may still be put there: that is the site's to mend, so it is tried again.
OF_THE_SITE = {"bad-python"}


@pytest.fixture(scope="module")
def polled(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> tuple[dict[str, str], Path]:
    """All bad versions, and a good one among them, in one poll: version by model name, and the cache folder."""
    versions = {
        name: register(mlflow_server, name, files, {**tags, "EXTERNAL_TARGET_BAD": "true"})
        for name, (files, tags, _) in BAD.items()
    }
    run_it = {"MODEL_EXECUTE_PATH": "client/run.py", "EXTERNAL_TARGET_BAD": "true"}
    files = {**model(), "client/run.py": "print('ran')\n"}
    versions["good-among-them"] = register(mlflow_server, "good-among-them", files, run_it)
    place = new_workplace(fresh=True, BAD=f"{registry.host}/bad")
    place.publisher("poll", "--once", expect=20)
    return versions, place.folder


@pytest.mark.parametrize("name", sorted(BAD))
def test_each_says_why(
    mlflow_server: MlflowServer, registry: RealRegistry, polled: tuple[dict[str, str], Path], name: str
) -> None:
    """The version's own status has the reason in one line, and its repository does not exist; no next try where
    the version itself is at fault."""
    tags = mlflow_server.tags(name, polled[0][name])
    reason = tags["publisher.BAD.reason"]
    assert tags["publisher.BAD.state"] == "failed"
    for part in BAD[name][2]:
        assert part in reason, reason
    assert "bug in publisher" not in reason
    assert "\n" not in reason
    assert ("publisher.BAD.next_try" in tags) == (name in OF_THE_SITE)
    assert f"bad/{name}" not in bare_client.repositories(registry.host)


def test_the_good_one_is_published(mlflow_server: MlflowServer, polled: tuple[dict[str, str], Path]) -> None:
    """Seven faults around it do not keep a version from its image."""
    tags = mlflow_server.tags("good-among-them", polled[0]["good-among-them"])
    assert tags["publisher.BAD.state"] == "published"


def test_nothing_was_downloaded_for_them(polled: tuple[dict[str, str], Path]) -> None:
    """What cannot be resolved is found out before any wheel is fetched: the cache has the good one's two."""
    wheels = sorted(polled[1].rglob("*.whl"))
    assert len(wheels) == 2, wheels


def test_they_are_not_tried_again(
    mlflow_server: MlflowServer,
    polled: tuple[dict[str, str], Path],
    registry: RealRegistry,
    new_workplace: NewWorkplace,
) -> None:
    """The next poll leaves them as they are and says why; a corrected tag makes a version due again."""
    place = new_workplace(BAD=f"{registry.host}/bad")
    done = place.publisher("poll", "--once")
    assert done.stdout.count("will not be tried again") == len(BAD) - len(OF_THE_SITE)
    version = polled[0]["bad-folder"]
    mlflow_server.client().set_model_version_tag("bad-folder", version, "MODEL_FOLDER", "mymodel")
    mlflow_server.client().set_model_version_tag("bad-folder", version, "MODEL_EXECUTE_PATH", "model/run.py")
    place.publisher("poll", "--once")
    assert mlflow_server.tags("bad-folder", version)["publisher.BAD.state"] == "published"


def test_a_tag_without_a_target_is_told(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """`publish` names the tag that no target has, and those that there are; the version is not touched."""
    version = register(mlflow_server, "lost", model(), {"EXTERNAL_TARGET_NOWHERE": "true"})
    done = new_workplace(BAD=f"{registry.host}/bad").publisher(
        "publish", "lost", version, expect=SettingsError.exit_code
    )
    assert "EXTERNAL_TARGET_NOWHERE" in done.stderr
    assert "BAD" in done.stderr
    assert not [key for key in mlflow_server.tags("lost", version) if key.startswith("publisher.")]


def test_an_absent_registry_is_tried_again(
    mlflow_server: MlflowServer, new_workplace: NewWorkplace, base_layout: Path
) -> None:
    """A registry that does not answer is no fault of the version: its status has the time of the next try."""
    version = register(
        mlflow_server,
        "patient",
        model(),
        {"EXTERNAL_TARGET_AWAY": "true", "MODEL_EXECUTE_PATH": "model/run.py"},
    )
    place = new_workplace(base=f"oci:{base_layout}", AWAY=f"127.0.0.1:{free_port()}/away")
    place.publisher("poll", "--once", expect=20)
    tags = mlflow_server.tags("patient", version)
    assert tags["publisher.AWAY.state"] == "failed"
    assert "cannot reach the registry" in tags["publisher.AWAY.reason"]
    assert "publisher.AWAY.next_try" in tags
    again = place.publisher("poll", "--once")
    assert "next try at" in again.stdout


def test_publish_ends_with_the_fault_s_own_code(
    mlflow_server: MlflowServer,
    polled: tuple[dict[str, str], Path],
    registry: RealRegistry,
    new_workplace: NewWorkplace,
) -> None:
    """One version asked for by name: one line on stdout or stderr, and the exit code of its fault."""
    place = new_workplace(BAD=f"{registry.host}/bad")
    version = polled[0]["bad-arm64"]
    done = place.publisher("publish", "bad-arm64", version, expect=ResolutionError.exit_code)
    assert "Traceback" not in done.stdout + done.stderr
