"""Settings: flags > environment > publisher.toml, wholly validated before any work, every fault told at once.

Credentials are no settings: REGISTRY_USER and REGISTRY_TOKEN are read where they are used.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import InitSettingsSource, PydanticBaseSettingsSource

from publisher import settings_sources as sources
from publisher.domain import Target
from publisher.errors import SettingsError
from publisher.settings_keys import Keys, TargetKeys
from publisher.settings_overlaps import overlaps
from publisher.settings_profiles import faults as not_taken
from publisher.settings_profiles import of_profiles

TARGET_TAG = "EXTERNAL_TARGET_"  # the documents' tags begin so
_SECRET = re.compile(r"token|passw|secret|credential|username|api_?key", re.IGNORECASE)

# For commands that ask no server: a name that none has (RFC 2606).
_NO_MLFLOW: sources.Layer = {
    ("mlflow_tracking_uri",): sources.Given("http://mlflow.invalid", "environment", "MLFLOW_TRACKING_URI")
}


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run may depend on, besides credentials. Folders are absolute."""

    mlflow_tracking_uri: str
    targets: tuple[Target, ...]
    cache_folder: Path
    work_folder: Path | None = None
    model_name: str | None = None
    model_version: str | None = None
    jobs: int = 8  # transfers at once
    parallel: int | None = None  # publications at once; None: as CPUs and memory allow
    memory: int | None = None  # bytes; None: what the container or the machine has
    deadline: timedelta = timedelta(hours=1)  # of a publication whose target has none of its own
    log_format: str = "auto"
    log_level: str = "info"
    local_artifacts: bool | None = None  # None: where the MLflow server is on this machine
    artifact_hosts: tuple[str, ...] = ()  # host[:port], in lower case
    mirrors: Mapping[str, str] = field(default_factory=dict)  # registry host -> host that has its images too
    context_limit: int = 64 << 30  # bytes
    build_logs: Path | None = None  # None: in the cache folder
    buildx_builder: str | None = None
    buildkit: str | None = None  # address
    buildkit_certificates: Path | None = None
    kaniko: str = "auto"
    kaniko_executor: Path = Path("/kaniko/executor")
    kaniko_image: str = "gcr.io/kaniko-project/executor:v1.24.0"
    executor: str = "here"
    kubernetes_namespace: str | None = None  # None: the publisher's own
    kubernetes_patience: timedelta = timedelta(minutes=5)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that select versions. With no target at all, as for a mere download, the implied one's."""
        tags = [target.tag for target in self.targets] or [default_tag(sources.IMPLIED_TARGET)]
        return tuple(dict.fromkeys(tags))


def default_tag(name: str) -> str:
    """The tag that selects the target `name` where its table names no other."""
    return TARGET_TAG + sources.normal(name)


