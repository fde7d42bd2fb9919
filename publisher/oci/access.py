"""How one registry is reached. Who we are there: credentials.py."""

from __future__ import annotations

from dataclasses import dataclass

from publisher.oci.retries import Retries


@dataclass(frozen=True, slots=True)
class Access:
    """`insecure`: plain HTTP, which loopback hosts get anyway. `timeout`: seconds without a byte from the registry.

    `realms`: hosts, beside those of the registry's own domain, whose token services may see its credentials.
    `certificates`: a file of authorities. `chunk_size`: bytes of a blob in one request, 0 for all.
    """

    insecure: bool = False
    timeout: float = 60.0
    retries: Retries = Retries()  # noqa: RUF009 - frozen
    realms: frozenset[str] = frozenset()
    certificates: str | None = None
    chunk_size: int = 0


PLAIN = Access()
