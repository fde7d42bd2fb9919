"""Who we are to one registry, and under which names registries are known."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Identity:
    """Who we are in some repositories. `fault`: why nothing is known, where something should be.

    `ask` gets the credentials anew, None where they are fixed.
    """

    auth: BasicAuth | None = None
    fault: str = ""
    ask: Callable[[], BasicAuth | None] | None = None

    def renew(self) -> bool:
        """Ask again, because a registry refuses what we have: whether there is now something else."""
        found = self.ask() if self.ask else None
        changed = found is not None and found != self.auth
        if changed:
            self.auth = found
        return changed


def registry_host(text: str) -> str | None:
    """``name[:port]``, in lower case, of a host, a prefix or a URL; None where there is no such thing.

    Text with user information (``a@b``) has no host: which of the two was meant is not ours to guess.
    """
    _, scheme, rest = text.strip().partition("://")
    host = (rest if scheme else text.strip()).partition("/")[0].lower()
    if not _HOST.fullmatch(host):
        return None
    return "docker.io" if host in _DOCKER_HUB else host


def places(host: str, name: str) -> Iterator[str]:
    """The keys under which credentials for a repository may be kept, the most exact first, the host last."""
    parts = [host, *filter(None, name.split("/"))]
    for end in range(len(parts), 0, -1):
        yield "/".join(parts[:end])
