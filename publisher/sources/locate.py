"""Where the parts of a version are: its model, its client, its templates.

MLflow 2 logs a model inside its run's artifacts, beside the other folders. MLflow 3 keeps it apart, as a
"logged model" with a name, and only the other folders stay in the run. A version's source may name the run's
root, a folder in it, or the logged model; so the model is looked for in each, and the folders in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from publisher.domain import ModelVersion
from publisher.errors import ArtifactError
from publisher.paths import is_relative
from publisher.sources.artifacts import Storage
from publisher.sources.base import VersionTags

MLMODEL = "MLmodel"
DEFAULT_MODEL = "mymodel"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a storage. `name` is what people call it: a logged model's name, or the folder's own."""

    storage: Storage
    path: str = ""
    name: str = ""

    def below(self, folder: str) -> Place:
        path = f"{self.path}/{folder}" if self.path else folder
        return Place(self.storage, path, folder.rpartition("/")[2])

    def names(self, *, folders: bool) -> list[str]:
        """The names of the files, or of the folders, directly in it."""
        return sorted(
            entry.path.rpartition("/")[2] for entry in self.storage.list(self.path) if entry.folder is folders
        )

    @property
    def exists(self) -> bool:
        return bool(self.storage.list(self.path))

    @property
    def is_model(self) -> bool:
        return MLMODEL in self.names(folders=False)


@dataclass(frozen=True, slots=True)
class Parts:
    """Each part with the folder that it gets in the work folder, which is the one that the tags name."""

    model: tuple[Place, str]
    client: tuple[Place, str] | None
    templates: tuple[Place, str] | None


def locate(
    version: ModelVersion,
    tags: VersionTags,
    source: Place,
    run: Place | None,
    logged: Callable[[], Sequence[Place]],
) -> Parts:
    """Find the parts; `logged` gives the logged models of the run. Raises ArtifactError, naming what is there."""
    roots = [place for place in (None if source.is_model else source, run) if place]
    client = _folder(version, "MODEL_CLIENT_FOLDER", tags.client, tags, roots)
    templates = _folder(version, "MODEL_TEMPLATES_FOLDER", tags.templates, tags, roots)
    if tags.model is not None:
        model = _named(version, tags.model, source, roots, logged), tags.model
    else:
        place = source if source.is_model else _only(version, roots, logged)
        taken = {tags.client, tags.templates}
        usable = is_relative(place.name) and "/" not in place.name and place.name not in taken
        model = place, place.name if usable else DEFAULT_MODEL
    return Parts(model, client, templates)


def _folder(
    version: ModelVersion, key: str, folder: str, tags: VersionTags, roots: Sequence[Place]
) -> tuple[Place, str] | None:
    for root in roots:
        if (place := root.below(folder)).exists:
            return place, folder
    if key in tags.explicit:
        raise ArtifactError(
            f"the tag {key} of {version.carrier(key)} is {folder!r}, and its artifacts have no such "
            f"folder{_there(roots)}",
            hint=f"correct the tag {key}, or log the folder to the version's run",
        )
    return None


def _named(
    version: ModelVersion,
    folder: str,
    source: Place,
    roots: Sequence[Place],
    logged: Callable[[], Sequence[Place]],
) -> Place:
    name = folder.rpartition("/")[2]
    if source.is_model and source.name == name:
        return source
    found = [place for place in (root.below(folder) for root in roots) if place.exists]
    for place in found:
        if place.is_model:
            return place
    for place in logged():
        if place.name == name and place.is_model:
            return place
    if found:
        raise ArtifactError(
            f"the folder {folder!r} of {version}, named by its tag MODEL_FOLDER, holds no file {MLMODEL}",
            hint="name the folder that mlflow's log_model made",
        )
    _refuse_empty(version, source, roots)
    named = f"; its model is named {source.name!r}" if source.is_model else ""
    raise ArtifactError(
        f"the tag MODEL_FOLDER of {version.carrier('MODEL_FOLDER')} is {folder!r}, and there is no such "
        f"folder{_there(roots)}{named}",
        hint="correct the tag MODEL_FOLDER, or delete it: then the version's own source is taken",
    )


def _only(version: ModelVersion, roots: Sequence[Place], logged: Callable[[], Sequence[Place]]) -> Place:
    found = [place for root in roots for place in map(root.below, root.names(folders=True)) if place.is_model]
    unique = list({place.name: place for place in [*logged(), *found]}.values())
    chosen = unique if len(unique) == 1 else [place for place in unique if place.name == DEFAULT_MODEL]
    if chosen:
        return chosen[0]
    if unique:
        raise ArtifactError(
            f"{version} has several models: {', '.join(sorted(place.name for place in unique))}",
            hint="set its tag MODEL_FOLDER to one of them",
        )
    _refuse_empty(version, None, roots)
    raise ArtifactError(
        f"{version} has no model: no folder of its artifacts holds a file {MLMODEL}{_there(roots)}",
        hint="log it with mlflow's log_model, and register that",
    )


def _refuse_empty(version: ModelVersion, source: Place | None, roots: Sequence[Place]) -> None:
    if not any(place.exists for place in (source, *roots) if place):
        raise ArtifactError(
            f"{version} has no artifacts: they were deleted, or never logged",
            hint="register the model again, or delete the tag that asks for its publication",
        )


def _there(roots: Sequence[Place]) -> str:
    names = sorted({name for root in roots for name in root.names(folders=True)})
    more = ", …" if len(names) > 20 else ""
    return f" (there are: {', '.join(names[:20])}{more})" if names else ""
