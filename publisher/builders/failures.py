"""How a tool's end becomes one of our errors: whose fault it is decides whether the version is tried again."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

from publisher.errors import BuildError, EngineError, HostError, PublisherError, RegistryError

CACHE_NOT_WRITTEN = "failed pushing cache to "  # by buildah

# What engines and pip print when something outside of the Dockerfile was not there. The first match counts.
_KNOWN: tuple[tuple[type[PublisherError], str, re.Pattern[str]], ...] = (
    (HostError, "there is no room left", re.compile(r"no space left on device|disk quota exceeded", re.I)),
    (
        EngineError,
        "a command was killed, perhaps for want of memory",
        re.compile(r"exit (code|status):? 137\b|signal: killed", re.I),
    ),
    (
        EngineError,
        "programs of that platform do not run here",
        re.compile(r"exec format error|exec .*: exec format", re.I),
    ),
    (RegistryError, "the cache cannot be written", re.compile(CACHE_NOT_WRITTEN)),
    (
        RegistryError,
        "an image that a FROM names cannot be pulled",
        re.compile(
            r"failed to resolve source metadata|failed to get filesystem from image|"
            r"error building image: (unable to complete operation after|image not found on any configured)|"
            r'failed to solve(?!.*checksum)[^"\n]*: [^\s"]+: not found|pull access denied|'
            r"manifest unknown|initializing source docker://|error pulling image|"
            r"no such host.*manifests|MANIFEST_UNKNOWN",
            re.I,
        ),
    ),
    (
        EngineError,
        "the network failed",
        re.compile(
            r"temporary failure in name resolution|could not resolve host|connection (reset|refused|timed out)|"
            r"network is unreachable|tls handshake timeout|i/o timeout|read timed out|"
            r"(429|500|502|503|504) (too many|internal server|bad gateway|service unavail|gateway time)",
            re.I,
        ),
    ),
    (
        EngineError,
        "the engine went away",
        # The second: unshare(1) up to 2.38 says so where a program in its namespace got SIGKILL.
        re.compile(
            r"cannot connect to the docker daemon|unshare: sigprocmask unblock failed|rpc error: code = unavailable|"
            r"closing transport|error reading from server: EOF",
            re.I,
        ),
    ),
)


_KILLED = 128 + signal.SIGKILL  # as a container tells it


def failure(tool: str, what: str, code: int, tail: Sequence[str], log: Path) -> PublisherError:
    """The error for `tool`, which ended with `code` (negative: killed by that signal) while it did `what`."""
    name = Path(tool).name
    detail = "\n".join(tail)
    hint = f"The whole log is {log}."
    if code < 0 or code == _KILLED:
        return EngineError(
            f"{name} was killed ({_signal(abs(code) % 128)}) during {what}",
            hint=f"Was there too little memory? {hint}",
            detail=detail,
        )
    last = next((line.strip() for line in reversed(tail) if line.strip()), "it said nothing")
    said = last if len(last) <= 300 else f"…{last[-300:]}"
    for kind, why, pattern in _KNOWN:
        if pattern.search(detail):
            return kind(f"{what} by {name} failed, {why}: {said}", hint=hint, detail=detail)
    return BuildError(f"{what} by {name} failed: {said}", hint=hint, detail=detail)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
