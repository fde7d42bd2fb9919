"""What MLflow's REST interface tells of, with the attributes that MLflow's own client gives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Version:
    """A model version. `creation_timestamp`: milliseconds."""

    name: str
    version: str
    source: str
    status: str
    run_id: str
    creation_timestamp: int
    tags: dict[str, str]
    aliases: list[str]


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model. `aliases`: alias -> version."""

    name: str
    tags: dict[str, str]
    aliases: dict[str, str]


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A model as MLflow 3 keeps it."""

    model_id: str
    name: str
    artifact_location: str
    source_run_id: str


@dataclass(frozen=True, slots=True)
class RunInfo:
    artifact_uri: str


@dataclass(frozen=True, slots=True)
class RunOutput:
    model_id: str


@dataclass(frozen=True, slots=True)
class RunOutputs:
    model_outputs: list[RunOutput] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Run:
    info: RunInfo
    outputs: RunOutputs


class Page(list[Any]):
    """What a search found, and the `token` of the next page."""

    token: str | None = None


def page(found: Iterable[Any], said: Mapping[str, Any]) -> Page:
    made = Page(found)
    made.token = said.get("next_page_token") or None
    return made


def version(said: Mapping[str, Any]) -> Version:
    return Version(
        name=said["name"],
        version=str(said["version"]),
        source=said.get("source", ""),
        status=said.get("status", ""),
        run_id=said.get("run_id", ""),
        creation_timestamp=int(said.get("creation_timestamp", 0)),
        tags=_pairs(said.get("tags")),
        aliases=list(said.get("aliases", ())),
    )


def model(said: Mapping[str, Any]) -> Model:
    aliases = {each["alias"]: str(each["version"]) for each in said.get("aliases") or ()}
    return Model(said["name"], _pairs(said.get("tags")), aliases)


def _pairs(said: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {each["key"]: each.get("value", "") for each in said or ()}
