"""Docker's credential helpers: programs ``docker-credential-NAME`` that keep secrets elsewhere.

The protocol: https://github.com/docker/docker-credential-helpers#development
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

from publisher.oci.answers import harmless
from publisher.oci.identity import BasicAuth

SECONDS = 30.0  # a helper may ask a cloud, but no person: nobody is there to answer
_LONGEST = 64 << 10  # bytes of an answer; tokens of clouds have a few thousand
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DOCKER_HUB = "https://index.docker.io/v1/"  # the name under which helpers keep Docker Hub
# What helpers print for a registry of which they know nothing; no fault.
_UNKNOWN = ("credentials not found", "no credentials server url", "no credentials username")


class HelperError(Exception):
    """A helper that gives no answer. Tells what is wrong with it, and nothing that it said as an answer."""


def ask(helper: str, host: str, environ: Mapping[str, str], seconds: float = SECONDS) -> BasicAuth | None:
    """What the helper knows for `host`, None for nothing. Raises HelperError."""
    program = f"docker-credential-{helper}"
    path = _find(program, environ) if _NAME.fullmatch(helper) else None
    if path is None:
        raise HelperError(f"the credential helper {harmless(program)} is not on the PATH")
    code, answer = _run(path, _DOCKER_HUB if host == "docker.io" else host, environ, seconds, program)
    if code:
        said = harmless(answer.decode("utf-8", "replace"))
        if any(words in said.lower() for words in _UNKNOWN):
            return None
        # An answer may hold the secret; only what begins as no answer is a message to people.
        told = f": {said[:200]}" if said and not said.startswith(("{", "[")) else ""
        raise HelperError(f"the credential helper {program} fails with exit code {code}{told}")
    try:
        document = json.loads(answer)
        user, secret = document["Username"], document["Secret"]
    except (ValueError, KeyError, TypeError):
        user = secret = None
    if not isinstance(user, str) or not isinstance(secret, str):
        raise HelperError(f"the credential helper {program} does not answer with a user and a secret")
    if not secret:
        return None
    return BasicAuth(user, identity_token=secret) if user == "<token>" else BasicAuth(user, secret)


def _find(program: str, environ: Mapping[str, str]) -> str | None:
    # Not from folders that depend on where we happen to be: a program left in a model's folder must not run.
    folders = [folder for folder in environ.get("PATH", "").split(os.pathsep) if Path(folder).is_absolute()]
    return shutil.which(program, path=os.pathsep.join(folders)) if folders else None


def _run(
    path: str, server: str, environ: Mapping[str, str], seconds: float, program: str
) -> tuple[int, bytes]:
    """Exit code and output; a group of its own, so that what a shell script started ends with it."""
    try:
        process = subprocess.Popen(
            [path, "get"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise HelperError(f"the credential helper {program} cannot be run: {error.strerror}") from None
    late = threading.Event()

    def stop() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(seconds, stop)
    timer.start()
    with process:
        try:
            assert process.stdin and process.stdout  # noqa: S101 - for mypy: both are pipes
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(server.encode())
                process.stdin.close()
            answer = process.stdout.read(_LONGEST + 1)
            if len(answer) > _LONGEST:
                raise HelperError(f"the credential helper {program} answers without end")
            code = process.wait()
        finally:
            _kill(process)
            timer.cancel()
    if late.is_set():
        raise HelperError(f"the credential helper {program} gives no answer within {seconds:.0f} seconds")
    return code, answer


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
