"""The registries.conf of one build: the user's own, and over it the mirrors and plain registries of our settings.

containers-registries.conf(5), version 2. Files in a ``registries.conf.d`` are read after it, by the tool itself.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from publisher.builders.reach import Reach
from publisher.errors import EngineError

_SYSTEM = Path("/etc/containers/registries.conf")


def merged(reach: Reach, references: Sequence[str], environment: Mapping[str, str]) -> str:
    """The file's content for a build that needs the images or repositories `references`.

    A name without a registry is Docker Hub's, as in every Dockerfile. Raises EngineError where the user's file
    cannot be read.
    """
    document = _own(environment)
    document["unqualified-search-registries"] = ["docker.io"]
    document["short-name-mode"] = (
        "permissive"  # without a terminal "enforcing" refuses what it cannot ask about
    )
    known = list(document.get("registry") or [])
    for host in reach.hosts(references):
        mirror = reach.mirrors.get(host)
        if not mirror and not reach.is_plain(host):
            continue
        entry = next((each for each in known if each.get("prefix", each.get("location")) == host), None)
        if entry is None:
            known.append(entry := {"location": host})
        if reach.is_plain(host):
            entry["insecure"] = True
        if mirror:
            others = [each for each in entry.get("mirror") or [] if each.get("location") != mirror]
            entry["mirror"] = [{"location": mirror, "insecure": reach.is_plain(mirror)}, *others]
    document["registry"] = known
    return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in document.items())


def _own(environment: Mapping[str, str]) -> dict[str, Any]:
    """The file that the tool would read: the one that is named, the user's, the machine's."""
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '')}/.config"
    named = environment.get("CONTAINERS_REGISTRIES_CONF")
    for path in [Path(named)] if named else [Path(home, "containers/registries.conf"), _SYSTEM]:
        try:
            return tomllib.loads(path.read_text())
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise EngineError(f"{path} cannot be read: {error}") from error
    return {}


def _toml(value: object) -> str:
    """A value as TOML writes it on one line: a string of JSON is one of TOML, too."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {_toml(each)}' for key, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)
