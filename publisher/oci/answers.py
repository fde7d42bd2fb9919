"""What a registry's answers mean to the user: one error with the registry's own words, made harmless."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

import requests
import urllib3

from publisher.errors import AuthenticationError, RegistryError, RegistryUnavailableError
from publisher.oci import paced
from publisher.oci.layout import decode
from publisher.oci.retries import TRANSIENT, AgainError, retry_after

_LONGEST = 2048  # bytes of an error's body that are read, and characters that are told
_URL = re.compile(r"(https?://)(?:[^\s/@\"'<>]*@)?([^\s?\"'<>]+)(\?[^\s\"'<>]*)?")


_TUNNEL = re.compile(r"Tunnel connection failed: (4\d\d|5\d\d)")
# Of the URLs that are asked for, only a proxy's was not looked at before.
_NO_PROXY_URL = (
    requests.exceptions.InvalidProxyURL,
    urllib3.exceptions.LocationParseError,
    urllib3.exceptions.ProxySchemeUnknown,
)
# OpenSSL's X509_V_ERR_…: unable to get (local) issuer, self-signed, self-signed in the chain, first unverified.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
_PROXY_HINT = "Check HTTPS_PROXY (http://user:password@host:port), HTTP_PROXY and NO_PROXY"
_LATER = "It was asked several times; try again later"


@dataclass(frozen=True, slots=True)
class Answer:
    """A refusal: the codes of distribution-spec ("Error codes"), and the text for people."""

    status: int
    codes: tuple[str, ...]
    text: str
    html: bool


def read_answer(response: requests.Response) -> Answer:
    """Read at most 2 KB of the body, and be done with the response."""
    try:
        body = paced.read(response.raw, _LONGEST, decode=True)
    except (urllib3.exceptions.HTTPError, OSError):
        body = b""
    discard(response)
    html = is_page(response)
    text = body.decode("utf-8", "replace")
    codes: list[str] = []
    try:
        errors = decode(text)["errors"]
        codes = [str(error["code"]) for error in errors]
        text = "; ".join(f"{error['code']}: {error.get('message') or ''}".rstrip(": ") for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        if html:
            text = ""
    text = text or f"{response.status_code} {response.reason}"
    return Answer(response.status_code, tuple(codes), harmless(text), html)


def is_page(response: requests.Response) -> bool:
    """Whether the answer is meant for a browser."""
    return response.headers.get("Content-Type", "").lower().startswith("text/html")


def discard(response: requests.Response) -> None:
    """Read what little may be left, so that the connection can be used again; else close it."""
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
        paced.read(response.raw, _LONGEST, decode=True)  # as it was read before, if it was
    response.close()


def harmless(text: str) -> str:
    """One line; no control characters; no query strings, which carry signatures, and no users in URLs."""
    text = "".join(char if char.isprintable() else " " for char in text)
    text = _URL.sub(lambda url: url[1] + url[2] + ("?..." if url[3] else ""), text)
    return " ".join(text.split())[:_LONGEST]


def refusal(
    host: str, what: str, response: requests.Response, redact: Callable[[str], str]
) -> RegistryError | AgainError:
    """The error for an answer that says no to `what` (``pushing to team/model``)."""
    answer = read_answer(response)
    status, text = answer.status, redact(answer.text)
    if status == 407:
        return _turned_away(host, status)
    if status in TRANSIENT:
        after = retry_after(response.headers.get("Retry-After"))
        fault = RegistryUnavailableError(
            f"the registry {host} {'limits how often we may ask' if status == 429 else 'fails'} while {what}: {text}",
            hint=f"It asks us to wait for {after:.0f} seconds" if after else _LATER,
            status=status,
        )
        return AgainError(fault, after=after)
    if status in (401, 403) or "DENIED" in answer.codes:
        return AuthenticationError(
            f"the registry {host} refuses {what}: {text}",
            hint="Check that our user may do this: REGISTRY_USER and REGISTRY_TOKEN, or `docker login`",
            status=status,
        )
    if answer.html:
        return RegistryError(
            f"{host} does not speak the registry protocol: it answers {status} with a web page",
            hint="Check the registry's host and port; the login page of a network or proxy answers like this too",
            status=status,
        )
    hint = ""
    if "NAME_UNKNOWN" in answer.codes:
        hint = "On this registry the repository must exist first: create it"
    elif status == 413:
        hint = "The registry, or a proxy before it, limits the size of a request: raise that limit"
    return RegistryError(
        f"the registry {host} says no to {what}: {text}",
        hint=hint,
        detail=" ".join(answer.codes),
        status=status,
    )


def unreachable(host: str, error: Exception) -> RegistryError | AgainError:
    """The error for a request that got no answer."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _untrusted(host, cause)
    if any("CERTIFICATE_REQUIRED" in str(cause) or "BAD_CERTIFICATE" in str(cause) for cause in causes):
        return RegistryError(
            f"the registry {host} wants a certificate of ours",
            hint=f"Put ours.cert and ours.key into /etc/docker/certs.d/{host}/",
        )
    if any("WRONG_VERSION_NUMBER" in str(cause) or "HTTP_REQUEST" in str(cause) for cause in causes):
        return RegistryError(
            f"the registry {host} speaks plain HTTP, where HTTPS is expected",
            hint="Give it a certificate or, on a network that you trust, set `insecure = true` for its target",
        )
    if any(isinstance(cause, _NO_PROXY_URL) for cause in causes):
        # Its text is not told, since it may hold a password.
        return RegistryError("the URL of the HTTP proxy is none", hint=_PROXY_HINT)
    proxied = isinstance(error, requests.exceptions.ProxyError)
    if (
        proxied
        and (refused := _TUNNEL.search(" ".join(map(str, causes))))
        and refused[1] not in ("502", "503", "504")
    ):
        return _turned_away(host, int(refused[1]))
    absent = any(
        isinstance(cause, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError))
        for cause in causes
    )
    fault = RegistryUnavailableError(
        f"cannot reach the registry {host}{' through the proxy' if proxied else ''}: {_reason(causes)}",
        hint=_PROXY_HINT if proxied else "Check its host and port (REGISTRY_URL), and the network between",
    )
    return AgainError(fault, absent=absent)


