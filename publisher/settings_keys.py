"""The keys of publisher.toml and what each value must be. Where values come from: settings.py.

A field's description completes the sentence "expected …" of a fault, so it says what to write.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import fields
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
from packaging.requirements import InvalidRequirement, Requirement
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from publisher.domain import MACHINES, Platform, Target
from publisher.extra_tags import fill, placeholders
from publisher.naming import LONGEST
from publisher.oci.reference import Reference, is_tag
from publisher.quantities import DURATION, SIZE, duration, size

PLATFORMS = tuple(f"linux/{architecture}" for architecture in MACHINES)
BASE = "docker.io/library/python:{python}-slim"
_REGISTRY = "host[:port][/prefix] in lower case, such as quay.io/team, or oci:DIR"
_BASE = 'an image reference, oci:DIR, or a table such as { "3.11" = "docker.io/library/python:3.11-slim" }'
_INDEX = "corp=https://pypi.example.org/simple"
_LEAST_MEMORY = 128 << 20  # bytes; one publication alone needs it
_TAGS = 'a list of tags such as ["{alias}", "{version}-{date}"]'
_REALM = "hosts without port, such as auth.example.org"
_LEAST_CHUNK = 1 << 20
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Target)}


def _registry(value: str, info: ValidationInfo) -> str:
    if value.startswith("oci:"):
        if not value[4:].strip():
            raise ValueError(f"expected {_REGISTRY}")
        return value
    scheme, _, rest = value.rpartition("://")
    if scheme.lower() not in ("", "http", "https"):
        raise ValueError(f"expected {_REGISTRY}, or a URL that begins with https://")
    if "@" in rest:
        # Never shown: what stands before the @ of a URL is a password more often than not.
        raise ValueError("must not hold credentials: put them into REGISTRY_USER and REGISTRY_TOKEN")
    host, slash, prefix = rest.rstrip("/").partition("/")
    host = host.lower()
    try:
        found = Reference.parse(f"{host}{slash}{prefix}/x").repository.host
    except ValueError:
        raise ValueError(f"expected {_REGISTRY}, got {value!r}") from None
    if host not in (found, "index.docker.io"):
        raise ValueError(f"must begin with a host, got {value!r}; Docker Hub's is docker.io/{value}")
    if scheme.lower() == "http" and not info.data.get("insecure", True) and not _is_loopback(host):
        raise ValueError(
            f"http:// sends everything to {host} unencrypted; write https://, or set insecure = true"
        )
    return f"{host}{slash}{prefix}"


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _sample(template: str, **known: str) -> str:
    """The template filled in; raises ValueError that names the placeholders it may have."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise ValueError(f"{template!r} has a brace without its pair") from None
    for _, name, spec, conversion in parts:
        if name is not None and (name not in known or spec or conversion):
            accepted = ", ".join(f"{{{key}}}" for key in known)
            raise ValueError(f"{{{name}}} is not a placeholder here; known: {accepted}")
    return template.format(**known)


def _reference(text: str, template: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError:
        raise ValueError(f"{template!r} does not make an image reference: {text!r} is none") from None


def _place(info: ValidationInfo) -> str:
    # A registry with a fault of its own is not in `data`, and a layout on disk has no host: any will do there.
    registry: str = info.data.get("registry", "oci:")
    return "registry.invalid" if registry.startswith("oci:") else registry


def _image(value: str, info: ValidationInfo) -> str:
    known = {"registry": _place(info), "model": "model", "version": "1", "target": "target"}
    _sample(value, **known)
    if "{version}" not in value:
        raise ValueError(f"must contain {{version}}, or versions would overwrite each other: {value!r}")
    if not value.startswith("{registry}/"):
        raise ValueError(f"must lead into the target's own registry: begin with {{registry}}/, got {value!r}")
    _reference(_sample(value, **known), value)
    if re.search(r"\{model\}[0-9]*\{version\}|\{version\}[0-9]*\{model\}", value):
        raise ValueError(
            "must have something other than digits between {model} and {version}, or version 12 of a model "
            f"were version 2 of another: {value!r}"
        )
    long = _sample(value, **{**known, "model": "m" * LONGEST, "version": "12345678"})
    try:
        fits = len(str(Reference.parse(long).repository)) <= 255
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"leaves no room for a model's name of {LONGEST} characters: {value!r}")
    return value


