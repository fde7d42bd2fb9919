"""Real components that tests start: each module has fixtures for one kind."""

from __future__ import annotations

import os
import shutil
import socket

import pytest


def require(program: str, package: str) -> str:
    """The path of `program`. Without it the test is skipped, and fails where CI is set: CI has them all."""
    # Debian keeps some (runc) where only root's PATH looks, though anyone may start them.
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if path is None:
        message = f"{program} is missing: apt-get install {package}"
        if os.environ.get("CI", "").lower() in ("1", "true", "yes", "on"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
