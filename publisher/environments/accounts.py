"""HTTP to package indexes with the accounts that uv would use there: bound to an origin, gone on a redirect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from publisher.environments.index import Index


class IndexAccounts(AuthBase):
    """The accounts of several targets' indexes. requests drops what this adds when a redirect leads elsewhere."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._indexes = indexes

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for index in self._indexes:
            if account := index.account(request.url or ""):
                HTTPBasicAuth(account[0].encode(), account[1].encode())(request)
                break
        return request


class _Unverified(HTTPAdapter):
    """For hosts of UV_INSECURE_HOST alone, whose certificates uv does not check either."""

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:  # type: ignore[override]
        return super().send(request, **{**options, "verify": False})  # type: ignore[arg-type]


def prepare(
    session: requests.Session, indexes: Sequence[Index], environ: Mapping[str, str]
) -> requests.Session:
    """Give `session` the accounts and certificates with which uv speaks to the indexes."""
    session.auth = IndexAccounts(indexes)
    # requests knows its own variables; uv's is SSL_CERT_FILE.
    if not environ.get("REQUESTS_CA_BUNDLE") and not environ.get("CURL_CA_BUNDLE"):
        for index in indexes:
            if file := index.environment.get("SSL_CERT_FILE"):
                session.verify = file
    for index in indexes:
        for host in index.environment.get("UV_INSECURE_HOST", "").split():
            session.mount(f"https://{host.rpartition('://')[2].rstrip('/')}/", _Unverified())
    return session
