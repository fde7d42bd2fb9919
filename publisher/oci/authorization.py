"""What a registry's challenge asks for, and the header that answers it (distribution's "token" documents)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import requests
import urllib3

from publisher.errors import AuthenticationError, RegistryError
from publisher.oci import paced
from publisher.oci.answers import discard, harmless, refusal, unreachable
from publisher.oci.connections import exchange
from publisher.oci.hosts import Origin, related
from publisher.oci.identity import Identity
from publisher.oci.layout import decode

Scopes = tuple[str, ...]  # such as ("repository:team/model:pull,push",)

_PART = re.compile(
    r"[\s,]*(?:(?P<key>[\w-]+)\s*=\s*(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<bare>[^\s,\"]+))"
    r"|(?P<scheme>[A-Za-z][\w-]*)(?=[\s,]|$))"
)
_TOKEN_SECONDS = 30.0  # to wait for a token service
_LONGEST = 1 << 20  # bytes of its answer
_RENEWAL_SECONDS = 30.0  # between two renewals of credentials: what is refused when new is refused for good


def challenges(header: str) -> dict[str, dict[str, str]]:
    """``WWW-Authenticate`` by scheme, in lower case. What cannot be read ends it."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    position = 0
    while match := _PART.match(header, position):
        position = match.end()
        if match["scheme"]:
            current = found.setdefault(match["scheme"].lower(), {})
        else:
            value = match["bare"] if match["quoted"] is None else re.sub(r"\\(.)", r"\1", match["quoted"])
            current[match["key"].lower()] = value
    return found


class _RefusedError(Exception):
    """A token service does not take our credentials."""

    def __init__(self, fault: AuthenticationError) -> None:
        super().__init__()
        self.fault = fault


