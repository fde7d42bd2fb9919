"""The keys of publisher.toml and what each value must be. Where values come from: settings.py.

A field's description completes the sentence "expected …" of a fault, so it says what to write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from publisher import settings_images as images
from publisher import settings_values as values
from publisher.checks import profiles
from publisher.quantities import DURATION, SIZE

BASE = "docker.io/library/python:{python}-slim"

# In TOML a number without quotes is natural for these.
_Digits = BeforeValidator(lambda value: str(value) if type(value) is int else value)
_Folder = AfterValidator(lambda path: path and path.expanduser())
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
_KUBERNETES = r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$"


class TargetKeys(BaseModel):
    """One table ``[targets.NAME]``. A field's check may look only at the fields above it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)

    deadline: Annotated[
        Any, PlainValidator(lambda value: None if value is None else values.duration(value))
    ] = Field(images.DEFAULTS["deadline"], description=DURATION)
    insecure: bool = Field(images.DEFAULTS["insecure"], description="true or false")
    registry: Annotated[str, AfterValidator(images.registry)] = Field(description=images.REGISTRY)
    tag: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.:/-]{1,250}$", description="a tag's key: letters, digits and _ . - : /"
    )
    platforms: Annotated[Any, PlainValidator(values.platforms)] = Field(
        values.platforms(values.PLATFORMS), description="a list"
    )
    base: Annotated[Any, PlainValidator(images.base)] = Field(BASE, description=images.BASE)
    builder: Literal["auto", "layers", "buildx", "kaniko", "buildah"] = Field(
        images.DEFAULTS["builder"], description="auto, layers, buildx, kaniko or buildah"
    )
    templates: Annotated[str, AfterValidator(values.templates)] = Field(
        images.DEFAULTS["templates"], description=values.TEMPLATES
    )
    engine_cache: bool = Field(images.DEFAULTS["engine_cache"], description="true or false")
    image: Annotated[str, AfterValidator(images.image)] = Field(
        images.DEFAULTS["image"], description="a template such as {registry}/{model}:v{version}"
    )
    tags: Annotated[tuple[str, ...], BeforeValidator(values.listed), AfterValidator(images.tags)] = Field(
        (), description=images.TAGS
    )
    cache: Annotated[str, AfterValidator(images.cache)] = Field(
        images.DEFAULTS["cache"],
        description='a repository such as {registry}/publisher-cache, or "" for none',
    )
    python: str | None = Field(
        None, pattern=r"^3\.[0-9]{1,2}$", description='a minor version in quotes, such as "3.11"'
    )
    resolve: Literal["registered", "latest"] = Field(
        images.DEFAULTS["resolve"], description="registered or latest"
    )
    user: Annotated[str, _Digits, AfterValidator(values.user)] = Field(
        images.DEFAULTS["user"], description="uid or uid:gid"
    )
    bytecode: bool = Field(images.DEFAULTS["bytecode"], description="true or false")
    index: Annotated[
        tuple[Annotated[str, AfterValidator(values.index)], ...], BeforeValidator(values.lines)
    ] = Field(images.DEFAULTS["index"], description=f"a list of package indexes such as {values.INDEX}")
    constraints: Annotated[
        tuple[Annotated[str, AfterValidator(values.constraint)], ...], BeforeValidator(values.lines)
    ] = Field(images.DEFAULTS["constraints"], description="a list of constraints such as numpy<2")
    sdist: Literal["isolated", "build", "refuse"] = Field(
        images.DEFAULTS["sdist"], description="isolated, build or refuse"
    )
    ca_file: Annotated[Path | None, AfterValidator(values.authorities)] = Field(
        images.DEFAULTS["ca_file"], description="a file of certificates in PEM"
    )
    token_realms: Annotated[Any, PlainValidator(values.realms)] = Field(
        images.DEFAULTS["token_realms"], description=f"a list of {values.REALM}"
    )
    chunk_size: Annotated[Any, PlainValidator(values.chunk)] = Field(
        images.DEFAULTS["chunk_size"], description=SIZE
    )
    api_path: str = Field(
        images.DEFAULTS["api_path"],
        pattern=r"^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?$",
        description="a path such as /hub",
    )
    conda: Literal["refuse", "pip", "conda"] = Field(
        images.DEFAULTS["conda"], description="refuse, pip or conda"
    )
    trust_dockerfiles: bool = Field(images.DEFAULTS["trust_dockerfiles"], description="true or false")
    proof: Literal["required", "possible", "off"] = Field(
        images.DEFAULTS["proof"], description="required, possible or off"
    )
    emulate: bool = Field(images.DEFAULTS["emulate"], description="true or false")
    profile: Annotated[str, AfterValidator(values.profile)] = Field(
        images.DEFAULTS["profile"], description=profiles.EXPECTED
    )
    slim: bool = Field(images.DEFAULTS["slim"], description="true or false")
    job_template: str = Field(
        images.DEFAULTS["job_template"],
        pattern=_KUBERNETES,
        description="the name of a CronJob of Kubernetes",
    )


TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Keys(BaseSettings):
    """The whole document."""

    # Before pydantic 2.10 every name that begins with model_ was its own.
    model_config = SettingsConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    mlflow_tracking_uri: Annotated[str, AfterValidator(values.tracking_uri)] = Field(
        description="the address of an MLflow server, such as https://mlflow.example.org"
    )
    cache_folder: Annotated[Path, _Folder] = Field(
        default_factory=lambda: platformdirs.user_cache_path("publisher"), description="a folder"
    )
    work_folder: Annotated[Path | None, AfterValidator(lambda path: path and path.expanduser())] = Field(
        None, description="a folder"
    )
    jobs: int = Field(8, ge=1, le=64, description="a whole number from 1 to 64")
    parallel: int | None = Field(None, ge=1, le=64, description="a whole number from 1 to 64")
    memory: Annotated[Any, PlainValidator(values.memory)] = Field(None, description=SIZE)
    deadline: Annotated[Any, PlainValidator(values.duration)] = Field(
        "1h", validate_default=True, description=DURATION
    )
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto, text or json")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error"
    )
    model_name: str | None = Field(None, description="the name of a registered model")
    model_version: Annotated[str | None, _Digits] = Field(
        None, pattern=r"^[1-9][0-9]*$", description="the number of a model version, such as 8"
    )
    local_artifacts: bool | None = Field(None, description="true or false")
    artifact_hosts: Annotated[Any, PlainValidator(values.hosts)] = Field((), description="a list of hosts")
    mirrors: Annotated[Any, PlainValidator(images.mirrors)] = Field({}, description=images.MIRRORS)
    context_limit: Annotated[Any, PlainValidator(values.context)] = Field(
        "64GiB", validate_default=True, description=SIZE
    )
    build_logs: Annotated[Path | None, AfterValidator(lambda path: path and path.expanduser())] = Field(
        None, description="a folder"
    )
    buildx_builder: str | None = Field(None, pattern=_NAME, description="the name of a builder of buildx")
    buildkit: Annotated[str | None, AfterValidator(values.buildkit)] = Field(
        None, description=values.BUILDKIT
    )
    buildkit_certificates: Annotated[Path | None, _Folder] = Field(
        None, description="a folder with ca.pem, cert.pem and key.pem"
    )
    kaniko: Literal["auto", "here", "docker", "podman"] = Field(
        "auto", description="auto, here, docker or podman"
    )
    kaniko_executor: Path = Field(Path("/kaniko/executor"), description="the path of kaniko's executor")
    kaniko_image: Annotated[str, AfterValidator(images.reference_of)] = Field(
        "gcr.io/kaniko-project/executor:v1.24.0", description="an image reference"
    )
    executor: Literal["here", "kubernetes"] = Field("here", description="here or kubernetes")
    kubernetes_namespace: str | None = Field(
        None, pattern=_KUBERNETES, description="the name of a namespace of Kubernetes"
    )
    kubernetes_patience: Annotated[Any, PlainValidator(values.duration)] = Field(
        "5m", validate_default=True, description=DURATION
    )
    targets: dict[TargetName, TargetKeys] = Field(
        default_factory=dict, description="tables [targets.NAME], NAME of letters, digits, - and _"
    )
