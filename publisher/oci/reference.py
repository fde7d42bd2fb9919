"""Image references: ``registry/repository[:tag][@digest]`` (distribution-spec, "Pulling manifests")."""

from __future__ import annotations

import re
from dataclasses import dataclass

DOCKER_HUB = "registry-1.docker.io"
_HOST = r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?|\[[0-9a-f:]+\](?::[0-9]{1,5})?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_PATH}(?:/{_PATH})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_WHOLE = re.compile(rf"(?P<repository>{_REPOSITORY})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository in a registry. `host` may carry a port."""

    host: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference. Without tag and digest, `tag` is ``latest``, as everywhere."""

    repository: Repository
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises ValueError. A name without a host is Docker Hub's, as docker reads it."""
        host, slash, rest = text.partition("/")
        if not slash or not ("." in host or ":" in host or host == "localhost"):
            host, rest = "docker.io", text
        match = _WHOLE.fullmatch(rest)
        if not re.fullmatch(_HOST, host) or not match or len(match["repository"]) > 255:
            raise ValueError(f"{text!r} is not an image reference such as registry.example.org/team/model:v1")
        name = match["repository"]
        if host in ("docker.io", "index.docker.io"):
            host = "docker.io"
            name = name if "/" in name else f"library/{name}"
        tag = match["tag"] or (None if match["digest"] else "latest")
        return cls(Repository(host, name), tag, match["digest"])

    @property
    def name(self) -> str:
        """What a manifest is asked for by: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"


def api_host(host: str) -> str:
    """The host that speaks the registry protocol: Docker Hub's differs from its name."""
    return DOCKER_HUB if host == "docker.io" else host


def is_tag(text: str) -> bool:
    return re.fullmatch(_TAG, text) is not None


def is_digest(text: str) -> bool:
    return re.fullmatch(_DIGEST, text) is not None
