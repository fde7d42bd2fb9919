"""The small REST client beside MLflow's own: the same results, the same credentials, and no others."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from publisher.domain import ModelVersion
from publisher.errors import ModelRegistryError, SettingsError
from publisher.sources.aliases import FEW
from publisher.sources.login import Login
from publisher.sources.mlflow import MlflowSource
from publisher.sources.rest import RestClient
from tests.contract.lying_proxy import LyingProxy
from tests.contract.mlflow_lab import Lab, fetch, files, target

BASIC = "Basic " + base64.b64encode(b"someone:canary").decode()


class Odd:
    """A server of anybody's: keeps what it was sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        self.status, self.kind, self.body, self.headers = 200, "application/json", b"{}", {}  # type: ignore[var-annotated]
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                odd.heard.append({key.lower(): value for key, value in self.headers.items()})
                self.send_response(odd.status)
                for key, value in {"Content-Type": odd.kind, **odd.headers}.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(odd.body)))
                self.end_headers()
                self.wfile.write(odd.body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"

    def get(self, **environ: str) -> ModelVersion:
        return MlflowSource(self.uri, {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **environ}).get("m", "1")


@pytest.fixture
def odd() -> Iterator[Odd]:
    made = Odd()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_both_clients_see_the_same(lab: Lab, tmp_path: Path) -> None:
    """What is found, read, fetched and written is the same by our client and by MLflow's."""
    for number, source_uri in enumerate((lab.model, f"runs:/{lab.run2}/mymodel", lab.root(lab.run2))):
        run, model = (lab.run3, lab.model_id) if number == 0 else (lab.run2, None)
        made = lab.register(source_uri, run, model, BOTH="true", MODEL_CLIENT_FOLDER="client")
        seen = []
        for registry in (lab.server.uri, lab.server.uri + "/"):  # the latter is for MLflow's own client
            source = MlflowSource(lab.server.uri, {**os.environ, "MLFLOW_REGISTRY_URI": registry})
            assert isinstance(source._client, RestClient) == (registry == lab.server.uri)
            version = source.get(made.name, made.version)
            source.record(version, {"note": "ü ' \" %", "state": str(number)}, ["gone"])
            again = next(v for v in source.discover(target("BOTH")) if v.name == made.name)
            brought = fetch(source, again, tmp_path / f"{number}{len(seen)}")
            seen.append((version.source, version.created, again, files(brought.model), files(brought.client)))
            source.record(again, {"state": "x"}, ["note"])
            assert dict(source.get(made.name, made.version).tags)["state"] == "x"
            source.record(again, {}, ["state"])
        assert seen[0] == seen[1]


@pytest.mark.parametrize("slash", ["", "/"])
def test_aliases_of_many_models(lab: Lab, slash: str) -> None:
    """More models than are asked for one by one: their aliases come from a search, by either client."""
    key = f"MANY{len(slash)}"
    made = [lab.register(lab.root(lab.run2), lab.run2, **{key: "yes"}) for _ in range(FEW + 2)]
    lab.client.set_registered_model_alias(made[0].name, "champion", "1")
    # The registry's address with a slash is for MLflow's own client.
    source = MlflowSource(lab.server.uri, {**os.environ, "MLFLOW_REGISTRY_URI": lab.server.uri + slash})
    found = {each.name: each.aliases for each in source.discover(replace(target(key), tags=("{alias}",)))}
    assert found == {each.name: ("champion",) if each is made[0] else () for each in made}


@pytest.mark.parametrize(
    ("environ", "sent"),
    [
        ({"MLFLOW_TRACKING_USERNAME": "someone", "MLFLOW_TRACKING_PASSWORD": "canary"}, BASIC),
        ({"MLFLOW_TRACKING_TOKEN": "canary"}, "Bearer canary"),
        ({}, None),
    ],
)
def test_credentials_of_the_environment(odd: Odd, environ: dict[str, str], sent: str | None) -> None:
    """User and password, else the token, go to the server, and nothing where nothing is set."""
    with pytest.raises(ModelRegistryError):
        odd.get(**environ)
    assert odd.heard[0].get("authorization") == sent


def test_credentials_of_the_file(odd: Odd, tmp_path: Path) -> None:
    """What `mlflow login` style files keep in ~/.mlflow/credentials is used; a broken file is told."""
    (tmp_path / ".mlflow").mkdir()
    saved = tmp_path / ".mlflow" / "credentials"
    saved.write_text("[mlflow]\nmlflow_tracking_username = someone\nmlflow_tracking_password = canary\n")
    with pytest.raises(ModelRegistryError):
        odd.get(HOME=str(tmp_path))
    assert odd.heard[0]["authorization"] == BASIC
    saved.write_text("mlflow_tracking_password = canary\n")
    with pytest.raises(SettingsError) as fault:
        odd.get(HOME=str(tmp_path))
    assert "canary" not in str(fault.value)


def test_nothing_follows_a_redirect(odd: Odd) -> None:
    """A server that sends us on is told of, and the other place sees neither headers nor a connection."""
    other = Odd()
    odd.status, odd.headers = 302, {"Location": f"{other.uri}/login?next=secret"}
    with pytest.raises(ModelRegistryError, match=r"sends us on to http://127\.0\.0\.1$"):
        odd.get(MLFLOW_TRACKING_TOKEN="canary")
    other.server.server_close()
    assert len(odd.heard) == 1
    assert other.heard == []


@pytest.mark.parametrize(
    ("status", "kind", "body", "told"),
    [
        (200, "text/html", b"<html>Please log in</html>", "does not answer as MLflow does"),
        (404, "text/html", b"<html>nginx</html>", "does not answer as MLflow does"),
        (200, "application/json", b"[]", "does not answer as MLflow does"),
        (401, "text/html", b"<html>", "refuses our credentials"),
        (400, "application/json", b'{"message": "no\\nsuch thing"}', "no such thing"),
        (500, "text/html", b"<html>", "HTTP 500"),
    ],
)
def test_odd_answers(odd: Odd, status: int, kind: str, body: bytes, told: str) -> None:
    """An answer that is none of MLflow's is one line that says what was met, never a traceback."""
    odd.status, odd.kind, odd.body = status, kind, body
    with pytest.raises(ModelRegistryError, match=told) as fault:
        odd.get()
    assert "\n" not in fault.value.line


def test_a_busy_server_is_asked_again(lab: Lab, proxy: LyingProxy) -> None:
    """429 and 503 are tried again; what a server asks for as a pause has a bound (see _Patience)."""
    version = lab.register(lab.root(lab.run2), lab.run2)
    answers = iter((429, 503))

    def lie(line: str, truth: object) -> object:
        status = next(answers, None)
        if status:
            truth.status = status  # type: ignore[attr-defined]
        return truth

    proxy.lie = lie  # type: ignore[assignment]
    source = MlflowSource(proxy.uri, {**os.environ, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0"})
    assert source.get(version.name, version.version).name == version.name
    assert len(proxy.requests) == 4  # the version three times, its model once


@pytest.mark.parametrize(
    "environ",
    [
        {"MLFLOW_TRACKING_AUTH": "some-plugin"},
        {"MLFLOW_TRACKING_AWS_SIGV4": "true"},
        {"MLFLOW_WORKSPACE": "team"},
        {"MLFLOW_REGISTRY_URI": "https://other.example.org"},
    ],
)
def test_what_only_mlflow_can(environ: dict[str, str]) -> None:
    """Sign-ins and servers that this client does not know are left to MLflow's own."""
    assert Login.read("https://mlflow.example.org", environ) is None
    assert Login.read("https://mlflow.example.org", {}) is not None
    assert Login.read("sqlite:///mlflow.db", {}) is None


def test_a_wrong_number_is_told() -> None:
    with pytest.raises(SettingsError, match="MLFLOW_HTTP_REQUEST_TIMEOUT is 'soon'"):
        Login.read("https://mlflow.example.org", {"MLFLOW_HTTP_REQUEST_TIMEOUT": "soon"})


def test_mlflow_is_not_imported(lab: Lab, tmp_path: Path) -> None:
    """The second that MLflow's import takes is not paid for a server that hands out its files itself."""
    version = lab.register(lab.model, lab.run3, lab.model_id)
    code = f"""
import os, sys
from pathlib import Path
from publisher.progress import Silent
from publisher.sources.mlflow import MlflowSource
source = MlflowSource({lab.server.uri!r}, os.environ)
version = source.get({version.name!r}, "1")
source.record(version, {{"state": "x"}})
print(source.fetch(version, Path({str(tmp_path / "work")!r}), Silent(), "m").bytes > 0, "mlflow" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