def load(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    file: Path | None = None,
    *,
    need_target: bool = False,
    need_mlflow: bool = True,
) -> Settings:
    """Merge and validate. `file` defaults to ./publisher.toml where there is one.

    `flags` whose value is None were not given. With `need_target`, no target at all is a fault;
    without `need_mlflow`, no MLflow server is none.
    Raises SettingsError, whose `faults` name each wrong key as it was written, where, and what is expected.
    """
    faults: list[str] = []
    in_file = sources.of_file(file, faults)
    in_environment = sources.of_environment(environ, in_file, faults)
    layers = [
        sources.of_flags(flags),
        in_environment,
        in_file,
        sources.implied(environ, in_file, in_environment),
        {} if need_mlflow else _NO_MLFLOW,
    ]
    named = any(path[0] == "targets" for layer in layers for path in layer)
    if need_target and not named and not faults:  # a file that cannot be read might have named one
        faults.append(
            f"no target: expected REGISTRY_URL in the environment, or a table [targets.NAME] in {sources.FILE}"
        )
    layers.append(of_profiles(layers))
    try:
        keys = _merged(layers)
    except ValidationError as error:
        given = {path: value for layer in reversed(layers) for path, value in layer.items()}
        faults += [_fault(detail, given) for detail in error.errors(include_url=False)]
        keys = None
    targets = tuple(
        Target(name=name, **{**dict(table), "tag": table.tag or default_tag(name)})
        for name, table in (keys.targets.items() if keys else ())
    )
    for target, key, text in (*overlaps(targets), *not_taken(targets)):
        path = ("targets", target.name)
        written = next(
            (layer[at] for at in ((*path, key), path) for layer in layers if at in layer), target.name
        )
        faults.append(f"{written}: {text}")
    if faults or not keys:
        raise SettingsError(faults, hint="docs/settings.md lists every key")
    return Settings(
        mlflow_tracking_uri=keys.mlflow_tracking_uri,
        targets=targets,
        cache_folder=keys.cache_folder.absolute(),
        work_folder=keys.work_folder and keys.work_folder.absolute(),
        model_name=keys.model_name,
        model_version=keys.model_version,
        jobs=keys.jobs,
        parallel=keys.parallel,
        memory=keys.memory,
        deadline=keys.deadline,
        log_format=keys.log_format,
        log_level=keys.log_level,
        local_artifacts=keys.local_artifacts,
        artifact_hosts=keys.artifact_hosts,
        mirrors=keys.mirrors,
        context_limit=keys.context_limit,
        build_logs=keys.build_logs and keys.build_logs.absolute(),
        buildx_builder=keys.buildx_builder,
        buildkit=keys.buildkit,
        buildkit_certificates=keys.buildkit_certificates and keys.buildkit_certificates.absolute(),
        kaniko=keys.kaniko,
        kaniko_executor=keys.kaniko_executor,
        kaniko_image=keys.kaniko_image,
        executor=keys.executor,
        kubernetes_namespace=keys.kubernetes_namespace,
        kubernetes_patience=keys.kubernetes_patience,
    )


def _merged(layers: list[sources.Layer]) -> Keys:
    documents = [sources.nested(layer) for layer in layers]

    class Merged(Keys):
        # Without this, the environment of the process would be read, and no trace kept of what came from it.
        @classmethod
        def settings_customise_sources(
            cls, settings_cls: Any, *_: Any, **__: Any
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return tuple(InitSettingsSource(settings_cls, document) for document in documents)

    return Merged()  # type: ignore[call-arg]  # the values come from its sources


def _fault(detail: ErrorDetails, given: sources.Layer) -> str:
    """``KEY in PLACE: what is expected``, with the key as it was written."""
    path = tuple(str(step) for step in detail["loc"] if step != "[key]")
    path = path[:3] if path[0] == "targets" else path[:1]  # an entry of a list is told as its key
    fields: Mapping[str, Any] = TargetKeys.model_fields if len(path) == 3 else Keys.model_fields
    nearest = next((given[path[:n]] for n in range(len(path), 0, -1) if path[:n] in given), None)
    if not nearest:
        wanted = fields[path[-1]].description
        return f"{path[-1]} is not set: expected {wanted}, in {path[-1].upper()} or in {sources.FILE}"
    return f"{nearest}: {_expected(detail, path, nearest, fields)}"


def _expected(
    detail: ErrorDetails, path: sources.KeyPath, given: sources.Given, fields: Mapping[str, Any]
) -> str:
    match detail["type"]:
        case "value_error":
            return str(detail["ctx"]["error"])
        case "extra_forbidden":
            return f"unknown key{_suggestion(given, path[-1], fields)}"
        case "missing":
            return f"has no {path[-1]}: expected {fields[path[-1]].description}"
    if len(path) == 2:
        named = detail["loc"][-1] == "[key]"
        return "expected a name of letters, digits, - and _" if named else "expected a table [targets.NAME]"
    value = detail["input"]
    shown = f", got {value!r}" if isinstance(value, str | int | float) and len(str(value)) <= 80 else ""
    return f"expected {fields[path[-1]].description}{shown}"


def _suggestion(given: sources.Given, key: str, fields: Mapping[str, Any]) -> str:
    if _SECRET.search(key):
        return "; credentials are no settings: expected REGISTRY_USER and REGISTRY_TOKEN in the environment"
    close = difflib.get_close_matches(key.lower(), list(fields), n=1)
    if close:
        return f"; did you mean {given.respelled(key, close[0])}?"
    return f"; expected one of {', '.join(sorted(fields))}"
