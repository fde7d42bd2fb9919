"""From a model to a version that the publisher will take: checked first, made whole, or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from publisher.decide import is_yes, why_not_asked
from publisher.errors import UnknownVersionError
from publisher.notebook import answer
from publisher.notebook.bars import watching
from publisher.notebook.checks import examine
from publisher.notebook.here import Here
from publisher.notebook.logged import Log, uri_of
from publisher.notebook.publication import Publication
from publisher.notebook.request import Request
from publisher.notebook.versions import Making, newest
from publisher.settings import TARGET_TAG


def register(
    model: Any,
    name: str,
    *,
    target: str | Sequence[str] | None = None,
    client: str | Path | None = None,
    templates: str | Path | None = None,
    entry_point: str | None = None,
    execute_path: str | None = None,
    tags: Mapping[str, object] | None = None,
    input_example: Any = None,
    record_answer: bool = True,
    config: str | Path | None = None,
    **more: Any,
) -> Publication:
    """Register a version of the model `name` that is to be published to `target`, and return a handle on it.

    `model`: an object of a library that MLflow knows, a file of Python (models from code), a folder that MLflow saved,
    what `log_model` returned, or a URI: ``runs:/…``, ``models:/…``. What is not logged yet is logged, to the active run
    where there is one. `target`: one name or several; may be left out where the settings have a single one. `client`,
    `templates`: folders of this machine, or names of folders that the run has. `entry_point`, `execute_path`: what the
    image starts, such as ``python`` and ``client/app.py``; without them it serves the model. `input_example`: rows that
    the model takes; what it answers here is kept with it (`record_answer`), so that its image is held to that.
    `config`: the settings, ./publisher.toml by default; it need not be there. `more` goes to MLflow's `log_model`:
    `signature`, `pip_requirements` …

    Where anything stands against it, no version is made. Raises RegistrationError, which says all that is wrong with
    what was asked; ArtifactError, RequirementsError, ResolutionError, BuildError as the publisher would for the
    version; SettingsError; ModelRegistryError.
    """
    here = Here.look(config)
    request = Request.of(
        here,
        name,
        target,
        logged=uri_of(model) is not None,
        client=client,
        templates=templates,
        entry_point=entry_point,
        execute_path=execute_path,
        tags=tags,
    )
    more = {"input_example": input_example, **more}
    return registered(here, model, request, more, record=record_answer and input_example is not None)


def find(name: str, version: str | int | None = None, *, config: str | Path | None = None) -> Publication:
    """A handle on a version that is registered already: the newest where none is named.

    Raises UnknownVersionError, ModelRegistryError, SettingsError.
    """
    here = Here.look(config)
    number = str(version) if version is not None else None
    if number is None:
        with here.client() as client:
            number = newest(client, here.uri, name)
    if number is None:
        raise UnknownVersionError(f"MLflow at {here.uri} has no version of a model {name!r}")
    with here.app() as app:
        found = app.stages.source.get(name, number)
    asked = [each.name for each in here.settings.targets if not why_not_asked(found, each)]
    if not here.settings.targets:
        tags = found.effective_tags.items()
        asked = [
            tag[len(TARGET_TAG) :] for tag, value in tags if tag.startswith(TARGET_TAG) and is_yes(value)
        ]
    return Publication(name, number, tuple(asked), here)


def registered(
    here: Here,
    model: Any,
    request: Request,
    more: Mapping[str, Any],
    *,
    record: bool = False,
    quiet: bool = False,
) -> Publication:
    """The same with what is known here and wanted; `more`: arguments of `log_model`, None for those not given.

    `record`: what the model answers its input example; `quiet`: no progress is shown.
    """
    given = {key: value for key, value in more.items() if value is not None}
    with watching(quiet=quiet) as progress, here.client() as client, here.app(progress) as app:
        log = Log(client, here.uri)
        progress.stage(request.name, "log the model")
        logged = log.model(model, request.name, given)
        notes = []
        if record and logged.made:
            progress.stage(request.name, "ask the model")
            notes = answer.record(logged, client, here.uri)
        request, logged = log.folders(request, logged)
        making = Making(client, here.uri, request, logged)
        standing = making.standing()
        number = standing or making.next()
        notes += examine(request.version(number, logged.source, logged.run_id), request, app, progress)
        progress.stage(request.name, "register")
        if standing:
            making.tag(standing)
        else:
            number = making.create()
    return Publication(request.name, number, tuple(each.name for each in request.targets), here, tuple(notes))
