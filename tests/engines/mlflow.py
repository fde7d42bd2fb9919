"""A real MLflow server: SQLite store, artifacts proxied through it, as most installations have it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engines import free_port

if TYPE_CHECKING:
    from mlflow import MlflowClient

START_SECONDS = 90


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A running server. Its artifacts lie below `folder`; `log` has one line for each request."""

    uri: str
    folder: Path
    log: Path

    def client(self) -> MlflowClient:
        """A client of this server alone: the process's own tracking URI stays what it is."""
        from mlflow import MlflowClient  # noqa: PLC0415 - takes seconds

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def tags(self, name: str, version: str) -> dict[str, str]:
        """The tags of a model version as they are now."""
        return dict(self.client().get_model_version(name, version).tags)


@contextmanager
def serve(
    folder: Path,
    *,
    python: Path | str = sys.executable,
    destination: str | None = None,
    more: Mapping[str, str] | None = None,
    account: tuple[str, str] | None = None,
) -> Iterator[MlflowServer]:
    """Run a server whose files are all below `folder`, until the block ends.

    `python`: the interpreter whose MLflow it is; `destination`: a URI where it keeps artifacts instead; `more`:
    what its environment has besides; `account`: name and password of the administrator, and then MLflow's own
    Basic authentication guards all.
    """
    artifacts, log = folder / "artifacts", folder / "mlflow.log"
    artifacts.mkdir(parents=True)
    port = free_port()
    command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--workers", "1"]
    command += ["--serve-artifacts", "--artifacts-destination", destination or str(artifacts)]
    # The process's own settings would change what the server does; job workers are five more processes.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment |= more or {}
    # MLflow 2 starts gunicorn by its name.
    environment["PATH"] = f"{Path(python).parent}{os.pathsep}{environment['PATH']}"
    if account:
        command += ["--app-name", "basic-auth"]
        environment |= {"MLFLOW_FLASK_SERVER_SECRET_KEY": "of-the-tests"}
        environment |= {"MLFLOW_AUTH_CONFIG_PATH": str(_guarded(folder, *account))}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=sink, env=environment, cwd=folder, start_new_session=True
        )
    try:
        uri = f"http://127.0.0.1:{port}"
        _wait(process, f"{uri}/health", log)
        yield MlflowServer(uri, artifacts, log)
    finally:
        # The session is the server's own: its worker ends with it, even where the server was killed hard.
        for signal in (15, 9):
            try:
                os.killpg(process.pid, signal)
                process.wait(10)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def _guarded(folder: Path, user: str, password: str) -> Path:
    path = folder / "auth.ini"
    entries = {
        "default_permission": "NO_PERMISSIONS",
        "database_uri": f"sqlite:///{folder / 'auth.db'}",
        "admin_username": user,
        "admin_password": password.replace("%", "%%"),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        # Hashing the right password takes a tenth of a second of the processor, at each of hundreds of requests.
        "auth_cache_ttl_seconds": "600",
    }
    path.write_text("[mlflow]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items()))
    return path


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"mlflow server ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"mlflow server does not answer after {START_SECONDS} s:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """One server for the session (for each worker, under xdist): starting takes seconds."""
    with serve(tmp_path_factory.mktemp("mlflow") / "server") as server:
        yield server
