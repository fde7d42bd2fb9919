"""`publisher publish`, and what ./publish_models.py does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from publisher.cli import outcomes, session
from publisher.cli.parameters import HealthFile, Json, Name, Targets, Version, check_targets
from publisher.cli.polling import Polls
from publisher.errors import SettingsError
from publisher.exits import BUG
from publisher.health import Health

if TYPE_CHECKING:
    from publisher.app import App

EXAMPLES = ("publisher publish pltr_model 3", "publisher publish pltr_model 3 --target demo --dry-run")


def command(
    ctx: typer.Context,
    name: Name,
    version: Version,
    target: Targets = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; push and record nothing")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an image that has another digest")] = False,
    json: Json = False,
) -> None:
    """Publish one model version."""
    settings = session.load(ctx.obj)
    check_targets(target, settings)
    with session.interruptible(ctx.obj, settings, json=json) as work:
        code = run(work.connect(), name, version, target, dry_run=dry_run, force=force, json=json)
    raise typer.Exit(work.ended(code))


def as_environment_says(ctx: typer.Context, health: HealthFile = None, json: Json = False) -> None:
    """What ./publish_models.py does: publish MODEL_NAME and MODEL_VERSION where they are set, else poll."""
    settings = session.load(ctx.obj)
    name, version = settings.model_name, settings.model_version
    if bool(name) != bool(version):
        unset = "MODEL_VERSION" if name else "MODEL_NAME"
        raise SettingsError([f"{unset} is not set: expected both MODEL_NAME and MODEL_VERSION, or neither"])
    state = Health(health) if health else None
    with session.interruptible(ctx.obj, settings, json=json, also=state) as work:
        if name and version:
            code = run(work.connect(), name, version, None, dry_run=False, force=False, json=json)
        else:
            code = Polls(work.connect, work.progress, work.running, json, state).once()
    raise typer.Exit(work.ended(code))


def run(
    connection: AbstractContextManager[App],
    name: str,
    version: str,
    targets: Sequence[str] | None,
    *,
    dry_run: bool,
    force: bool,
    json: bool,
) -> int:
    """Publish one version, print what became of it for each target, and return the first failure's exit code."""
    with connection as app:
        done = app.publish(name, version, targets, dry_run=dry_run, force=force)
    outcomes.show(done, json=json)
    return next((outcome.exit_code or BUG for outcome in done if outcome.state in ("failed", "stopped")), 0)
