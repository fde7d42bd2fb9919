"""Where settings come from: each source as values by their path in the document, and how they were written."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

FILE = "publisher.toml"
IMPLIED_TARGET = "PLTR_FOUNDRY"
# Variables that people already have, beside PUBLISHER_<KEY>, which goes before them.
ALIASES = {
    "MLFLOW_TRACKING_URI": "mlflow_tracking_uri",
    "MODEL_NAME": "model_name",
    "MODEL_VERSION": "model_version",
}
# PUBLISHER_CONFIG and PUBLISHER_HEALTH are the flags --config and --health, PUBLISHER_TARGET the name of the target
# that REGISTRY_URL implies.
_NO_KEYS = {"PUBLISHER_CONFIG", "PUBLISHER_HEALTH", "PUBLISHER_TARGET"}
_FOLDERS = (("cache_folder",), ("work_folder",), ("build_logs",), ("buildkit_certificates",))
_TARGETS = "PUBLISHER_TARGETS__"
# Kubernetes sets such variables in every pod for a Service named publisher or publisher-…
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_SERVICE_LINK = re.compile(rf"(?!{_TARGETS})PUBLISHER_(\w+_)?(SERVICE_HOST|(SERVICE_)?PORT(_\w+)?)")

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """One value, and how its user wrote it: a key of the file, a variable, a flag."""

    value: object
    kind: Literal["flag", "environment", "file"]
    written: str
    place: str = "the environment"

    def __str__(self) -> str:
        return f"the flag {self.written}" if self.kind == "flag" else f"{self.written} in {self.place}"

    def respelled(self, key: str, better: str) -> str:
        """This value's own spelling with its last word `key` replaced by `better`."""
        if self.kind == "environment":
            return self.written[: -len(key)] + better.upper()
        return better if self.kind == "file" else f"--{better.replace('_', '-')}"


Layer = dict[KeyPath, Given]


def normal(name: str) -> str:
    """What a target's name becomes in a tag or a variable: ``my-target`` is MY_TARGET."""
    return re.sub(r"[-.]", "_", name).upper()


def of_flags(flags: Mapping[str, object]) -> Layer:
    """Flags whose value is None were not given."""
    found: Layer = {
        (key,): Given(value, "flag", f"--{key.replace('_', '-')}")
        for key, value in flags.items()
        if value is not None
    }
    return _anchored(found, Path.cwd())


def of_file(file: Path | None, faults: list[str]) -> Layer:
    """`file`, which must be there, or ./publisher.toml, which need not. What is wrong is added to `faults`."""
    path = file or Path(FILE)
    if not file and not path.exists():
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        faults.append(f"{path} cannot be read: {error.strerror}")
        return {}
    except ValueError as error:  # not TOML, or not UTF-8
        faults.append(f"{path} is not a TOML file: {error}")
        return {}
    tables = document.get("targets")
    seen: dict[str, str] = {}
    for name in tables if isinstance(tables, dict) else ():
        other = seen.setdefault(normal(name), name)
        if other != name:
            faults.append(
                f"targets.{name} in {path}: differs from targets.{other} only in case, - and _, which tags and "
                "environment variables cannot tell; expected another name"
            )
    found = {keys: Given(value, "file", ".".join(keys), str(path)) for keys, value in _leaves(document)}
    return _anchored(found, path.absolute().parent)


def _leaves(document: Mapping[str, Any]) -> Iterator[tuple[KeyPath, object]]:
    """Top-level keys, and those of the targets; a table gives itself too, empty, so that it can be named."""
    for key, value in document.items():
        if key != "targets" or not isinstance(value, dict):
            yield (key,), value
            continue
        for name, table in value.items():
            yield (key, name), {} if isinstance(table, dict) else table
            if isinstance(table, dict):
                yield from (((key, name, inner), entry) for inner, entry in table.items())


