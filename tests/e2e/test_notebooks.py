"""The notebooks, and the README's few lines, run top to bottom as people run them, and end with a published image."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from publisher.errors import BuildError
from publisher.notebook import find
from tests import small
from tests.e2e.conftest import FOREIGN, NewWorkplace, Workplace
from tests.engines import bare_client
from tests.engines.debian import PLATFORMS
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import same_numbers
from tests.unit.test_notebooks import NOTEBOOKS, README_LINES

pytestmark = [
    pytest.mark.engine("docker-registry"),
    pytest.mark.engine("mmdebstrap"),
    pytest.mark.engine("docker"),
]
MODEL = "breast-cancer"


@pytest.fixture(scope="module")
def workplace(registry: RealRegistry, new_workplace: NewWorkplace) -> Workplace:
    """Where the notebooks are opened: a folder with one target."""
    return new_workplace(HERE=f"{registry.host}/notebooks")


def environment(workplace: Workplace) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return clean | {"DOCKER_CONFIG": str(workplace.folder / "docker"), "MLFLOW_DISABLE_TELEMETRY": "true"}


def run(name: str, workplace: Workplace, server: MlflowServer) -> nbformat.NotebookNode:
    """The notebook with its outputs; an error in a cell is this test's."""
    notebook = nbformat.read(NOTEBOOKS / name, 4)
    client = NotebookClient(
        notebook,
        timeout=600,
        resources={"metadata": {"path": str(workplace.folder)}},
    )
    client.execute(env={**environment(workplace), "MLFLOW_TRACKING_URI": server.uri})
    return notebook


def shown(notebook: nbformat.NotebookNode, kind: str) -> str:
    """All that its cells show of a kind, such as text/html."""
    outputs: list[Mapping[str, Any]] = [
        each for cell in notebook.cells if cell.cell_type == "code" for each in cell.outputs
    ]
    return "\n".join(str(each["data"][kind]) for each in outputs if kind in each.get("data", {}))


def image_of(server: MlflowServer, name: str) -> bare_client.Manifest:
    """What the registry has of a model's newest version, which MLflow says is published."""
    numbers = [int(v.version) for v in server.client().search_model_versions(f"name = '{name}'")]
    tags = server.tags(name, str(max(numbers)))
    assert tags["publisher.HERE.state"] == "published"
    found = bare_client.of_reference(tags["publisher.HERE.image"])
    assert found is not None
    assert found.digest == tags["publisher.HERE.digest"]
    assert sorted(found.platforms) == sorted(PLATFORMS)
    return found


@pytest.mark.usefixtures("docker")
def test_register_models(workplace: Workplace, mlflow_server: MlflowServer) -> None:
    """It trains, registers, publishes, draws where time and bytes went, and the image predicts what the notebook did."""
    notebook = run("register_models.ipynb", workplace, mlflow_server)
    index = image_of(mlflow_server, MODEL)
    html = shown(notebook, "text/html")
    assert index.digest in html
    assert re.search(r"linux/arm64, \d+\.\d MB", html)
    assert len(re.findall(r"iVBOR", shown(notebook, "image/png"))) == 3
    said = "".join(
        each.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for each in cell.outputs
    )
    table = [
        line.split()[1:] for line in said.splitlines() if re.fullmatch(r"\d+ +[0-9.e-]+ +[0-9.e-]+", line)
    ]
    assert len(table) == 5
    assert all(same_numbers(float(ours), float(theirs)) for ours, theirs in table)


def test_the_lines_of_the_readme(workplace: Workplace, mlflow_server: MlflowServer, tmp_path: Path) -> None:
    """From the first import to a published image, with these lines and no other."""
    script = tmp_path / "lines.py"
    script.write_text(README_LINES)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=workplace.folder,
        env=environment(workplace) | {"MLFLOW_TRACKING_URI": mlflow_server.uri},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    image_of(mlflow_server, MODEL)


def test_publish_models(workplace: Workplace, mlflow_server: MlflowServer) -> None:
    """It chooses the newest version that there is, publishes it, and shows what was sent."""
    small.register(mlflow_server, "chosen", "HERE")
    notebook = run("publish_models.ipynb", workplace, mlflow_server)
    assert image_of(mlflow_server, "chosen").digest in shown(notebook, "text/html")
    assert len(re.findall(r"iVBOR", shown(notebook, "image/png"))) == 2


def test_waiting_for_a_poll_that_runs_elsewhere(
    workplace: Workplace, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wait()` ends when another process has published; then the client runs here, and nothing of it stays."""
    small.register(mlflow_server, "awaited", "HERE")
    for key in [key for key in os.environ if key.startswith(FOREIGN)]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("DOCKER_CONFIG", str(workplace.folder / "docker"))
    found = find("awaited", config=workplace.folder / "publisher.toml")
    with ThreadPoolExecutor(1) as aside:
        polling = aside.submit(workplace.publisher, "poll", "--once")
        found.wait(300)
        polling.result()
    assert found.image == mlflow_server.tags("awaited", "1")["publisher.HERE.image"]
    assert f"published, {found.image.rpartition(':')[0]}@sha256:" in str(found)
    assert {layer.title for layer in found.layers("here")} >= {"base image", "model", "client"}
    assert found.run().output == "hello\n"
    with pytest.raises(BuildError, match="ended with 3"):
        found.run("-c", "raise SystemExit(3)")
    done = subprocess.run(
        ["docker", "ps", "--all", "--format", "{{.Image}}"], capture_output=True, text=True, check=True
    )
    assert "/notebooks/" not in done.stdout
