"""Where a registry is, and which other hosts are it or belong to it."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urljoin, urlsplit

from publisher.errors import RegistryError
from publisher.oci.answers import harmless


def is_loopback(host: str) -> bool:
    """Whether `host` (``name[:port]``) is this very machine, by its name alone: nothing is looked up."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def related(one: str, other: str) -> bool:
    """Whether two host names (no ports) are the same, or have a registrable domain in common.

    ``registry.gitlab.com`` and ``gitlab.com`` have. Two labels in common are enough, three where the last two
    look like a public suffix (``co.uk``). Addresses have nothing in common.
    """
    if one == other:
        return True
    labels, others = one.split(".")[::-1], other.split(".")[::-1]
    if labels[0].isdigit() or others[0].isdigit() or ":" in one + other:
        return False
    needed = 3 if len(labels) > 1 and len(labels[0]) == 2 and len(labels[1]) <= 3 else 2
    return len(labels) >= needed and labels[:needed] == others[:needed]


class Origin:
    """A registry's own scheme and host, and the `path` before its API; judges the URLs that it sends us to."""

    def __init__(self, host: str, api_host: str, *, insecure: bool, path: str = "") -> None:
        self.host = host
        self.plain = insecure or is_loopback(api_host)
        self.root = f"{'http' if self.plain else 'https'}://{api_host}"
        self.url = self.root + path
        self._own = urlsplit(self.url)

    @property
    def name(self) -> str:
        """The host without its port."""
        return self._own.hostname or ""

    def owns(self, url: str) -> bool:
        """Whether credentials for this registry may go to `url`."""
        parts = urlsplit(url)
        return (parts.scheme, parts.netloc) == (self._own.scheme, self._own.netloc)

    def locate(self, url: str, location: str) -> str:
        """The URL that a ``Location`` of the answer to `url` means; raises RegistryError where we do not go.

        Our own host under the wrong scheme is meant as our own: a registry behind a proxy that ends TLS
        does not know better.
        """
        try:
            target = urljoin(url, location)
        except ValueError:
            target = ""
        parts = self._parse(target)
        own = self._own
        if parts.hostname == own.hostname and (parts.port == own.port or _port(parts) == _port(own)):
            # So is a path that a proxy has stripped off before the registry saw it.
            lacks = parts.path.startswith("/v2/") and own.path
            path = own.path + parts.path if lacks else parts.path
            return parts._replace(scheme=own.scheme, netloc=own.netloc, path=path).geturl()
        self._check(parts, plain=self.plain)
        return target

    def realm(self, url: str) -> str:
        """The host (no port) of a token service; raises RegistryError where no token is asked for."""
        parts = self._parse(url)
        name = parts.hostname or ""
        self._check(parts, plain=is_loopback(parts.netloc) or (self.plain and name == self.name))
        return name

    def _parse(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            _port(parts)
        except ValueError:
            parts = SplitResult("", "", "", "", "")
        if not parts.hostname or parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise self._refused("something that is no web address", "")
        return parts

    def _check(self, parts: SplitResult, *, plain: bool) -> None:
        name = harmless(parts.hostname or "")
        if is_loopback(parts.netloc) and not is_loopback(self._own.netloc):
            raise self._refused(name, "which is this machine itself")
        if parts.scheme == "http" and not plain:
            raise self._refused(name, "without encryption")

    def _refused(self, name: str, why: str) -> RegistryError:
        return RegistryError(
            f"the registry {self.host} sends us to {name} {why}".rstrip() + ": not followed",
            hint="Ask whoever runs the registry; this may be an attack",
        )


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)
