"""A published image, run on this machine by docker or podman."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import requests

from publisher.errors import BuildError, EngineError

_ENGINES = ("docker", "podman")
_PORT = "8080/tcp"
_LOCKED_DOWN = ("--read-only", "--tmpfs", "/tmp")  # noqa: S108 - as clusters run it: nothing else can be written


@dataclass(slots=True)
class Container:
    """A container of an image. `url`: where its model is served, empty where it runs a program; `output`: what that
    printed."""

    engine: str
    name: str
    url: str = ""
    output: str = ""

    def predict(self, rows: Any, seconds: float = 60) -> Any:
        """What the served model answers for `rows`: a DataFrame, a list or array (inputs), or a body of /invocations.

        Raises BuildError where it refuses them.
        """
        answer = requests.post(f"{self.url}/invocations", json=_body(rows), timeout=seconds)
        if not answer.ok:
            raise BuildError(
                f"the model refuses these rows (HTTP {answer.status_code})", detail=answer.text[:2000]
            )
        return answer.json()["predictions"]

    def stop(self) -> None:
        """Remove the container; nothing of it stays."""
        _ask(self.engine, "rm", "--force", "--volumes", self.name, check=False)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def run(image: str, *arguments: str, timeout: float) -> Container:
    """Pull `image`, start it, and wait until it serves, or until its program has ended.

    Raises EngineError where no engine is here or it fails, BuildError where the image does not start.
    """
    engine = _engine()
    _ask(engine, "pull", "--quiet", image, seconds=timeout)
    told = _ask(engine, "image", "inspect", "--format", "{{json .Config.ExposedPorts}}", image)
    serves = not arguments and _PORT in (json.loads(told) or {})
    ports = ("--publish", f"127.0.0.1::{_PORT.partition('/')[0]}") if serves else ()
    name = _ask(engine, "run", "--detach", *_LOCKED_DOWN, *ports, image, *arguments).strip()
    container = Container(engine, name)
    try:
        if serves:
            container.url = _serving(container, timeout)
        else:
            container.output = _ended(container, timeout)
    except BaseException:
        container.stop()
        raise
    if not serves:
        container.stop()
    return container


def _engine() -> str:
    silent = []
    for name in _ENGINES:
        if shutil.which(name):
            try:
                _ask(name, "info", seconds=30)
            except EngineError:
                silent.append(name)
            else:
                return name
    found = f"{' and '.join(silent)} does not answer" if silent else "there is neither docker nor podman"
    raise EngineError(
        f"no container engine runs here: {found}", hint="Run the image where one is: see its pull command."
    )


def _serving(container: Container, timeout: float) -> str:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state = _ask(container.engine, "inspect", "--format", "{{.State.Running}}", container.name).strip()
        if state != "true":
            raise BuildError("the image ended instead of serving its model", detail=_log(container))
        with contextlib.suppress(EngineError, requests.RequestException):
            port = _ask(container.engine, "port", container.name, _PORT).split("\n")[0].rpartition(":")[2]
            url = f"http://127.0.0.1:{int(port)}"
            if requests.get(f"{url}/ping", timeout=5).ok:
                return url
        time.sleep(0.25)
    raise BuildError(f"the image does not serve its model after {timeout:.0f} s", detail=_log(container))


def _ended(container: Container, timeout: float) -> str:
    code = _ask(container.engine, "wait", container.name, seconds=timeout).strip()
    if code != "0":
        raise BuildError(f"the image's program ended with {code}", detail=_log(container))
    return _ask(container.engine, "logs", container.name)


def _log(container: Container) -> str:
    return _ask(container.engine, "logs", "--tail", "40", container.name, check=False, both=True)


def _ask(engine: str, *arguments: str, seconds: float = 60, check: bool = True, both: bool = False) -> str:
    command = [engine, *arguments]
    errors = subprocess.STDOUT if both else subprocess.PIPE
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{engine} {arguments[0]} has not ended after {seconds:.0f} s") from None
    if check and done.returncode:
        detail = (done.stderr or done.stdout or "")[-2000:]
        raise EngineError(f"{engine} {arguments[0]} ended with {done.returncode}", detail=detail)
    return done.stdout


def _body(rows: Any) -> Any:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):
        return {"dataframe_split": json.loads(rows.to_json(orient="split", index=False))}
    if isinstance(rows, dict):
        return rows
    return {"inputs": rows.tolist() if hasattr(rows, "tolist") else rows}
