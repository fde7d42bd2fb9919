"""The files in which `docker login` and `podman login` leave credentials, or the names of those who keep them."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.errors import SettingsError
from publisher.oci.identity import BasicAuth, registry_host


@dataclass(frozen=True, slots=True)
class Source:
    """One place where credentials are kept. `entries` by ``host`` or ``host/namespace``, `helpers` by host.

    `store`: the helper for every other host. `origin` names the place to people.
    """

    entries: Mapping[str, BasicAuth] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str = ""
    origin: str = ""

    def helper(self, host: str) -> str:
        """The name of the helper that keeps the credentials for `host`; empty where none does."""
        return self.helpers.get(host, self.store)


def sources(environ: Mapping[str, str]) -> Iterator[Source]:
    """All that `environ` leads to, the first to be asked first. Raises SettingsError."""
    files = list(_files(environ))
    text = environ.get("DOCKER_AUTH_CONFIG", "")
    variable = [_read("DOCKER_AUTH_CONFIG", text.encode(), podman=False)] if text.strip() else []
    # Docker asks the variable first, but not in GitLab's CI, where it is set for every job, and a job that
    # logs in means its login: https://github.com/docker/cli/pull/6171
    yield from [*files, *variable] if environ.get("GITLAB_CI") == "true" else [*variable, *files]


def _files(environ: Mapping[str, str]) -> Iterator[Source]:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    explicit = environ.get("REGISTRY_AUTH_FILE")
    if explicit:
        yield from _file(Path(explicit), podman=True)
        return
    if environ.get("DOCKER_CONFIG"):
        yield from _file(Path(environ["DOCKER_CONFIG"]) / "config.json")
    elif home:
        yield from _file(Path(home) / ".docker" / "config.json")
    if environ.get("XDG_RUNTIME_DIR"):
        yield from _file(Path(environ["XDG_RUNTIME_DIR"]) / "containers" / "auth.json", podman=True)
    settings = environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    if settings:
        yield from _file(Path(settings) / "containers" / "auth.json", podman=True)


def _file(path: Path, *, podman: bool = False) -> Iterator[Source]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from None
    yield _read(str(path), content, podman=podman)


def _read(origin: str, content: bytes, *, podman: bool) -> Source:
    try:
        document = json.loads(content)
        entries = document.get("auths") or {}
        # A key that is a bare host is more exact than one with a scheme and a path: it comes last, and wins.
        keys = sorted(entries, key=lambda key: registry_host(key) == key.lower())
        found = {_place(key): _entry(key, entries[key]) for key in keys}
        helpers = {
            registry_host(key): _text(name, key) for key, name in (document.get("credHelpers") or {}).items()
        }
        store = _text(document.get("credsStore") or "", "credsStore")
    except _EntryError as error:
        raise SettingsError([f"{origin}: {error}"], hint="Log in again, or mend the file") from None
    except (ValueError, AttributeError, TypeError):
        # `from None`: the JSON error's own text and context hold the content
        raise SettingsError(
            [f"{origin} is not Docker's configuration in JSON"], hint="Mend or remove the file"
        ) from None
    known = {place: auth for place, auth in found.items() if place and auth}
    if not podman:
        known = {**_widened(known), **known}
    return Source(known, {host: name for host, name in helpers.items() if host}, store, origin)


def _widened(known: Mapping[str, BasicAuth]) -> dict[str, BasicAuth]:
    """`docker login host/namespace` is a login to the whole host for Docker; here where it is the only one."""
    by_host: dict[str, set[BasicAuth]] = {}
    for place, auth in known.items():
        by_host.setdefault(place.partition("/")[0], set()).add(auth)
    return {host: next(iter(auths)) for host, auths in by_host.items() if len(auths) == 1}


def _place(key: str) -> str | None:
    """``host`` or ``host/namespace`` of a key. A URL stands for its host, and so do the API's own paths."""
    host = registry_host(key)
    path = key.strip().partition("/")[2].strip("/")
    if host is None or "://" in key or path in ("", "v1", "v2"):
        return host
    return f"{host}/{path}"


class _EntryError(Exception):
    """An entry that cannot be read. Tells its key, never its value."""


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise _EntryError(f"the credential helper for {key} is not a name")
    return value


def _entry(key: str, entry: Any) -> BasicAuth | None:
    """None for an empty entry: `docker login` leaves ``{}`` where a credential helper keeps the secret."""
    if not isinstance(entry, dict):
        raise _EntryError(f"the entry for {key} is not an object")
    fields = {name: entry.get(name) or "" for name in ("username", "password", "auth", "identitytoken")}
    if not all(isinstance(value, str) for value in fields.values()):
        raise _EntryError(f"the entry for {key} holds something else than text")
    user, password = fields["username"], fields["password"]
    if fields["auth"]:
        try:
            text = base64.b64decode(fields["auth"], validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError):
            raise _EntryError(f"the entry for {key} has an auth that is not base64") from None
        user, colon, password = text.partition(":")
        if not colon:
            raise _EntryError(f"the entry for {key} has an auth that is not user:password")
    if not password and not fields["identitytoken"]:
        return None
    return BasicAuth(user, password, fields["identitytoken"])
