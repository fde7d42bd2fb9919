"""How one registry is reached. Who we are there: credentials.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from publisher.domain import Target
from publisher.errors import SettingsError
from publisher.oci.certificates import FOLDERS
from publisher.oci.reference import Reference
from publisher.oci.retries import Retries


@dataclass(frozen=True, slots=True)
class Access:
    """`insecure`: plain HTTP, which loopback hosts get anyway. `timeout`: seconds without a byte from the registry.

    `realms`: hosts, beside those of the registry's own domain, whose token services may see its credentials.
    `ca_file`: authorities that are trusted beside the usual ones, `certificates`: folders as Docker's certs.d.
    `chunk_size`: bytes of a blob in one request, 0 for all. `api_path`: what stands before ``/v2/``.
    """

    insecure: bool = False
    timeout: float = 60.0
    retries: Retries = Retries()  # noqa: RUF009 - frozen
    realms: frozenset[str] = frozenset()
    ca_file: Path | None = None
    certificates: tuple[str, ...] = FOLDERS
    chunk_size: int = 0
    api_path: str = ""


PLAIN = Access()


def of_targets(targets: Iterable[Target]) -> dict[str, Access]:
    """By host. Targets in one registry need not repeat a setting; raises SettingsError where they disagree."""
    found: dict[str, Access] = {}
    for target in targets:
        if target.layout_folder is not None:
            continue
        host = Reference.parse(f"{target.registry}/x").repository.host
        said = Access(
            insecure=target.insecure,
            realms=frozenset(target.token_realms),
            ca_file=target.ca_file,
            chunk_size=target.chunk_size or 0,
            api_path=target.api_path,
        )
        found[host] = _merged(host, found.get(host, PLAIN), said)
    return found


def _merged(host: str, one: Access, other: Access) -> Access:
    given = {
        field.name: getattr(other, field.name)
        for field in fields(Access)
        if getattr(other, field.name) != getattr(PLAIN, field.name)
    }
    given["realms"] = one.realms | other.realms
    for name in ("ca_file", "chunk_size", "api_path"):
        before = getattr(one, name)
        if name in given and before not in (getattr(PLAIN, name), given[name]):
            raise SettingsError(
                [f"two targets in {host} have another {name}: {before} and {given[name]}"],
                hint="How a registry is reached is the same for all of it: give both the same",
            )
    return replace(one, **given)
