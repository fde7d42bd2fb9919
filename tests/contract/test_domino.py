"""Domino's request headers: to a real MLflow server, seen by a proxy before it, and to nobody else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import jwt
import pytest
from mlflow.tracking.request_header import registry
from mlflow.tracking.request_header.registry import resolve_request_headers

from publisher.errors import EngineError, ModelRegistryError
from publisher.sources.auth import DominoHeaders
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import Answer, LyingProxy
from tests.contract.mlflow_lab import Lab, target
from tests.e2e.conftest import Workplace

pytestmark = pytest.mark.filterwarnings("ignore:The HMAC key is")  # ours to read the token with
KEY = "canary-f3b1c2"
RUN = "64935a02cca641326ecb2ca6"
EXECUTION = {"execution_id": RUN}


@pytest.fixture
def domino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMINO_USER_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("DOMINO_RUN_ID", RUN)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_ALLOW_HTTP_REDIRECTS", "")  # so that what is set meanwhile is unset at the end
    monkeypatch.delenv("MLFLOW_ALLOW_HTTP_REDIRECTS")


@pytest.fixture
def elsewhere() -> Iterator[socket.socket]:
    """Another host, at which nobody may knock."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener


def test_it_costs_nothing() -> None:
    """Loading the plugin imports neither MLflow nor PyJWT, which take a second."""
    code = "import publisher.sources.auth, sys; print({'mlflow', 'jwt', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_plugin_is_installed() -> None:
    """The package has the entry point. Where this fails, install it anew: pip install -e ."""
    [found] = [each for each in entry_points(group="mlflow.request_header_provider") if each.name == "domino"]
    assert found.load() is DominoHeaders


@pytest.mark.parametrize(("in_domino", "client"), [(True, "ours"), (True, "mlflow's"), (False, "ours")])
def test_every_request_of_a_command(
    lab: Lab, proxy: LyingProxy, tmp_path: Path, in_domino: bool, client: str
) -> None:
    """The search, the run, the listing and each file are asked for with both headers; else none has them."""
    lab.register(f"runs:/{lab.run2}", lab.run2, EXTERNAL_TARGET_DOMINO="true")
    (tmp_path / "publisher.toml").write_text('[targets.DOMINO]\nregistry = "oci:images"\n')
    environment = {"MLFLOW_TRACKING_URI": proxy.uri}
    if client == "mlflow's":
        environment["MLFLOW_REGISTRY_URI"] = f"{proxy.uri}/"
    if in_domino:
        environment |= {"DOMINO_USER_API_KEY": KEY, "DOMINO_RUN_ID": RUN}
    done = Workplace(tmp_path).publisher("--debug", "download", "models", environment=environment)
    kinds = {line.partition("?")[0].rpartition("/")[2] for line in proxy.requests}
    assert {"search", "get", "artifacts", "MLmodel"} <= kinds
    for headers in proxy.headers:
        if in_domino:
            assert headers["X-Domino-Api-Key"] == KEY
            assert jwt.decode(headers["X-Domino-Execution"], "secret", algorithms=["HS256"]) == EXECUTION
        else:
            assert not [name for name in headers if "domino" in name.lower()]
    assert KEY not in done.stdout + done.stderr
    assert "key is" not in done.stderr, "PyJWT's warning"


@pytest.mark.usefixtures("domino")
@pytest.mark.parametrize("client", ["ours", "mlflow's"])
def test_a_redirect_to_another_host(
    lab: Lab,
    proxy: LyingProxy,
    elsewhere: socket.socket,
    client: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where the server points elsewhere, that host sees no connection."""
    if client == "mlflow's":
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"{proxy.uri}/")
    place = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
    proxy.lie = lambda line, truth: replace(truth, status=302, location=place, body=b"")
    with pytest.raises(ModelRegistryError, match=r"sends us on to|HTTP 302"):
        list(MlflowSource(proxy.uri, os.environ).discover(target("ANY")))
    with pytest.raises(TimeoutError):
        elsewhere.accept()


@pytest.mark.usefixtures("domino")
def test_a_key_never_comes_back(lab: Lab, proxy: LyingProxy) -> None:
    """A server that tells our headers in its refusal does not get them into the error."""
    proxy.lie = lambda line, truth: Answer(403, "text/plain", f"no: {KEY}".encode())
    with pytest.raises(ModelRegistryError, match="refuses our credentials") as fault:
        list(MlflowSource(proxy.uri, os.environ).discover(target("ANY")))
    assert KEY not in fault.value.line + fault.value.detail


class OtherPlugin:
    """Domino's own, as its documents register it by hand."""

    def in_context(self) -> bool:
        return True

    def request_headers(self) -> dict[str, str]:
        return {"x-domino-api-key": "theirs"}


@pytest.mark.usefixtures("domino")
def test_beside_another_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header that another plugin gives is left to it: MLflow would send both values as one."""
    ours = [*registry._request_header_provider_registry, OtherPlugin()]
    monkeypatch.setattr(registry._request_header_provider_registry, "_registry", ours)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sent = {name.lower(): value for name, value in resolve_request_headers().items()}
    assert sent["x-domino-api-key"] == "theirs"
    assert jwt.decode(sent["x-domino-execution"], "secret", algorithms=["HS256"]) == EXECUTION


@pytest.mark.usefixtures("domino")
def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, proxy: LyingProxy) -> None:
    """Where the token cannot be signed, nothing is asked, and the error says what to install."""
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EngineError, match="DOMINO_RUN_ID is set") as fault:
        list(MlflowSource(proxy.uri, os.environ).discover(target("ANY")))
    assert "model-publisher[domino]" in fault.value.hint
    assert proxy.requests == []
