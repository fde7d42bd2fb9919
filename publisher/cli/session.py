"""What a command begins with: the global options, the settings, a connection, progress on stderr."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from publisher import logs
from publisher.display import TerminalProgress
from publisher.errors import StoppedError
from publisher.progress import Both, Progress, Silent
from publisher.running import Running
from publisher.signals import Signals, listening

if TYPE_CHECKING:
    from publisher.app import App
    from publisher.settings import Settings


@dataclass(frozen=True, slots=True)
class Options:
    """The global options. `flags` are settings, by their key."""

    config: Path | None = None
    quiet: bool = False
    flags: dict[str, object] = field(default_factory=dict)


def load(given: Options, *, need_target: bool = True, need_mlflow: bool = True) -> Settings:
    from publisher import settings

    return settings.load(
        given.flags, os.environ, given.config, need_target=need_target, need_mlflow=need_mlflow
    )


@contextmanager
def connected(given: Options, settings: Settings, *, json: bool) -> Iterator[App]:
    # Settings come first: MLflow and the stages take seconds to import, which wrong settings need not cost.
    from publisher import wiring

    with ExitStack() as stack:
        listener = stack.enter_context(progress(given, settings, json=json))
        yield stack.enter_context(wiring.connect(settings, os.environ, listener))


class Connect(Protocol):
    """`fan_out`: images may be built elsewhere, as the settings say."""

    def __call__(self, *, fan_out: bool = True) -> AbstractContextManager[App]: ...


@dataclass(frozen=True, slots=True)
class Interruptible:
    """Work that SIGTERM and Ctrl-C end at its next stage."""

    connect: Connect
    progress: Progress
    running: Running
    signals: Signals

    def ended(self, code: int) -> int:
        """The exit code, by the signal that came."""
        return 128 + self.signals.number if code == StoppedError.exit_code and self.signals.number else code


@contextmanager
def interruptible(
    given: Options, settings: Settings, *, json: bool, also: Progress | None = None
) -> Iterator[Interruptible]:
    """`also` hears of the progress, too."""
    running = Running()

    def connect(*, fan_out: bool = True) -> AbstractContextManager[App]:
        from publisher import wiring

        return wiring.connect(settings, os.environ, listener, running, fan_out=fan_out)

    with progress(given, settings, json=json) as shown:
        listener = Both(shown, also) if also else shown
        with listening(running, lambda line: listener.note("", line)) as signals:
            yield Interruptible(connect, listener, running, signals)


@contextmanager
def progress(given: Options, settings: Settings | None = None, *, json: bool) -> Iterator[Progress]:
    """What happens, on stderr: drawn on a terminal, logged elsewhere. With `json`, a script asks for no more than
    the document, unless it names a format."""
    wanted = settings.log_format if settings else "auto"
    form = logs.of_stream(sys.stderr, wanted)
    if given.quiet or (json and form and wanted == "auto"):
        yield Silent()
        return
    level = settings.log_level if settings else "info"
    if logging.getLogger("publisher").isEnabledFor(logging.DEBUG):  # --debug
        level = "debug"
    listener = logs.LogProgress(sys.stderr, form, level) if form else TerminalProgress(sys.stderr)
    with listener:
        yield listener