def of_environment(environ: Mapping[str, str], in_file: Layer, faults: list[str]) -> Layer:
    """``PUBLISHER_<KEY>`` and ``PUBLISHER_TARGETS__<NAME>__<KEY>``, whose NAME finds a target of the file by
    its normal form. An empty variable is an unset one, except for CACHE, which it turns off."""
    found: Layer = {
        (key,): Given(environ[variable], "environment", variable)
        for variable, key in ALIASES.items()
        if environ.get(variable)
    }
    names = {normal(name): name for name in _targets(in_file)}
    names.setdefault(normal(implied_name(environ)), implied_name(environ))
    for variable, value in sorted(environ.items()):
        if not variable.startswith("PUBLISHER_") or variable in _NO_KEYS or _SERVICE_LINK.fullmatch(variable):
            continue
        given = Given(value, "environment", variable)
        name, _, key = variable.removeprefix(_TARGETS).rpartition("__")
        if variable == "PUBLISHER_TARGETS" or (variable.startswith(_TARGETS) and not name):
            faults.append(f"{given}: expected a variable {_TARGETS}<NAME>__<KEY>")
        elif not variable.startswith(_TARGETS):
            if value:
                found[(variable.removeprefix("PUBLISHER_").lower(),)] = given
        elif value or key == "CACHE":
            target = names.setdefault(normal(name), name)
            found[("targets", target, key.lower())] = given
            if ("targets", target) not in in_file:
                found[("targets", target)] = replace(given, value={}, written=f"{_TARGETS}{name}")
    return _anchored(found, Path.cwd())


def implied_name(environ: Mapping[str, str]) -> str:
    """The name of the target that REGISTRY_URL implies."""
    return environ.get("PUBLISHER_TARGET") or IMPLIED_TARGET


def implied(environ: Mapping[str, str], *others: Layer) -> Layer:
    """The target that REGISTRY_URL makes where no other is named."""
    name = implied_name(environ)
    url = environ.get("REGISTRY_URL")
    if not url or {target for layer in others for target in _targets(layer)} - {name}:
        return {}
    found: Layer = {
        ("targets", name): Given({}, "environment", "PUBLISHER_TARGET"),
        ("targets", name, "registry"): Given(url, "environment", "REGISTRY_URL"),
    }
    return _anchored(found, Path.cwd())


def _targets(layer: Layer) -> list[str]:
    return list(dict.fromkeys(path[1] for path in layer if path[0] == "targets" and len(path) > 1))


def _anchored(layer: Layer, folder: Path) -> Layer:
    """A relative folder is relative to where it was written: the file's folder, or the current one."""
    for path, given in layer.items():
        value = given.value
        if isinstance(value, dict) and path[-1] == "base":
            names = {k: _anchored_layout(v, folder) if isinstance(v, str) else v for k, v in value.items()}
            layer[path] = replace(given, value=names)
        if not isinstance(value, str) or not value.strip():
            continue
        named = path[-1] == "templates" and value.strip() not in ("version", "builtin")
        named |= path[-1] == "profile" and value.strip().endswith(".toml")
        if path in _FOLDERS or (len(path) == 3 and (path[-1] == "ca_file" or named)):
            layer[path] = replace(given, value=str(folder / Path(value.strip()).expanduser()))
        elif path[-1] in ("registry", "base") and len(path) == 3:
            layer[path] = replace(given, value=_anchored_layout(value, folder))
    return layer


def _anchored_layout(value: str, folder: Path) -> str:
    """``oci:DIR``, also behind ``3.11=``, with DIR relative to `folder`."""

    def absolute(found: re.Match[str]) -> str:
        return f"{found[1]}oci:{folder / Path(found[2].strip()).expanduser()}"

    return re.sub(r"((?:^|,)\s*(?:[0-9.]+\s*=\s*)?)oci:\s*([^\s,][^,]*)", absolute, value)


def nested(layer: Layer) -> dict[str, Any]:
    """The values as one document of tables."""
    document: dict[str, Any] = {}
    for path, given in sorted(layer.items(), key=lambda item: len(item[0])):
        table = document
        for step in path[:-1]:
            table = table.setdefault(step, {})
        table[path[-1]] = {} if given.value == {} else given.value  # a copy: it is filled here
    return document
