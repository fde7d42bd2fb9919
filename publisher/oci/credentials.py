"""Who we are to each registry. Credentials are bound to a host, and leave this module for that host only."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.errors import SettingsError

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
# `docker login` writes https://index.docker.io/v1/; images are named docker.io; registry-1 answers.
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """A user name with a password, or with an identity token that buys access tokens (OAuth 2 refresh)."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def header(self) -> str:
        """The value of an ``Authorization`` header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def secrets(self) -> Iterator[str]:
        """Every form in which a secret of this could turn up in a text."""
        for secret in (self.password, self.identity_token):
            if secret:
                yield secret
                yield base64.b64encode(secret.encode()).decode()
        if self.password:
            yield self.header().removeprefix("Basic ")


@dataclass(frozen=True, slots=True)
class Credentials:
    """By host, as `registry_host` normalises it."""

    by_host: Mapping[str, BasicAuth] = field(default_factory=dict)

    @classmethod
    def load(cls, environ: Mapping[str, str], registry_hosts: Sequence[str] = ()) -> Credentials:
        """From `environ` and Docker's config.json; `registry_hosts` are those that the settings name.

        REGISTRY_USER and REGISTRY_TOKEN belong to the host of REGISTRY_URL or, without it, to the only host
        of `registry_hosts`. They win over config.json. Raises SettingsError, with every fault.
        """
        # Later sources win. Credential helpers (credHelpers, credsStore) would be one more source, first.
        sources = (_docker_config(environ), _environment(environ, registry_hosts))
        return cls({host: auth for source in sources for host, auth in source.items()})

    def for_host(self, host: str) -> BasicAuth | None:
        """What to show to `host` (``name[:port]``), None where nothing is known for exactly that host."""
        return self.by_host.get(registry_host(host) or host)

    def secrets(self) -> frozenset[str]:
        """All forms of all secrets, for a log's redaction."""
        return frozenset(secret for auth in self.by_host.values() for secret in auth.secrets())


def registry_host(text: str) -> str | None:
    """``name[:port]``, in lower case, of a host, a prefix or a URL; None where there is no such thing.

    Text with user information (``a@b``) has no host: which of the two was meant is not ours to guess.
    """
    _, scheme, rest = text.strip().partition("://")
    host = (rest if scheme else text.strip()).partition("/")[0].lower()
    if not _HOST.fullmatch(host):
        return None
    return "docker.io" if host in _DOCKER_HUB else host


def _environment(environ: Mapping[str, str], registry_hosts: Sequence[str]) -> dict[str, BasicAuth]:
    user, token = environ.get("REGISTRY_USER", ""), environ.get("REGISTRY_TOKEN", "")
    if not user and not token:
        return {}
    if not user or not token:
        given, missing = ("REGISTRY_USER", "REGISTRY_TOKEN") if user else ("REGISTRY_TOKEN", "REGISTRY_USER")
        raise SettingsError([f"{given} is set, {missing} is not"], hint="Set both, or neither")
    url = environ.get("REGISTRY_URL", "")
    if url.startswith("oci:"):
        return {}
    if url:
        host = registry_host(url)
        if host is None:  # the value is not told: it may carry a password
            raise SettingsError(
                ["REGISTRY_URL does not start with a registry's host"],
                hint="Write it as registry.example.org/prefix, without user and password",
            )
        return {host: BasicAuth(user, token)}
    hosts = {found for text in registry_hosts if (found := registry_host(text))}
    if len(hosts) > 1:
        raise SettingsError(
            [f"REGISTRY_USER and REGISTRY_TOKEN do not say whose they are: {', '.join(sorted(hosts))}"],
            hint="Set REGISTRY_URL to their registry, and keep the others' in Docker's config.json",
        )
    return {host: BasicAuth(user, token) for host in hosts}


def _docker_config(environ: Mapping[str, str]) -> dict[str, BasicAuth]:
    home = environ.get("HOME") or environ.get("USERPROFILE")
    if environ.get("DOCKER_CONFIG"):
        path = Path(environ["DOCKER_CONFIG"]) / "config.json"
    elif home:
        path = Path(home) / ".docker" / "config.json"
    else:
        return {}
    try:
        document = json.loads(path.read_bytes())
        entries = document.get("auths") or {}
        # A key that is a bare host is more exact than one with a scheme and a path: it comes last, and wins.
        keys = sorted(entries, key=lambda key: registry_host(key) == key.lower())
        found = {registry_host(key): _entry(key, entries[key]) for key in keys}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError([f"{path} cannot be read: {error.strerror}"]) from None
    except _EntryError as error:
        raise SettingsError([f"{path}: {error}"], hint="Log in again, or mend the file") from None
    except (ValueError, AttributeError, TypeError):
        # `from None`: the JSON error's own text and context hold the content
        raise SettingsError(
            [f"{path} is not Docker's configuration in JSON"], hint="Mend or remove the file"
        ) from None
    return {host: auth for host, auth in found.items() if host and auth}


class _EntryError(Exception):
    """An entry of `auths` that cannot be read. Tells its key, never its value."""


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
