"""Docker's client and its plugins with accounts of ours: the rest of the user's settings is found as ever."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# Of the user's config.json: which daemon is meant, what RUN needs to reach the network, where plugins are.
_KEPT = ("currentContext", "proxies", "cliPluginsExtraDirs")
_FOLDERS = ("contexts", "cli-plugins")


def folder_of(environment: Mapping[str, str]) -> Path:
    """Where Docker's client has its settings, for a process in `environment`."""
    home = environment.get("HOME") or Path.home()
    return Path(environment.get("DOCKER_CONFIG") or Path(home, ".docker")).absolute()


def with_accounts(environment: Mapping[str, str], accounts: Path, folder: Path) -> dict[str, str]:
    """The variables by which the client takes its accounts from ``accounts/config.json``, in the new `folder`.

    Contexts, plugins, proxies and the builders of buildx are still those of `environment`.
    """
    own = folder_of(environment)
    folder.mkdir(mode=0o700)
    kept = {key: value for key, value in _read(own).items() if key in _KEPT}
    with os.fdopen(os.open(folder / "config.json", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        json.dump({**kept, **_read(accounts)}, file)
    for name in _FOLDERS:
        if (own / name).is_dir():
            (folder / name).symlink_to(own / name)
    found = {"DOCKER_CONFIG": str(folder)}
    found["BUILDX_CONFIG"] = environment.get("BUILDX_CONFIG") or str(own / "buildx")
    if environment.get("DOCKER_TLS_VERIFY"):
        found["DOCKER_CERT_PATH"] = environment.get("DOCKER_CERT_PATH") or str(own)
    return found


def _read(folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads((folder / "config.json").read_bytes())
        if isinstance(found, dict):
            return found
    return {}
