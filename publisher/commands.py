"""What each command does: settings, connection, one call of the App, its result on stdout, an exit code."""

# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from publisher import json_output, terminal
from publisher.errors import SOME_FAILED
from publisher.exits import BUG
from publisher.progress import Progress, Silent

if TYPE_CHECKING:
    from publisher.domain import Outcome
    from publisher.settings import Settings
    from publisher.wiring import App


@dataclass(frozen=True, slots=True)
class Options:
    """The global options. `flags` are settings, by their key."""

    config: Path | None = None
    quiet: bool = False
    flags: dict[str, object] = field(default_factory=dict)


def run_poll(session: AbstractContextManager[App], *, json: bool) -> int:
    """Poll once, print what became of each version, and return the exit code."""
    with session as engine:
        outcomes = engine.poll()
    _show_outcomes(outcomes, json)
    return SOME_FAILED if any(outcome.state == "failed" for outcome in outcomes) else 0


def run_publish(
    session: AbstractContextManager[App],
    name: str,
    version: str,
    targets: Sequence[str] | None,
    *,
    dry_run: bool,
    force: bool,
    json: bool,
) -> int:
    """Publish one version, print what became of it for each target, and return the first failure's exit code."""
    with session as engine:
        outcomes = engine.publish(name, version, targets, dry_run=dry_run, force=force)
    _show_outcomes(outcomes, json)
    return next((outcome.exit_code or BUG for outcome in outcomes if outcome.state == "failed"), 0)


def run_status(
    session: AbstractContextManager[App], name: str | None, version: str | None, *, json: bool
) -> int:
    """Print the status of the versions; returns 0."""
    with session as engine:
        rows = engine.status(name, version)
    if json:
        print(json_output.to_json({"versions": [json_output.status_json(row) for row in rows]}))
    else:
        terminal.print_status(rows, sys.stdout)
    return 0


def run_download(
    session: AbstractContextManager[App], folder: Path, name: str | None, version: str | None, *, json: bool
) -> int:
    """Download, print the folders; returns 0."""
    with session as engine:
        found = engine.download(folder, name, version)
    if json:
        documents = [json_output.download_json(each, where) for each, where in found]
        print(json_output.to_json({"downloads": documents}))
    else:
        terminal.print_downloads(found, sys.stdout)
    return 0


def _show_outcomes(outcomes: Sequence[Outcome], json: bool) -> None:
    if json:
        print(json_output.to_json({"outcomes": [json_output.outcome_json(each) for each in outcomes]}))
    else:
        terminal.print_outcomes(outcomes, sys.stdout)


def load(given: Options, *, need_target: bool = True) -> Settings:
    from publisher import settings

    return settings.load(given.flags, os.environ, given.config, need_target=need_target)


@contextmanager
def connected(given: Options, settings: Settings, *, json: bool) -> Iterator[App]:
    # Settings come first: MLflow and the stages take seconds to import, which wrong settings need not cost.
    from publisher import wiring

    with ExitStack() as stack:
        listener = stack.enter_context(progress(given, json=json))
        yield stack.enter_context(wiring.connect(settings, os.environ, listener))


@contextmanager
def progress(given: Options, *, json: bool) -> Iterator[Progress]:
    if given.quiet or (json and not sys.stderr.isatty()):
        yield Silent()
        return
    with terminal.TerminalProgress(sys.stderr) as listener:
        yield listener
