"""The port: where models come from, and what a version's own tags say about its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from publisher.domain import ModelVersion, Target
from publisher.errors import ArtifactError
from publisher.paths import relative
from publisher.progress import Progress

FOLDER_TAGS = ("MODEL_FOLDER", "MODEL_CLIENT_FOLDER", "MODEL_TEMPLATES_FOLDER")
# On a registered model these are the defaults of its versions, and each costs a poll one search.
MODEL_TAGS = (*FOLDER_TAGS, "MODEL_ENTRY_POINT", "MODEL_EXECUTE_PATH")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A version's files on disk: each folder lies below `root` under its own name. `bytes`: of all files."""

    root: Path
    model: Path
    client: Path | None
    templates: Path | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """A folder of a version: where it is (a URI), why there, and what lies in it; `bytes` as the storage tells."""

    folder: str  # its own name, as in Fetched
    place: str
    why: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Examined:
    """A version's files as they were found, and on disk those few that say what it needs."""

    model: Part
    client: Part | None
    templates: Part | None
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class VersionTags:
    """What the ``MODEL_*`` tags of a version or of its model say. Folders are relative and safe to join to ours."""

    model: str | None = None  # None: the version's source says it
    client: str = "client"
    templates: str = "templates"
    entry_point: str = "python"
    execute_path: str | None = None  # None, and no client folder: the model is served
    explicit: frozenset[str] = field(default_factory=frozenset)  # the tags that are really there

    @classmethod
    def read(cls, version: ModelVersion) -> VersionTags:
        """From a version's tags; raises ArtifactError that names the tag and the version."""
        tags = version.effective_tags
        values = {key: value.strip() for key, value in tags.items() if key.startswith("MODEL_")}
        values = {key: value for key, value in values.items() if value}
        for key in FOLDER_TAGS:
            if key in values:
                values[key] = _checked(version, key, values[key], "name a folder inside the version's files")
        for key in ("MODEL_ENTRY_POINT", "MODEL_EXECUTE_PATH"):
            if key in values:
                _checked(version, key, values[key].lstrip("/") or "/", "name a program or a file")
        return cls(
            model=values.get("MODEL_FOLDER"),
            client=values.get("MODEL_CLIENT_FOLDER", "client"),
            templates=values.get("MODEL_TEMPLATES_FOLDER", "templates"),
            entry_point=values.get("MODEL_ENTRY_POINT", "python"),
            execute_path=values.get("MODEL_EXECUTE_PATH"),
            explicit=frozenset(values),
        )


def _checked(version: ModelVersion, key: str, value: str, must: str) -> str:
    value = value.removesuffix("/")
    try:
        return relative(value)
    except ValueError as fault:
        shown = value if len(value) <= 80 else value[:79] + "…"
        raise ArtifactError(
            f"the tag {key} of {version.carrier(key)} is {shown!r}: it must {must}, and {fault}",
            hint=f"correct the tag {key} in MLflow",
        ) from None


class Source(Protocol):
    """A registry of models. Errors: ModelRegistryError, UnknownVersionError, ArtifactError, TransferError."""

    def check(self) -> str:
        """What answers there, for people. Raises ModelRegistryError where nothing does, or does not let us in."""
        ...

    def discover(self, target: Target) -> Iterator[ModelVersion]:
        """The versions that carry the tag `target.tag` themselves or by their model, whatever its value."""
        ...

    def get(self, name: str, version: str) -> ModelVersion:
        """One version, with its tags; raises UnknownVersionError."""
        ...

    def fetch(self, version: ModelVersion, folder: Path, progress: Progress, subject: str) -> Fetched:
        """Bring the version's files into `folder`, which is empty or not there yet. HostError: no room."""
        ...

    def examine(self, version: ModelVersion, folder: Path, progress: Progress, subject: str) -> Examined:
        """Find the version's files as `fetch` does, and bring only the small ones of its model that are read
        before anything is built. Same errors."""
        ...

    def record(self, version: ModelVersion, tags: Mapping[str, str], delete: Sequence[str] = ()) -> None:
        """Write and delete tags on the version. The last of `tags` is written after the others, and nothing is
        deleted before it."""
        ...