def _tags(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    repository, colon, own = info.data.get("image", _DEFAULTS["image"]).partition(":")
    if value and not (colon and "{model}" in repository):
        raise ValueError("needs a repository for each model: write {model} before the colon of `image`")
    for template in value:
        sample = fill(template, dict.fromkeys(placeholders(template), "1"))
        if template == own or not is_tag(sample):
            wrong = "is the version's own tag" if template == own else "does not make a tag"
            raise ValueError(f"{template!r} {wrong}; expected {_TAGS}")
    return tuple(dict.fromkeys(value))


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _cache(value: str, info: ValidationInfo) -> str:
    if value:
        # The tag is the lock's hash, so the setting itself must be a plain repository.
        _reference(_sample(value, registry=_place(info)) + ":tag", value)
    return value


def _base(value: object) -> str | dict[str, str]:
    """One for all, or one for each minor version: a table, or in a variable ``3.11=REF,3.12=REF``."""
    if isinstance(value, str) and re.match(r"\s*[0-9.]+\s*=", value):
        pairs = [part.partition("=")[::2] for part in value.split(",") if part.strip()]
        value = {minor.strip(): name.strip() for minor, name in pairs}
    if isinstance(value, str):
        return _one_base(value.strip())
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected {_BASE}")
    for minor, name in value.items():
        if not re.fullmatch(r"3\.[0-9]{1,2}", str(minor)) or not isinstance(name, str):
            raise ValueError(f'expected {_BASE}, got {minor!r} = {name!r}; a minor version is written "3.11"')
    return {str(minor): _one_base(name.strip()) for minor, name in sorted(value.items())}


def _one_base(value: str) -> str:
    text = _sample(value, python="3.11")
    if not value.startswith("oci:"):
        _reference(text, value)
    elif not value[4:].strip():
        raise ValueError("expected an image reference, or oci:DIR")
    return value


def _platforms(value: object) -> tuple[Platform, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        raise ValueError(f"expected a list of {' and '.join(PLATFORMS)}")
    found = [Platform.parse(str(name)) for name in names]
    for platform in found:
        if str(platform) not in PLATFORMS:
            raise ValueError(f"{platform} cannot be built yet; expected a list of {' and '.join(PLATFORMS)}")
    return tuple(dict.fromkeys(found))


def _lines(value: object) -> object:
    """In a variable, one a line: commas, spaces and semicolons are parts of a requirement."""
    return [line for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


def _index(value: str) -> str:
    name, equals, url = value.rpartition("=") if re.match(r"[A-Za-z0-9._-]+=", value) else ("", "", value)
    parts = urlsplit(url)
    if "@" in parts.netloc:
        wanted = re.sub(r"[^A-Z0-9]", "_", name.upper()) or "NAME"
        raise ValueError(
            "must not hold credentials: write NAME=URL and put them into "
            f"UV_INDEX_{wanted}_USERNAME and UV_INDEX_{wanted}_PASSWORD, or into netrc"
        )
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected the URL of a package index such as {_INDEX}, got {value!r}")
    if parts.scheme == "http" and not _is_loopback(parts.netloc):
        raise ValueError(f"http:// lets anybody on the way change packages: write https://, got {value!r}")
    return f"{name}{equals}{url}"


def _constraint(value: str) -> str:
    try:
        found = Requirement(value)
    except InvalidRequirement:
        raise ValueError(f"expected a constraint such as numpy<2, got {value!r}") from None
    if found.url or found.extras:
        raise ValueError(f"expected a constraint without URL and extras, such as numpy<2, got {value!r}")
    return str(found)


def _user(value: str) -> str:
    uid, _, gid = value.partition(":")
    if not re.fullmatch(r"\d+(:\d+)?", value, re.ASCII) or max(int(uid), int(gid or 0)) > 2**32 - 2:
        raise ValueError(f"expected a numeric uid or uid:gid, such as 10001:10001, got {value!r}")
    if int(uid) == 0:
        raise ValueError("must not be root: clusters refuse such images; expected a uid other than 0")
    return value


def _tracking_uri(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        raise ValueError(
            "must not hold credentials: put them into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if not value or not value.isprintable():
        raise ValueError("expected the address of an MLflow server, such as https://mlflow.example.org")
    return value


def _hosts(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    expected = "expected a list of host or host:port, such as artifacts.example.org:5500"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError(expected)
    found = [name.strip().lower() for name in names]
    for name in found:
        if "@" in name:
            raise ValueError("must not hold credentials: these hosts are sent those of the MLflow server")
        if not re.fullmatch(r"([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", name):
            raise ValueError(f"{expected}, got {name!r}")
    return tuple(dict.fromkeys(found))


def _duration(value: object) -> timedelta:
    return duration(value if isinstance(value, str) else str(value))


def _memory(value: object) -> int | None:
    if value is None:
        return None
    found = size(str(value))
    if found < _LEAST_MEMORY:
        raise ValueError(f"expected {SIZE}, at least {_LEAST_MEMORY >> 20}MiB, got {value!r}")
    return found


def _authorities(value: Path | None) -> Path | None:
    path = value and value.expanduser().absolute()
    if path:
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise ValueError(f"expected certificates in PEM, and {path} has none") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    return path


def _realms(value: object) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError(f"expected a list of {_REALM}")  # noqa: TRY004 - what pydantic takes for a fault
    found = [str(name).strip().lower() for name in names]
    for name in found:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
            raise ValueError(f"expected {_REALM}, got {name!r}")
    return tuple(dict.fromkeys(found))


def _chunk(value: object) -> int | None:
    if value is None:
        return None
    found = size(str(value))
    if found < _LEAST_CHUNK:
        raise ValueError(f"expected {SIZE}, at least {_LEAST_CHUNK >> 20}MiB, got {value!r}")
    return found


# In TOML a number without quotes is natural for these.
_Digits = BeforeValidator(lambda value: str(value) if type(value) is int else value)
_Folder = AfterValidator(lambda path: path.expanduser())


class TargetKeys(BaseModel):
    """One table ``[targets.NAME]``. A field's check may look only at the fields above it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)

    deadline: Annotated[Any, PlainValidator(lambda value: None if value is None else _duration(value))] = (
        Field(_DEFAULTS["deadline"], description=DURATION)
    )
    insecure: bool = Field(_DEFAULTS["insecure"], description="true or false")
    registry: Annotated[str, AfterValidator(_registry)] = Field(description=_REGISTRY)
    tag: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_.:/-]{1,250}$", description="a tag's key: letters, digits and _ . - : /"
    )
    platforms: Annotated[Any, PlainValidator(_platforms)] = Field(_platforms(PLATFORMS), description="a list")
    base: Annotated[Any, PlainValidator(_base)] = Field(BASE, description=_BASE)
    builder: Literal["auto", "layers"] = Field(_DEFAULTS["builder"], description="auto or layers")
    image: Annotated[str, AfterValidator(_image)] = Field(
        _DEFAULTS["image"], description="a template such as {registry}/{model}:v{version}"
    )
    tags: Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_tags)] = Field(
        (), description=_TAGS
    )
    cache: Annotated[str, AfterValidator(_cache)] = Field(
        _DEFAULTS["cache"], description='a repository such as {registry}/publisher-cache, or "" for none'
    )
    python: str | None = Field(
        None, pattern=r"^3\.[0-9]{1,2}$", description='a minor version in quotes, such as "3.11"'
    )
    resolve: Literal["registered", "latest"] = Field(_DEFAULTS["resolve"], description="registered or latest")
    user: Annotated[str, _Digits, AfterValidator(_user)] = Field(
        _DEFAULTS["user"], description="uid or uid:gid"
    )
    bytecode: bool = Field(_DEFAULTS["bytecode"], description="true or false")
    index: Annotated[tuple[Annotated[str, AfterValidator(_index)], ...], BeforeValidator(_lines)] = Field(
        _DEFAULTS["index"], description=f"a list of package indexes such as {_INDEX}"
    )
    constraints: Annotated[
        tuple[Annotated[str, AfterValidator(_constraint)], ...], BeforeValidator(_lines)
    ] = Field(_DEFAULTS["constraints"], description="a list of constraints such as numpy<2")
    sdist: Literal["isolated", "build", "refuse"] = Field(
        _DEFAULTS["sdist"], description="isolated, build or refuse"
    )
    ca_file: Annotated[Path | None, AfterValidator(_authorities)] = Field(
        _DEFAULTS["ca_file"], description="a file of certificates in PEM"
    )
    token_realms: Annotated[Any, PlainValidator(_realms)] = Field(
        _DEFAULTS["token_realms"], description=f"a list of {_REALM}"
    )
    chunk_size: Annotated[Any, PlainValidator(_chunk)] = Field(_DEFAULTS["chunk_size"], description=SIZE)
    api_path: str = Field(
        _DEFAULTS["api_path"],
        pattern=r"^((/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)?$",
        description="a path such as /hub",
    )
    conda: Literal["refuse", "pip"] = Field(_DEFAULTS["conda"], description="refuse or pip")


TargetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]


class Keys(BaseSettings):
    """The whole document."""

    # Before pydantic 2.10 every name that begins with model_ was its own.
    model_config = SettingsConfigDict(extra="forbid", protected_namespaces=(), hide_input_in_errors=True)

    mlflow_tracking_uri: Annotated[str, AfterValidator(_tracking_uri)] = Field(
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
    memory: Annotated[Any, PlainValidator(_memory)] = Field(None, description=SIZE)
    deadline: Annotated[Any, PlainValidator(_duration)] = Field(
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
    artifact_hosts: Annotated[Any, PlainValidator(_hosts)] = Field((), description="a list of hosts")
    targets: dict[TargetName, TargetKeys] = Field(
        default_factory=dict, description="tables [targets.NAME], NAME of letters, digits, - and _"
    )
