"""The console command. What is heavy (MLflow, pydantic, rich, the pipeline) is imported by the command that
needs it, so that ``publisher --help`` answers at once."""

# ruff: noqa: PLC0415, PLR0917 - Typer calls commands by name
from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from publisher import __version__, commands, exits
from publisher.errors import SettingsError

# Typer has its own copy of click from 0.16 on: this is the UsageError of whichever it uses.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="publisher",
    help="Registered MLflow models become container images for every architecture, in any registry.",
    epilog="Settings come from flags, the environment and ./publisher.toml: see docs/settings.md. "
    "What each exit code means: docs/exit-codes.md.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"publisher {__version__}")
        raise typer.Exit


def _examples(*lines: str) -> str:
    # \b keeps the line breaks of a paragraph in help texts.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@app.callback()
def options(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Settings file [default: ./publisher.toml]", envvar="PUBLISHER_CONFIG"
        ),
    ] = None,
    mlflow_tracking_uri: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the MLflow server")
    ] = None,
    cache_folder: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for wheels and layers")
    ] = None,
    work_folder: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder for a run's own files")
    ] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N", help="Transfers at once")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version")
    ] = False,
) -> None:
    flags: dict[str, object] = {
        "mlflow_tracking_uri": mlflow_tracking_uri,
        "cache_folder": cache_folder,
        "work_folder": work_folder,
        "jobs": jobs,
    }
    ctx.obj = commands.Options(config, quiet, flags)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document")]


@app.command(epilog=_examples("publisher poll", "publisher poll --json | jq '.outcomes[].state'"))
def poll(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Poll one time (the default)", show_default=False)
    ] = True,
    json: Json = False,
) -> None:
    """Publish every model version that carries the tag of a target and needs it."""
    raise typer.Exit(
        commands.run_poll(commands.connected(ctx.obj, commands.load(ctx.obj), json=json), json=json)
    )


@app.command(
    epilog=_examples(
        "publisher publish pltr_model 3", "publisher publish pltr_model 3 --target demo --dry-run"
    )
)
def publish(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Registered model")],
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Its version")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this target; repeat for several [default: those of its tags]"
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; push and record nothing")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an image that has another digest")] = False,
    json: Json = False,
) -> None:
    """Publish one model version."""
    settings = commands.load(ctx.obj)
    known = [each.name for each in settings.targets]
    for each in target or ():
        if each not in known:
            message = f"{each} is none of the targets: {', '.join(known)}"
            raise typer.BadParameter(message, param_hint="--target")
    session = commands.connected(ctx.obj, settings, json=json)
    raise typer.Exit(
        commands.run_publish(session, name, version, target, dry_run=dry_run, force=force, json=json)
    )


@app.command(epilog=_examples("publisher status", "publisher status pltr_model 3 --json"))
def status(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Registered model [default: all that are tagged]")
    ] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Its version [default: all that are tagged]")
    ] = None,
    json: Json = False,
) -> None:
    """Show what was published where, why not, and what the next poll would do."""
    raise typer.Exit(
        commands.run_status(
            commands.connected(ctx.obj, commands.load(ctx.obj), json=json), name, version, json=json
        )
    )


@app.command(
    epilog=_examples("publisher download /tmp/models", "publisher download /tmp/models pltr_model 3")
)
def download(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Files go to DIR/<model>/v<version>/")],
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Registered model [default: all that are tagged]")
    ] = None,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Its version")] = None,
    json: Json = False,
) -> None:
    """Download the files of model versions, and build nothing."""
    if name and not version:
        raise typer.BadParameter("NAME needs a VERSION", param_hint="VERSION")
    session = commands.connected(ctx.obj, commands.load(ctx.obj, need_target=False), json=json)
    raise typer.Exit(commands.run_download(session, folder, name, version, json=json))


@app.command(
    "base-image",
    epilog=_examples(
        "publisher base-image oci:/srv/base",
        "publisher base-image registry.example.org/base/python:3.11 --platform linux/arm64 --include libgl1",
    ),
)
def base_image(
    ctx: typer.Context,
    destination: Annotated[str, typer.Argument(metavar="DESTINATION", help="Image reference, or oci:DIR")],
    platform: Annotated[
        list[str] | None,
        typer.Option(metavar="PLATFORM", help="Repeat for several [default: linux/amd64, linux/arm64]"),
    ] = None,
    suite: Annotated[str, typer.Option(metavar="NAME", help="Debian release")] = "bookworm",
    include: Annotated[
        list[str] | None, typer.Option(metavar="PACKAGE", help="A further Debian package; repeat for several")
    ] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow plain HTTP to this registry")] = False,
) -> None:
    """Make a Python base image out of Debian packages."""
    from publisher import baseimage
    from publisher.domain import MACHINES, Platform

    try:
        platforms = [
            Platform.parse(each) for each in platform or [f"linux/{machine}" for machine in MACHINES]
        ]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--platform") from None
    with commands.progress(ctx.obj, json=False) as progress:
        made = baseimage.build(
            destination, platforms, suite, include or (), os.environ, progress, insecure=insecure
        )
    typer.echo(made)


@app.command("publish-models", hidden=True)
def publish_models(ctx: typer.Context, json: Json = False) -> None:
    """What ./publish_models.py does: publish MODEL_NAME and MODEL_VERSION where they are set, else poll."""
    settings = commands.load(ctx.obj)
    name, version = settings.model_name, settings.model_version
    if bool(name) != bool(version):
        unset = "MODEL_VERSION" if name else "MODEL_NAME"
        raise SettingsError([f"{unset} is not set: expected both MODEL_NAME and MODEL_VERSION, or neither"])
    session = commands.connected(ctx.obj, settings, json=json)
    if name and version:
        raise typer.Exit(
            commands.run_publish(session, name, version, None, dry_run=False, force=False, json=json)
        )
    raise typer.Exit(commands.run_poll(session, json=json))


def main(arguments: Sequence[str] | None = None) -> int:
    """The console entry: returns the exit code. `arguments` default to the command line's."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow must not end a run where the locale is C
            stream.reconfigure(errors="backslashreplace")
    # Told to add it, people write it last: it is taken at any place before a "--".
    head = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in head
    if debug:  # what a publication caught, with its traceback
        logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
        logging.getLogger("publisher").setLevel(logging.DEBUG)
    return exits.guarded(
        lambda: _run([*(a for a in head if a != "--debug"), *given[len(head) :]]), debug=debug
    )


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        # Not command.main(): it makes exit code 1 of Ctrl-C, and of a broken pipe.
        with command.make_context("publisher", arguments) as ctx:
            command.invoke(ctx)
    except typer.Exit as done:
        return done.exit_code
    except _UsageError as error:
        error.show()
        return int(error.exit_code)
    return 0
