"""From settings to a registry: what a target says of the way there is what the destination goes by."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from publisher.errors import RegistryError
from publisher.progress import Silent
from publisher.settings import load
from publisher.wiring import connect
from tests.contract.fronts import front
from tests.engines.authority import Authority
from tests.engines.registry import RealRegistry, TokenService, running


def existing(environ: dict[str, str], folder: Path) -> str:
    """Ask for an image of the implied target."""
    needed = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "PUBLISHER_CACHE_FOLDER": str(folder / "cache")}
    settings = load({}, {**needed, **environ}, None)
    target = settings.targets[0]
    with connect(settings, {**needed, **environ}, Silent()) as app:
        return app.stages.destination(target).existing(f"{target.registry}/model:v1")


def test_authority_and_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of a private authority, below a path, is found by two keys, and not without them."""
    monkeypatch.setenv("NO_PROXY", socket.gethostname())
    authority = Authority(tmp_path)
    certificate, key = authority.issue(socket.gethostname())
    tls = {"certificate": str(certificate), "key": str(key)}
    with running(tmp_path / "r", name=socket.gethostname(), tls=tls, prefix="/hub/") as real:
        own = {"REGISTRY_URL": real.host, "HOME": str(tmp_path)}
        ways = {
            "PUBLISHER_TARGETS__PLTR_FOUNDRY__CA_FILE": str(authority.file),
            "PUBLISHER_TARGETS__PLTR_FOUNDRY__API_PATH": "/hub",
        }
        assert existing(own | ways, tmp_path) == ""
        assert real.requests("HEAD") == []
        assert '"HEAD /hub/v2/model/manifests/v1' in real.log.read_text()
        with pytest.raises(RegistryError, match="is not trusted"):
            existing(own, tmp_path)


def test_token_realms(token_registry: RealRegistry, token_service: TokenService, tmp_path: Path) -> None:
    """A token service elsewhere gets our credentials only where the target names it."""
    with front(lambda _: False, token_service.url.split("/")[2], address="127.0.0.2") as service:
        realm = f'Bearer realm="http://{service.host}/token",service="{token_service.name}"'
        with front(
            lambda handler: (
                "Authorization" not in handler.headers and handler.answer(401, {"WWW-Authenticate": realm})
            ),
            token_registry.host,
        ) as before:
            own = {
                "REGISTRY_URL": before.host,
                "REGISTRY_USER": token_service.user,
                "REGISTRY_TOKEN": token_service.password,
                "HOME": str(tmp_path),
            }
            with pytest.raises(RegistryError, match="not done") as caught:
                existing(own, tmp_path)
            assert 'token_realms = ["127.0.0.2"]' in caught.value.hint
            assert not service.seen
            allowed = {"PUBLISHER_TARGETS__PLTR_FOUNDRY__TOKEN_REALMS": "127.0.0.2"}
            assert existing(own | allowed, tmp_path) == ""
        assert service.seen
