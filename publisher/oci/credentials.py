"""Who we are to each registry. Credentials are bound to a host, and leave this module for that host only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from publisher.errors import SettingsError
from publisher.oci import credential_helpers as helpers
from publisher.oci.docker_config import Source, sources
from publisher.oci.identity import BasicAuth, Identity, places, registry_host
from publisher.oci.reference import Reference

__all__ = ["BasicAuth", "Credentials"]


class Credentials:
    """By ``host``, as `registry_host` normalises it, or ``host/namespace``. Safe for several threads.

    Helpers are programs that take their time: one is asked when a repository of its host is first used.
    """

    def __init__(
        self,
        known: Mapping[str, BasicAuth] | None = None,
        more: Sequence[Source] = (),
        environ: Mapping[str, str] | None = None,
        learned: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._sources = (Source(dict(known or {})), *more)
        self._environ = dict(environ or {})
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], Identity] = {}
        self._learned = learned
        self._told: set[BasicAuth] = set()
        for source in self._sources:
            self._tell(*source.entries.values())

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str],
        registry_hosts: Sequence[str] = (),
        learned: Callable[[str], object] = lambda _: None,
    ) -> Credentials:
        """From `environ` and the files of Docker and podman; `registry_hosts` are those that the settings name.

        REGISTRY_USER and REGISTRY_TOKEN belong to the host of REGISTRY_URL or, without it, to the only host
        of `registry_hosts`. They win over the files. `learned` hears each secret as soon as it is known.
        Raises SettingsError.
        """
        return cls(_environment(environ, registry_hosts), list(sources(environ)), environ, learned)

    def identity(self, host: str, name: str = "") -> Identity:
        """Who we are in the repository `name` of `host` (``name[:port]``), and to no other host."""
        host = registry_host(host) or host
        faults: list[str] = []
        for source in self._sources:
            helper = source.helper(host)
            for place in places(host, name):
                if place == host and helper:
                    found = self._from(helper, host)
                    if found.auth:
                        return found
                    faults += [found.fault] if found.fault else []
                if place in source.entries:
                    return Identity(source.entries[place])
        return Identity(fault="; ".join(dict.fromkeys(faults)))

    def secrets(self) -> frozenset[str]:
        """All forms of all secrets that are known by now, for a log's redaction."""
        return frozenset(secret for auth in frozenset(self._told) for secret in auth.secrets())

    def _tell(self, *found: BasicAuth) -> None:
        self._told.update(found)
        for auth in found:
            for secret in filter(None, (auth.password, auth.identity_token)):
                self._learned(secret)

    def _from(self, helper: str, host: str) -> Identity:
        """Asked once for each host, and answered to all."""

        def ask() -> BasicAuth | None:
            found = helpers.ask(helper, host, self._environ)
            if found:
                self._tell(found)
            return found

        def again() -> BasicAuth | None:
            with suppress(helpers.HelperError):
                return ask()
            return None

        with self._lock:
            if (helper, host) not in self._asked:
                try:
                    made = Identity(ask(), ask=again)
                except helpers.HelperError as error:
                    # No fault yet: what is public is read without credentials, as everybody may.
                    made = Identity(fault=str(error))
                self._asked[helper, host] = made
            return self._asked[helper, host]


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


def docker_accounts(credentials: Credentials, references: Sequence[str]) -> dict[str, dict[str, str]]:
    """The entries of a Docker config.json's "auths" for the repositories that `references` name, and no others.

    https://docs.docker.com/reference/cli/docker/login/ tells of the file; Docker Hub has a name of its own there.
    """
    found: dict[str, dict[str, str]] = {}
    for text in references:
        try:
            repository = Reference.parse(text).repository
        except ValueError:
            continue
        auth = credentials.identity(repository.host, repository.name).auth
        if auth is None:
            continue
        host = "https://index.docker.io/v1/" if repository.host == "docker.io" else repository.host
        found[host] = {"auth": auth.header().removeprefix("Basic ")}
        if auth.identity_token:
            found[host] |= {"identitytoken": auth.identity_token}
    return found
