"""Requests to one registry: its scheme, our credentials and no other host's, redirects, retries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar

import requests

from publisher.errors import RegistryError
from publisher.oci import certificates
from publisher.oci.access import Access
from publisher.oci.answers import discard, is_page, refusal, unreachable
from publisher.oci.authorization import Authorization, Scopes
from publisher.oci.connections import exchange, session
from publisher.oci.credentials import Credentials
from publisher.oci.hosts import Origin
from publisher.oci.identity import BasicAuth
from publisher.oci.reference import api_host
from publisher.oci.retries import AgainError

T = TypeVar("T")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HOPS = 5
# Docker Hub keeps its token service under another name than its registry.
_REALMS: Mapping[str, frozenset[str]] = {"docker.io": frozenset({"auth.docker.io"})}


class Body(Protocol):
    """What requests streams: its length is the Content-Length."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterable[bytes]: ...

    def read(self, amount: int = -1) -> bytes: ...


class Transport:
    """Safe for several threads."""

    def __init__(self, host: str, credentials: Credentials, access: Access) -> None:
        self.host = host
        self.origin = Origin(host, api_host(host), insecure=access.insecure, path=access.api_path)
        self._timeout = access.timeout
        self._retries = access.retries
        self._session = session(
            self.origin.root, certificates.find(host, access.ca_file, access.certificates)
        )
        self._credentials = credentials
        self._realms = access.realms | _REALMS.get(host, frozenset())
        self._authorizations: dict[tuple[BasicAuth | None, str], Authorization] = {}
        self._lock = threading.Lock()
        self._answered = False
        self._not_before = 0.0

    def patiently(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it raises no AgainError, within the bounds of our retries.

        A registry that asks for patience gets it from all threads.
        """

        def polite() -> T:
            time.sleep(max(0.0, self._not_before - time.monotonic()))
            try:
                return attempt()
            except AgainError as again:
                if again.after and again.after <= self._retries.longest_asked:
                    self._not_before = max(self._not_before, time.monotonic() + again.after)
                raise

        return self._retries.run(polite, answered=lambda: self._answered)

    def request(
        self,
        method: str,
        url: str,
        *,
        what: str,
        scopes: Scopes,
        ok: Iterable[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body | bytes] | None = None,
        seconds: float | None = None,
    ) -> requests.Response:
        """One request, with a status of `ok`; the caller reads and closes the response.

        `url` may be a path below the registry. `what` completes "the registry refuses ...". `body` is called
        for each time that the body is sent. Raises RegistryError and its kin, AgainError.
        """
        url = url if "://" in url else self.origin.url + url
        challenged = False
        authorization = self._authorization(scopes)
        for _ in range(_HOPS):
            own = self.origin.owns(url)
            sent = authorization.header(scopes) if own else None
            response = self._send(method, url, {**(headers or {}), **_header(sent)}, body, seconds)
            if response.status_code in ok and not _stray(method, response):
                return response
            # A second 401 to a password is about the password; to a fresh token, about what we may do.
            if response.status_code == 401 and own and (not challenged or (sent or "").startswith("Basic ")):
                challenged = True
                authorization.learn(response, scopes, sent, what)
            elif response.status_code in _REDIRECTS and "Location" in response.headers:
                discard(response)
                url = self.origin.locate(url, response.headers["Location"])
            else:
                raise refusal(self.host, what, response, authorization.redact)
        raise RegistryError(f"the registry {self.host} redirects {what} without end")

    def _authorization(self, scopes: Scopes) -> Authorization:
        """Of the repository that the first scope is about: namespaces may have credentials of their own."""
        name = scopes[0].split(":")[1] if scopes else ""
        identity = self._credentials.identity(self.host, name)
        with self._lock:
            known = self._authorizations.get((identity.auth, identity.fault))
            if known is None:
                known = Authorization(self.origin, identity, self._session, self._realms)
                self._authorizations[identity.auth, identity.fault] = known
            return known

    def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Callable[[], Body | bytes] | None,
        seconds: float | None,
    ) -> requests.Response:
        try:
            response = exchange(
                self._session,
                method,
                url,
                headers=headers,
                data=body() if body else None,
                seconds=max(self._timeout, seconds or 0.0),
            )
        except (requests.RequestException, UnicodeError) as error:
            raise unreachable(self.host, error) from None
        self._answered = True
        return response


def _stray(method: str, response: requests.Response) -> bool:
    """Whether a web server answers, such as a network's login page, where a yes or "absent" would be believed."""
    believed = response.ok or (response.status_code == 404 and method in ("GET", "DELETE"))
    return believed and is_page(response)


def _header(sent: str | None) -> dict[str, str]:
    return {"Authorization": sent} if sent else {}
