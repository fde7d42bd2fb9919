"""How engines reach the registries that a Dockerfile names: which have mirrors, and which speak plain HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from publisher.oci import certificates
from publisher.oci.hosts import is_loopback
from publisher.oci.reference import Reference, Repository


@dataclass(frozen=True, slots=True)
class Reach:
    """`mirrors`: by host, the host that has its images too, and is asked first. `plain`: hosts without TLS.

    `ca_files`: by host, a file of authorities that the settings name.
    """

    mirrors: Mapping[str, str] = field(default_factory=dict)
    plain: Set[str] = frozenset()
    ca_files: Mapping[str, Path] = field(default_factory=dict)

    def is_plain(self, host: str) -> bool:
        """Whether `host` is spoken to without TLS; those of this machine are."""
        return host in self.plain or is_loopback(host)

    def authorities(self, host: str) -> tuple[Path, ...]:
        """The files of authorities, in PEM, that `host` is believed by beside the usual ones."""
        return certificates.find(host, self.ca_files.get(host)).authorities

    def hosts(self, references: Iterable[str]) -> list[str]:
        """The registries of some image references, and their mirrors; what is no reference has none."""
        found: dict[str, None] = {}
        for text in references:
            try:
                host = Reference.parse(text).repository.host
            except ValueError:
                continue
            found[host] = None
            if host in self.mirrors:
                found[self.mirrors[host]] = None
        return list(found)

    def mirrored(self, text: str) -> Reference | None:
        """The image that `text` names, at the mirror of its registry; None where there is no mirror."""
        try:
            found = Reference.parse(text)
        except ValueError:
            return None
        mirror = self.mirrors.get(found.repository.host)
        return replace(found, repository=Repository(mirror, found.repository.name)) if mirror else None
