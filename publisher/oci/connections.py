"""HTTP connections as big transfers need them, on requests."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from publisher.errors import SettingsError
from publisher.oci.certificates import Certificates
from publisher.oci.hosts import is_loopback

BLOCK = 1 << 20  # bytes; urllib3's own 16 KiB halve the speed of an upload
CONNECT_SECONDS = 4.0
HEAD_SECONDS = 30.0  # for the head of an answer, once it has begun
_SEND_SECONDS = 180.0  # for one block
_CONNECTIONS = 32


class _Plain(HTTPConnection):
    """urllib3 sends under the *connect* timeout: one block on a slow line would break it off."""

    def connect(self) -> None:
        super().connect()
        if self.sock is not None:
            self.sock.settimeout(_SEND_SECONDS)

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            self.timeout = _SEND_SECONDS
        super().request(*args, **kwargs)

    def getresponse(self) -> Any:
        # The socket's timeout starts anew with each byte of a header that comes a byte a minute.
        patience = float(self.timeout or 0.0) + HEAD_SECONDS
        hang_up = threading.Timer(patience, self._hang_up, (self.sock,))
        hang_up.daemon = True
        hang_up.start()
        try:
            return super().getresponse()
        finally:
            hang_up.cancel()

    @staticmethod
    def _hang_up(sock: Any) -> None:
        with contextlib.suppress(OSError, AttributeError):
            sock.shutdown(socket.SHUT_RDWR)


class _Secure(_Plain, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    def __init__(self, context: ssl.SSLContext | None) -> None:
        # requests adds the usual authorities to the context, as it would to one of its own.
        self._more: dict[str, Any] = {"blocksize": BLOCK, **({"ssl_context": context} if context else {})}
        super().__init__(pool_connections=8, pool_maxsize=_CONNECTIONS)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs | self._more)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs | self._more)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager


class _OwnAuth(AuthBase):
    """Leaves a request as it is. While a session has an auth of its own, requests does not read ~/.netrc,
    whose passwords nobody meant for us; proxies and certificate bundles still come from the environment."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def session(origin: str, certificates: Certificates) -> requests.Session:
    """A session for several threads. Our own certificate is for `origin`, the URL of a registry, alone.

    Raises SettingsError for certificates that are none.
    """
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        named = os.environ.get(variable)
        if named and origin.startswith("https:") and not Path(named).exists():
            raise SettingsError([f"{variable} names {named}, which is not there"])
    made = requests.Session()
    adapter = _Adapter(certificates.context(ours=False))
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    if certificates.pairs:
        made.mount(f"{origin}/", _Adapter(certificates.context(ours=True)))
    made.auth = _OwnAuth()
    # The rest of what OpenSSL and requests users set (REQUESTS_CA_BUNDLE, proxies) requests reads by itself.
    made.verify = os.environ.get("SSL_CERT_FILE") or True
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # identity: a digest is of the bytes as they are stored
    made.headers.update({"User-Agent": "model-publisher", "Accept-Encoding": "identity"})
    return made


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    **content: Any,
) -> requests.Response:
    """One request and the head of its answer; `seconds` without a byte end it. Raises RequestException.

    Not `session.request`: that one reads the whole body of a redirect, and its target, even when told not to
    follow it, and both are a stranger's.
    """
    request = requests.Request(method, url, headers=dict(headers or {}), **content)
    prepared = session.prepare_request(request)
    settings: dict[str, Any] = dict(
        session.merge_environment_settings(prepared.url or url, {}, True, None, None)
    )
    if is_loopback(urlsplit(prepared.url or url).netloc):
        settings["proxies"] = {}  # another machine's loopback is another place
    adapter = session.get_adapter(prepared.url or url)
    return adapter.send(prepared, timeout=(CONNECT_SECONDS, seconds), **settings)
