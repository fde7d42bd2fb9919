"""The calls of MLflow's REST interface that a publication makes (MLflow documentation, "REST API").

Names and parameters are those of MLflow's own client, which takes this one's place where it must (login.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.util import Retry

from publisher.errors import ModelRegistryError
from publisher.sources import entities
from publisher.sources.entities import LoggedModel, Model, Page, Run, RunInfo, RunOutput, RunOutputs, Version
from publisher.sources.faults import redact
from publisher.sources.login import Headers, Login

_BUSY = (408, 429, 500, 502, 503, 504)
_PATIENCE = 60  # seconds; a server that asks for more is a server that is not there
_SAID = 300  # characters of a server's own words
_CONNECTIONS = 16


class _Patience(Retry):
    """Retries that honour Retry-After, up to a bound."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, _PATIENCE)


class RestClient:
    """Speaks to one server. Safe to use from several threads.

    Raises requests' own errors, whose `response` is the server's answer, and ModelRegistryError for an answer
    that is none of MLflow's.
    """

    def __init__(self, tracking_uri: str, login: Login) -> None:
        self._uri = tracking_uri.rstrip("/")
        self._login = login
        self._headers = Headers()
        retry = _Patience(
            total=login.retries,
            backoff_factor=login.backoff,
            backoff_jitter=login.backoff / 2,
            status_forcelist=_BUSY,
            allowed_methods=None,  # each call here may be made twice
            raise_on_status=False,
        )
        self._session = requests.Session()
        self._session.verify, self._session.cert = login.verify, login.certificate
        adapter = HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=retry)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def release(self) -> str:
        """The server's version; "" where it does not tell."""
        with self.request("GET", f"{self._uri}/version", stream=True) as said:
            text = said.raw.read(40, decode_content=True).decode("ascii", "replace").strip()
        return text if said.status_code == 200 and re.fullmatch(r"\d+(\.\w+)+", text) else ""

    def get_model_version(self, name: str, version: str) -> Version:
        return entities.version(
            self._ask("GET", "model-versions/get", name=name, version=version)["model_version"]
        )

    def search_model_versions(
        self, filter_string: str, max_results: int = 10_000, page_token: str | None = None
    ) -> Page:
        found = self._search("model-versions", filter_string, max_results, page_token)
        return entities.page((entities.version(each) for each in found.get("model_versions", ())), found)

    def search_registered_models(
        self, filter_string: str = "", max_results: int = 1_000, page_token: str | None = None
    ) -> Page:
        found = self._search("registered-models", filter_string, max_results, page_token)
        return entities.page((entities.model(each) for each in found.get("registered_models", ())), found)

    def get_registered_model(self, name: str) -> Model:
        return entities.model(self._ask("GET", "registered-models/get", name=name)["registered_model"])

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self._ask("POST", "model-versions/set-tag", name=name, version=version, key=key, value=value)

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        self._ask("DELETE", "model-versions/delete-tag", name=name, version=version, key=key)

    def get_run(self, run_id: str) -> Run:
        found = self._ask("GET", "runs/get", run_id=run_id)["run"]
        outputs = (found.get("outputs") or {}).get("model_outputs") or []
        return Run(
            RunInfo(found["info"].get("artifact_uri", "")),
            RunOutputs([RunOutput(output["model_id"]) for output in outputs]),
        )

    def get_logged_model(self, model_id: str) -> LoggedModel:
        info = self._ask("GET", f"logged-models/{quote(model_id, safe='')}")["model"]["info"]
        return LoggedModel(
            model_id, info.get("name", ""), info.get("artifact_uri", ""), info.get("source_run_id", "")
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Mapping[str, Any] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request with the server's credentials; `url` must be one that they may go to."""
        headers = self._headers()
        if self._login.credentials:
            user, password = self._login.credentials
            headers["Authorization"] = requests.auth._basic_auth_str(user.encode(), password.encode())
        elif self._login.token:
            headers["Authorization"] = f"Bearer {self._login.token}"
        # No redirects: a plugin's headers would go along to whatever host the server names.
        return self._session.request(
            method,
            url,
            params=params,
            json=json,
            headers=headers,
            stream=stream,
            timeout=self._login.timeout,
            allow_redirects=False,
        )

    def _search(self, what: str, filter_string: str, max_results: int, token: str | None) -> Any:
        asked = {"filter": filter_string, "max_results": max_results}
        return self._ask("GET", f"{what}/search", **asked, **({"page_token": token} if token else {}))

    def _ask(self, method: str, call: str, **arguments: Any) -> Any:
        key = "params" if method == "GET" else "json"
        url = f"{self._uri}/api/2.0/mlflow/{call}"
        return answer(self.request(method, url, **{key: arguments}), self._uri)  # type: ignore[arg-type]


def answer(response: requests.Response, server: str) -> Any:
    """The JSON object of an answer; raises requests.HTTPError with MLflow's own words, or ModelRegistryError."""
    if response.is_redirect:
        place = urlsplit(response.headers["Location"])
        raise ModelRegistryError(
            f"MLflow at {redact(server)} sends us on to {place.scheme}://{place.hostname}",
            hint="name the final address in MLFLOW_TRACKING_URI; is this a page to log in at?",
        )
    try:
        found = response.json()
    except ValueError:
        found = None
    if response.status_code >= 400 and (isinstance(found, dict) or response.status_code != 404):
        said = found.get("message") if isinstance(found, dict) else ""
        text = " ".join(str(said or response.reason or "no reason given").split())
        raise requests.HTTPError(text[:_SAID], response=response)
    if not isinstance(found, dict):
        raise ModelRegistryError(
            f"{redact(server)} does not answer as MLflow does (HTTP {response.status_code}, "
            f"{response.headers.get('Content-Type', 'no type')[:60]})",
            hint="see that MLFLOW_TRACKING_URI names the server itself, and no page to log in at",
        )
    return found
