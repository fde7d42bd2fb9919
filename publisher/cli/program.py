"""One program of all commands: the global options, and the console entry."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from publisher import __version__, exits
from publisher.cli import (
    base_image,
    build_platform,
    cache,
    check,
    doctor,
    download,
    explain,
    health,
    inspect,
    own_image,
    poll,
    publish,
    register,
    render,
    retry,
    session,
    status,
    targets,
    withdraw,
)
from publisher.redaction import Formatter, redacted

# Typer has its own copy of click from 0.16 on: this is the UsageError of whichever it uses.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]

# The shell scripts that --install-completion writes set it (click, "Shell Completion").
_COMPLETE = "_PUBLISHER_COMPLETE"

app = typer.Typer(
    name="publisher",
    help="Registered MLflow models become container images for every architecture, in any registry.",
    epilog="Settings come from flags, the environment and ./publisher.toml: see docs/settings.md. "
    "What each exit code means: docs/exit-codes.md.",
    no_args_is_help=True,
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
    parallel: Annotated[str | None, typer.Option(metavar="N", help="Publications at once")] = None,
    memory: Annotated[str | None, typer.Option(metavar="SIZE", help="What they may use together")] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long one publication may take")
    ] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORMAT", help="auto, text or json")] = None,
    log_level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error")
    ] = None,
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
        "parallel": parallel,
        "memory": memory,
        "deadline": deadline,
        "log_format": log_format,
        "log_level": log_level,
    }
    ctx.obj = session.Options(config, quiet, flags)


# The order of the help.
COMMANDS: dict[str, ModuleType] = {
    "register": register,
    "poll": poll,
    "publish": publish,
    "status": status,
    "explain": explain,
    "check": check,
    "retry": retry,
    "withdraw": withdraw,
    "targets": targets,
    "doctor": doctor,
    "inspect": inspect,
    "cache": cache,
    "download": download,
    "render": render,
    "base-image": base_image,
    "own-image": own_image,
    "health": health,
}
for _name, _module in COMMANDS.items():
    app.command(_name, epilog=_examples(*_module.EXAMPLES))(_module.command)
app.command("publish-models", hidden=True)(publish.as_environment_says)
app.command("build-platform", hidden=True)(build_platform.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console entry: returns the exit code. `arguments` default to the command line's."""
    redacted.learn_environment(os.environ)
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # an arrow must not end a run where the locale is C
            stream.reconfigure(errors="backslashreplace")
    # Told to add it, people write it last: it is taken at any place before a "--".
    head = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in head
    if debug:  # what a publication caught, with its traceback
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(Formatter("%(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)
        logging.getLogger("publisher").setLevel(logging.DEBUG)
    return exits.guarded(
        lambda: _run([*(a for a in head if a != "--debug"), *given[len(head) :]]), debug=debug
    )


def _run(arguments: list[str]) -> int:
    command = typer.main.get_command(app)
    if os.environ.get(_COMPLETE):
        command.main(
            arguments, prog_name=app.info.name
        )  # a shell asks what could follow: it ends the process
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
