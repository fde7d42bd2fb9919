"""Secrets: one real publication with every credential there is, and then they are searched for everywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest

from publisher.builders.bases import host_platform
from tests import wheels
from tests.contract.fronts import Front, front
from tests.engines import mlflow, packages, require
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry, running
from tests.threats.canaries import Processes, leaking_files, leaks, watched

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]

# With all that URLs, JSON, base64 and shells write in their own way.
SECRETS = {
    "REGISTRY_TOKEN": "c4nary/registry+1?&=%41",
    "MLFLOW_TRACKING_PASSWORD": "c4nary:mlflow@2\"'%2f",
    "index": packages.PASSWORD,
    "proxy": "c4nary/proxy+3",
    "AWS_SECRET_ACCESS_KEY": "c4nary/aws+4/secretKeyOfFortyCharacters",
    "AWS_SESSION_TOKEN": "c4nary//aws-session+5==",
    "DOMINO_USER_API_KEY": "c4nary-domino-6-0123456789abcdef",
    "docker": "c4nary{docker}7",
    "netrc": "c4nary-netrc-8",
}
WRONG = {
    "REGISTRY_TOKEN": "c4nary/wrong+registry",
    "MLFLOW_TRACKING_PASSWORD": "c4nary/wrong+mlflow",
    "index": "c4nary/wrong+index",
}
ADMIN = "admin"
FOREIGN = ("MLFLOW_", "MODEL_", "PUBLISHER_", "REGISTRY_", "DOCKER_", "UV_", "PIP_", "AWS_", "DOMINO_")


@dataclass
class Scene:
    """What is there, and what publisher said in all of its runs."""

    folder: Path  # all that publisher may write to
    server: MlflowServer
    registry: RealRegistry
    evil: Front
    environment: dict[str, str]
    said: list[str] = field(default_factory=list)
    processes: Processes = field(default_factory=Processes)
    marker: Path = Path("/nonexistent")

    def run(self, *arguments: str, expect: int | None = 0, **changes: str) -> str:
        """Run the installed command as in a shell; its output is kept."""
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("publisher")), *arguments],
            cwd=self.folder,
            env={**self.environment, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with watched(process.pid) as seen:
            out, err = process.communicate(timeout=300)
        self.processes.lines |= seen.lines
        for line, environments in seen.environments.items():
            self.processes.environments.setdefault(line, set()).update(environments)
        self.said += [out, err]
        if expect is not None:
            assert process.returncode == expect, f"{arguments}: {out}\n{err}"
        return out


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, base_layout: Path) -> Iterator[Scene]:
    """Everything asks for credentials; one version is registered, published, and looked at by every command."""
    outside, folder = tmp_path_factory.mktemp("outside"), tmp_path_factory.mktemp("machine")
    (outside / "packages").mkdir()
    marker = outside / "marker"
    wheels.make(outside / "packages", "pip", {"pip/__init__.py": b""})
    payload = f"open({str(marker)!r}, 'w').close()\n".encode()
    wheels.make(
        outside / "packages", "rules", {"rules/__init__.py": payload, "rules.pth": b"import os; " + payload}
    )
    with (
        mlflow.serve(outside / "mlflow", account=(ADMIN, SECRETS["MLFLOW_TRACKING_PASSWORD"])) as server,
        running(outside / "registry", auth=_htpasswd(outside)) as registry,
        packages.serve(outside / "packages") as index,
        front(lambda handler: handler.answer(200)) as evil,
    ):
        environment = _environment(outside, folder, server, registry, index)
        made = Scene(folder, server, registry, evil, environment, marker=marker)
        (folder / "publisher.toml").write_text(
            f'[targets.TEST]\nregistry = "{registry.host}/team"\nbase = "oci:{base_layout}"\n'
            f'platforms = ["{host_platform()}"]\nresolve = "latest"\n'
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_USERNAME", ADMIN)
            patch.setenv("MLFLOW_TRACKING_PASSWORD", SECRETS["MLFLOW_TRACKING_PASSWORD"])
            _register(outside, server, evil, marker)
            made.run("--debug", "publish", "canary", "1", "--dry-run")
            made.run("--debug", "poll", "--once", "--json")
            for command in (
                ["status", "--json"],
                ["explain", "canary", "1"],
                ["targets"],
                ["doctor"],
                ["status"],
            ):
                made.run("--debug", *command, expect=None)
            _fail(made, index)
            yield made


def _htpasswd(folder: Path) -> Mapping[str, object]:
    program = require("htpasswd", "apache2-utils")
    secret = SECRETS["REGISTRY_TOKEN"].encode()
    done = subprocess.run([program, "-niB", "robot"], input=secret, capture_output=True, check=True)
    (folder / "htpasswd").write_bytes(done.stdout)
    return {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}


def _environment(
    outside: Path, folder: Path, server: MlflowServer, registry: RealRegistry, index: packages.PackageIndex
) -> dict[str, str]:
    """Of a person who has set all that can be set."""
    docker, netrc = outside / "docker", outside / "netrc"
    docker.mkdir()
    entry = {"username": "robot", "password": SECRETS["docker"]}
    (docker / "config.json").write_text(json.dumps({"auths": {"other.example.org": entry}}))
    netrc.write_text(f"machine other.example.org login robot password {SECRETS['netrc']}\n")
    netrc.chmod(0o600)
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(FOREIGN)}
    return kept | {
        **{name: secret for name, secret in SECRETS.items() if name.isupper()},
        "AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS",
        "DOCKER_CONFIG": str(docker),
        "DOMINO_RUN_ID": "run-of-the-tests",
        "HOME": str(folder / "home"),
        "HTTPS_PROXY": f"http://robot:{quote(SECRETS['proxy'], safe='')}@127.0.0.1:9",
        "MLFLOW_TRACKING_URI": server.uri,
        "MLFLOW_TRACKING_USERNAME": ADMIN,
        "NETRC": str(netrc),
        "PUBLISHER_CACHE_FOLDER": str(folder / "cache"),
        "REGISTRY_URL": registry.host,
        "REGISTRY_USER": "robot",
        "TMPDIR": str(folder / "tmp"),
        "UV_CACHE_DIR": str(folder / "uv"),
        "UV_INDEX_URL": _with_account(index, SECRETS["index"]),
        "XDG_CACHE_HOME": str(folder / "xdg"),
    }


def _with_account(index: packages.PackageIndex, password: str) -> str:
    return index.url.replace("://", f"://{packages.USER}:{quote(password, safe='')}@")


def _register(outside: Path, server: MlflowServer, evil: Front, marker: Path) -> None:
    """A version whose files try to run and to steer, and whose tags name a registry."""
    model, client = outside / "model", outside / "client"
    (model / "code").mkdir(parents=True)
    client.mkdir()
    bomb = f"cposix\nsystem\n(S'touch {marker}'\ntR."
    files = {
        "MLmodel": f"flavors: {{python_function: {{loader_module: rules, code: code, python_version: {PYTHON}}}}}\n",
        "model.pkl": bomb,
        "python_model.pkl": bomb,
        "requirements.txt": "rules\n",
        "code/sitecustomize.py": f"open({str(marker)!r}, 'w')\n",
        "uv.toml": f'[[index]]\nurl = "http://{evil.host}/"\n',
        "pip.conf": f"[global]\nindex-url = http://{evil.host}/\n",
        ".netrc": "default login x password y\n",
    }
    for name, text in files.items():
        (model / name).write_text(text)
    (client / "main.py").write_text("print('a client')\n")
    api = server.client()
    api.create_registered_model("canary")
    run = api.create_run("0").info
    for part in (model, client):
        api.log_artifacts(run.run_id, str(part), part.name)
    api.create_model_version("canary", f"{run.artifact_uri}/model", run.run_id)
    tags = {"EXTERNAL_TARGET_TEST": "true", "MODEL_EXECUTE_PATH": "client/main.py"}
    tags |= dict.fromkeys(
        ("FOUNDRY_URL", "REGISTRY_URL", "publisher.TEST.image"), f"{evil.host}/team/model:v1"
    )
    for key, value in tags.items():
        api.set_model_version_tag("canary", "1", key, value)


PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}.0"


def _fail(scene: Scene, index: packages.PackageIndex) -> None:
    """Runs in which each service refuses us, told with all that --debug tells."""
    publish = ["--debug", "publish", "canary", "1", "--force"]
    scene.run(*publish, expect=13, REGISTRY_TOKEN=WRONG["REGISTRY_TOKEN"])
    scene.run(*publish, expect=10, UV_INDEX_URL=_with_account(index, WRONG["index"]), UV_CACHE_DIR="no-cache")
    scene.run(*publish, expect=4, MLFLOW_TRACKING_PASSWORD=WRONG["MLFLOW_TRACKING_PASSWORD"])
    scene.run(
        *publish, expect=3, MLFLOW_TRACKING_URI=f"http://u:{quote(WRONG['index'], safe='')}@127.0.0.1:9"
    )
    scene.run(
        *publish, expect=3, PUBLISHER_TARGETS__TEST__REGISTRY=f"u:{WRONG['index']}@{scene.registry.host}"
    )


ALL = {**SECRETS, **{f"wrong {name}": secret for name, secret in WRONG.items()}}


def test_it_was_published(scene: Scene) -> None:
    """The search below is one of a publication that took place, behind every password."""
    tags = scene.server.tags("canary", "1")
    assert tags["publisher.TEST.image"] == f"{scene.registry.host}/team/canary:v1"
    assert scene.registry.requests("PUT", "team/canary/manifests")


def test_what_publisher_says(scene: Scene) -> None:
    """No output of any command, with --debug and --json, in success and in failure, holds a secret."""
    assert sum(map(len, scene.said)) > 5000
    for text in scene.said:
        assert not leaks(text.encode(), ALL), text


def test_what_publisher_writes(scene: Scene, base_layout: Path) -> None:
    """Cache, locks, uv's own cache, home and temporary folders hold no secret; nor is anything left of the work."""
    known = {path.name for path in (base_layout / "blobs" / "sha256").iterdir()}
    assert [path for path in scene.folder.rglob("*") if path.suffix == ".whl"]
    assert not leaking_files(scene.folder, ALL, known)