class Authorization:
    """The ``Authorization`` headers for one registry. Tokens are kept by scope; safe for several threads.

    `realms`: hosts, beside those of the registry's own domain, whose token services may see its credentials.
    """

    def __init__(
        self, origin: Origin, identity: Identity, session: requests.Session, realms: frozenset[str]
    ) -> None:
        self._origin = origin
        self._identity = identity
        self._secrets = set(identity.auth.secrets() if identity.auth else ())
        self._renewed = float("-inf")
        self._session = session
        self._realms = realms
        self._lock = threading.Lock()
        self._basic = False
        self._bearer: Mapping[str, str] | None = None
        self._asked: dict[Scopes, Scopes] = {}
        self._tokens: dict[Scopes, tuple[str, float]] = {}

    def header(self, scopes: Scopes) -> str | None:
        """What to send now; None until the registry has challenged us. Raises AuthenticationError."""
        with self._lock:
            if self._basic and self._identity.auth:
                return self._identity.auth.header()
            return f"Bearer {self._token(self._bearer, scopes)}" if self._bearer else None

    def learn(self, response: requests.Response, scopes: Scopes, sent: str | None, what: str) -> None:
        """Take in a 401 to a request with the header `sent`; raises AuthenticationError if nothing can help."""
        offered = challenges(response.headers.get("WWW-Authenticate", ""))
        with self._lock:
            if "bearer" in offered and "realm" in offered["bearer"]:
                self._basic, self._bearer = False, offered["bearer"]
                # A token that another thread has renewed meanwhile stays.
                if scopes in self._tokens and sent == f"Bearer {self._tokens[scopes][0]}":
                    del self._tokens[scopes]
                mine = {scope.rpartition(":")[0] for scope in scopes}
                more = self._bearer.get("scope", "").split()
                self._asked[scopes] = scopes + tuple(s for s in more if s.rpartition(":")[0] not in mine)
                discard(response)
                return
            auth = self._identity.auth
            if "basic" in offered and auth and auth.password and (sent != auth.header() or self._renew()):
                self._basic = True
                discard(response)
                return
        raise self._rejected(response, what)

    def redact(self, text: str) -> str:
        """`text` without any secret of ours, in case a registry echoes what it was sent."""
        secrets = self._secrets | {token for token, _ in list(self._tokens.values())}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _rejected(self, response: requests.Response, what: str) -> AuthenticationError:
        host = self._origin.host
        discard(response)
        auth, fault = self._identity.auth, self._identity.fault
        if auth is None and fault:
            return AuthenticationError(
                f"the registry {host} asks for credentials for {what}, and {fault}",
                hint="Mend or install that helper, or set REGISTRY_URL, REGISTRY_USER and REGISTRY_TOKEN",
                status=401,
            )
        if auth is None:
            return AuthenticationError(
                f"the registry {host} asks for credentials for {what}, and none are known for it",
                hint="Set REGISTRY_URL, REGISTRY_USER and REGISTRY_TOKEN, or run `docker login`",
                status=401,
            )
        return AuthenticationError(
            f"the registry {host} does not accept our credentials (user {auth.username})",
            hint="Check REGISTRY_USER and REGISTRY_TOKEN, or `docker login` again",
            status=401,
        )

    def _token(self, bearer: Mapping[str, str], scopes: Scopes) -> str:
        known = self._tokens.get(scopes)
        if known and time.monotonic() < known[1]:
            return known[0]
        document = self._bought(bearer, self._asked.get(scopes, scopes))
        token = document.get("token") or document.get("access_token")
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise RegistryError(f"the token service of the registry {self._origin.host} gives no token")
        lasts = document.get("expires_in")
        seconds = float(lasts) if isinstance(lasts, (int, float)) and lasts > 0 else 60.0
        self._tokens[scopes] = (token, time.monotonic() + seconds * 0.8)
        return token

    def _bought(self, bearer: Mapping[str, str], scopes: Scopes) -> dict[str, Any]:
        try:
            document = self._fetch(bearer, scopes)
        except _RefusedError as refused:
            if not self._renew():
                raise refused.fault from None
            try:
                document = self._fetch(bearer, scopes)
            except _RefusedError as again:
                raise again.fault from None
        # Some services take an identity token once, and give the next one with the answer.
        following, auth = document.get("refresh_token"), self._identity.auth
        if auth and auth.identity_token and isinstance(following, str) and following:
            self._identity.auth = replace(auth, identity_token=following)
            self._secrets.update(self._identity.auth.secrets())
        return document

    def _renew(self) -> bool:
        """New credentials of a helper, where what it gave before is refused: theirs expire too."""
        if time.monotonic() - self._renewed < _RENEWAL_SECONDS or not self._identity.renew():
            return False
        self._renewed = time.monotonic()
        self._secrets.update(self._identity.auth.secrets() if self._identity.auth else ())
        return True

    def _fetch(self, bearer: Mapping[str, str], scopes: Scopes) -> dict[str, Any]:
        realm, auth = bearer["realm"], self._identity.auth
        name = self._origin.realm(realm)
        if auth and not (related(name, self._origin.name) or name in self._realms):
            raise AuthenticationError(
                f"the registry {self._origin.host} asks to send its credentials to {harmless(name)}: not done",
                hint=f'If {harmless(name)} is its token service, allow it: token_realms = ["{harmless(name)}"]',
            )
        query: dict[str, Any] = {"scope": list(scopes)}
        if "service" in bearer:
            query["service"] = bearer["service"]
        try:
            if auth and auth.identity_token:
                form = {"grant_type": "refresh_token", "refresh_token": auth.identity_token}
                query |= {"scope": " ".join(scopes), "client_id": "model-publisher"}
                response = self._ask("POST", realm, data=query | form)
            else:
                headers = {"Authorization": auth.header()} if auth else {}
                response = self._ask("GET", realm, params=query, headers=headers)
            if response.status_code in (400, 401, 403):
                raise _RefusedError(self._rejected(response, "a token"))
            if response.status_code != 200:
                raise refusal(self._origin.host, "giving us a token", response, self.redact)
            with response:
                document = decode(paced.read(response.raw, _LONGEST))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(name, error) from None
        except ValueError:
            document = None
        return document if isinstance(document, dict) else {}

    def _ask(self, method: str, url: str, **more: Any) -> requests.Response:
        # No redirect is followed: credentials went to the host that was judged, and to no other.
        return exchange(self._session, method, url, seconds=_TOKEN_SECONDS, **more)
