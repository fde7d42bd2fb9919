"""Small files of a model's folder that people write by hand: text, YAML, TOML; each fault names the file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

from publisher.environments import documents
from publisher.errors import RequirementsError

_LIMIT = 1 << 20  # bytes of a file that people write by hand
_LOCK_LIMIT = 32 << 20  # a uv.lock of a large project has some MB


def text(path: Path, limit: int = _LIMIT) -> str | None:
    """The file's text, None where there is none. Raises RequirementsError: too large, not UTF-8, not readable."""
    try:
        if path.stat().st_size > limit:
            raise RequirementsError(f"{path.name} is larger than {limit >> 20} MiB")
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, OSError) as error:
        raise RequirementsError(f"{path.name} cannot be read: {error}") from error


def yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; empty where there is no file. Raises RequirementsError."""
    found = text(path)
    if found is None:
        return {}
    try:
        data = documents.load(found)
    except (yaml.YAMLError, ValueError) as error:
        raise RequirementsError(
            f"{path.name} is not YAML that can be used: {' '.join(str(error).split())[:200]}"
        ) from error
    if not isinstance(data, dict):
        raise RequirementsError(f"{path.name} holds a {type(data).__name__} where a mapping belongs")
    return data


def toml_mapping(path: Path) -> dict[str, Any] | None:
    """The document of a TOML file, None where there is none. Raises RequirementsError."""
    found = text(path, _LOCK_LIMIT)
    if found is None:
        return None
    try:
        return tomllib.loads(found)
    except (ValueError, RecursionError) as error:
        raise RequirementsError(f"{path.name} is not TOML: {error}") from error


def strings(mapping: dict[str, Any], key: str, name: str) -> list[str]:
    """The list of strings at `key` of the file `name`; raises RequirementsError where it is another thing."""
    value = mapping.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequirementsError(f"{name}: {key} is not a list of strings")
    return value