def test_what_the_registry_has(scene: Scene, base_layout: Path) -> None:
    """No layer, inflated, no config with its labels, no manifest, annotation or tag, no log line of the registry."""
    known = {path.name for path in (base_layout / "blobs" / "sha256").iterdir()}
    assert list((scene.registry.folder / "storage").rglob("data"))
    assert not leaking_files(scene.registry.folder / "storage", ALL, known)
    assert not leaks(scene.registry.log.read_bytes(), ALL)


def test_what_mlflow_has(scene: Scene) -> None:
    """No status tag, no other tag, nothing in the database or the log of the server."""
    assert not leaks(json.dumps(scene.server.tags("canary", "1")).encode(), ALL)
    for path in (scene.server.folder.parent / "mlflow.db", scene.server.log):
        assert not leaks(path.read_bytes(), ALL), path


def test_the_process_list(scene: Scene) -> None:
    """No command line of publisher or of any process below it; uv, workers and the image's Python were seen."""
    lines = b"\n".join(scene.processes.lines)
    for program in (b"pip\0compile", b"worker.main()", b"ld-linux"):
        assert program in lines
    assert not leaks(lines, ALL)


def test_the_environment_of_children(scene: Scene) -> None:
    """What publisher starts gets the passwords of package index and proxy where it needs them, and no other."""
    others = {name: secret for name, secret in ALL.items() if "index" not in name and name != "proxy"}
    without_proxy = {name: secret for name, secret in ALL.items() if name != "proxy"}
    for line, environments in scene.processes.environments.items():
        if b"publisher\0" in line:
            continue  # publisher itself, before a child's exec
        for environment in environments:
            needs = b"/uv\0" in line or b"\0UV=" in environment  # uv, and the Python that it asks
            # Engines, and what is asked about them, pull images by the proxy.
            engine = any(
                name in line.split(b"\0")[0] for name in (b"docker", b"buildx", b"buildah", b"podman")
            )
            wanted = others if needs else without_proxy if engine else ALL
            assert not leaks(environment, wanted), line


def test_nothing_of_the_model_ran(scene: Scene) -> None:
    """Pickles, code, .pth files and modules of the model and its wheels: the marker of each is absent."""
    assert not scene.marker.exists()


def test_nobody_else_was_asked(scene: Scene) -> None:
    """The host that the model's tags and files name has seen no connection."""
    assert not scene.evil.seen