def _untrusted(host: str, error: ssl.SSLCertVerificationError) -> RegistryError:
    why = harmless(error.verify_message or "")
    unknown = error.verify_code in _UNKNOWN_AUTHORITY
    return RegistryError(
        f"the certificate of the registry {host} is not trusted: {why}".rstrip(": "),
        hint="Name the file of the authority that signed it: `ca_file` of the target, or SSL_CERT_FILE"
        if unknown
        else "Is this the registry's right name? Else whoever runs it has to mend its certificate",
    )


def _turned_away(host: str, status: int) -> RegistryError:
    return RegistryError(
        f"the proxy before {host} does not let us through: {status} {HTTPStatus(status).phrase}",
        hint=_PROXY_HINT,
        status=status,
    )


def _reason(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, (socket.gaierror, ConnectionError)) and cause.args:
            return str(getattr(cause, "strerror", None) or cause.args[-1])
    # Not isinstance: a refused connection is one of its kinds too.
    if any(type(cause) is urllib3.exceptions.ConnectTimeoutError for cause in causes):
        return "no answer to the attempt to connect"
    if any(isinstance(cause, (TimeoutError, urllib3.exceptions.TimeoutError)) for cause in causes):
        return "no answer in time"
    return harmless(str(causes[-1])) or type(causes[-1]).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it. urllib3 keeps them as `reason` or argument, not only as a cause."""
    seen: list[BaseException] = [error]
    for found in seen:  # grows while it is walked
        yield found
        inner = [found.__cause__, found.__context__, getattr(found, "reason", None), *found.args]
        seen += [cause for cause in inner if isinstance(cause, BaseException) and cause not in seen]
