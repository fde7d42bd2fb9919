"""Tools that build: their output streams to whoever watches and to a log file, and its end is in the error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO

from publisher.builders.failures import failure
from publisher.builders.output import lines
from publisher.errors import EngineError
from publisher.progress import Report
from publisher.redaction import redacted

TAIL = 20  # lines in an error
_GRACE = 10.0  # seconds between SIGTERM and SIGKILL
_LONGEST = 4000  # characters of a line that is shown
_MOST = 64 << 20  # bytes of a log: a RUN may print for ever, and fill the disk
_PASSED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "TZ",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "KUBECONFIG",
        "SSH_AUTH_SOCK",
    }
)
_PASSED_PREFIXES = (
    *("DOCKER_", "BUILDX_", "BUILDKIT_", "CONTAINER", "BUILDAH_", "REGISTRY_AUTH_FILE", "STORAGE_", "XDG_"),
    "KUBERNETES_SERVICE_",
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
_ASK = 30.0  # seconds for a question about what an engine is and can do


@dataclass(slots=True)
class Commands:
    """Runs the commands of one build. `log`: the file that has all of their output, made with the first line.

    `environment` is the whole environment of the tools. What is written or told has no secret that is known.
    """

    report: Report
    log: Path
    environment: Mapping[str, str]
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    def run(
        self,
        command: Sequence[str | Path],
        *,
        what: str,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
        source: BinaryIO | None = None,
        sink: BinaryIO | None = None,
        tool: str = "",
    ) -> None:
        """Run `command` to its end, in `folder`. `what` it does is told in the error: ``the build for linux/arm64``.

        `tool`: its name, where the first word is that of a program which starts it. `source` is its stdin. With
        `sink`, stdout goes there and is no output. `environment` is added to ours.
        Raises EngineError where it is not there or is killed, and what failures.py makes of another end;
        whatever the report's check raises ends the command and all that it started.
        """
        words = [str(word) for word in command]
        self.tail.clear()
        try:
            process = subprocess.Popen(
                words,
                cwd=folder,
                env={**self.environment, **(environment or {})},
                stdin=source or subprocess.DEVNULL,
                stdout=sink or subprocess.PIPE,
                stderr=subprocess.PIPE if sink else subprocess.STDOUT,
                start_new_session=True,  # so that its children can be ended with it
            )
        except OSError as error:
            raise EngineError(f"{words[0]} cannot be started: {error.strerror}") from error
        stream = process.stderr if sink else process.stdout
        assert stream is not None  # noqa: S101 - it is a pipe
        try:
            with self._opened() as log:
                for line in lines(stream, self.report.check, lambda: process.poll() is not None):
                    self._tell(line, log)
            code = self._ended(process)
        except BaseException:
            _end(process)
            raise
        finally:
            stream.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind
        if code:
            raise failure(tool or words[0], what, code, list(self.tail), self.log)

    def _opened(self) -> IO[str]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.fdopen(os.open(self.log, flags, 0o600), "w", encoding="utf-8", errors="replace")

    def _tell(self, line: str, log: IO[str]) -> None:
        if log.tell() < _MOST:
            log.write(f"{line}\n")
            if log.tell() >= _MOST:
                log.write(f"The rest is left out: more than {_MOST >> 20} MiB.\n")
            log.flush()
        shown = line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
        self.tail.append(shown)
        self.report.line(shown)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code: a tool may close its output and work on."""
        while True:
            self.report.check()
            with suppress(subprocess.TimeoutExpired):
                return process.wait(0.5)


def of_tools(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that tools are given: what they run by, and no credentials of ours, which a RUN could read."""
    return {
        key: value
        for key, value in environ.items()
        if (key in _PASSED or key.upper().startswith(_PASSED_PREFIXES)) and key != "DOCKER_AUTH_CONFIG"
    }


def ask(command: Sequence[str | Path], environment: Mapping[str, str]) -> str | None:
    """What a command prints that ends at once; None where it is not there, fails or takes too long."""
    worked, text = tried(command, environment)
    return text if worked else None


def tried(
    command: Sequence[str | Path], environment: Mapping[str, str], seconds: float | None = None
) -> tuple[bool, str]:
    """Whether a command that ends within `seconds` (None: soon) works, and what it prints, else the reason."""
    words = [str(word) for word in command]
    limit = seconds or _ASK
    try:
        done = subprocess.run(
            words,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=limit,
        )
    except OSError as error:
        return False, f"{words[0]} cannot be started: {error.strerror}"
    except subprocess.TimeoutExpired:
        return False, f"{words[0]} does not answer within {limit:.0f} seconds"
    if done.returncode == 0:
        return True, done.stdout.decode("utf-8", "replace")
    lines = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    return False, redacted(lines[-1])[:300] if lines else f"{words[0]} failed and said nothing"


def program(environment: Mapping[str, str], *names: str) -> str | None:
    """The path of the first of `names` that is there."""
    return next(
        (found for name in names if (found := shutil.which(name, path=environment.get("PATH")))), None
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + _GRACE
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is not None and number == signal.SIGKILL:
            return
