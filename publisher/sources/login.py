"""How MLflow's own client would reach its server: the same variables, the same file, the same plugins.

Importing that client takes a second and a hundred megabytes, which a publication need not pay for a few calls.
Where something is set that only MLflow's client can do, `Login.read` says so, and that client is used.
"""

from __future__ import annotations

import configparser
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from publisher import __version__
from publisher.errors import SettingsError

# Sign-ins of other kinds, another server for the registry, and parts of one server: MLflow's client knows how.
ITS_OWN = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")
PLUGINS = "mlflow.request_header_provider"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """`credentials`: user and password; `token`: bearer token; `verify`, `certificate`: as requests takes them."""

    credentials: tuple[str, str] | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    verify: bool | str = True
    certificate: str | None = None
    retries: int = 4
    backoff: float = 1.0  # seconds
    timeout: float = 60.0  # seconds

    @classmethod
    def read(cls, tracking_uri: str, environ: Mapping[str, str]) -> Login | None:
        """What the environment says of the server; None where only MLflow's own client can reach it.

        Raises SettingsError for a value that is no number.
        """
        registry = environ.get("MLFLOW_REGISTRY_URI", tracking_uri)
        if not tracking_uri.startswith(("http://", "https://")) or registry != tracking_uri:
            return None
        if any(environ.get(name, "").lower() not in ("", "false", "0") for name in ITS_OWN):
            return None
        saved = _saved(environ)
        user = environ.get("MLFLOW_TRACKING_USERNAME") or saved.get("mlflow_tracking_username", "")
        password = environ.get("MLFLOW_TRACKING_PASSWORD") or saved.get("mlflow_tracking_password", "")
        insecure = environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        return cls(
            credentials=(user, password) if user and password else None,
            token=environ.get("MLFLOW_TRACKING_TOKEN", ""),
            verify=False if insecure else environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
            certificate=environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH") or None,
            retries=int(_number(environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES", 4)),
            backoff=_number(environ, "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", 1),
            timeout=_number(environ, "MLFLOW_HTTP_REQUEST_TIMEOUT", 60),
        )


class Headers:
    """What each request carries beside its own: plugins' headers as MLflow's client asks for them."""

    def __call__(self) -> dict[str, str]:
        """Asked anew for each request, because a plugin's token may be short-lived."""
        found = {"User-Agent": f"model-publisher/{__version__}", "Accept-Encoding": "identity"}
        for provider in self._providers:
            try:
                if provider.in_context():
                    found |= provider.request_headers()
            except Exception as error:  # a plugin is anybody's code; MLflow's client goes on, too
                _log.warning("%s gives no request headers: %s", type(provider).__name__, type(error).__name__)
        return found

    @cached_property
    def _providers(self) -> list[Any]:
        found = []
        for entry in entry_points(group=PLUGINS):
            try:
                found.append(entry.load()())
            except Exception as error:
                _log.warning("the MLflow plugin %s cannot be loaded: %s", entry.name, error)
        return found


def _saved(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The section ``[mlflow]`` of ~/.mlflow/credentials, where there is one."""
    home = environ.get("HOME") or environ.get("USERPROFILE")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if home and parser.read(Path(home) / ".mlflow" / "credentials") and "mlflow" in parser:
            return dict(parser["mlflow"])
    except (configparser.Error, UnicodeDecodeError) as error:
        raise SettingsError([f"~/.mlflow/credentials cannot be read: {type(error).__name__}"]) from None
    return {}


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name) or str(default)
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not 0 <= number < 86_400:
        raise SettingsError([f"{name} is {value!r}: expected a number of retries or seconds"])
    return number
