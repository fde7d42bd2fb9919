"""From the URIs that MLflow keeps (``runs:``, ``models:``, ``mlflow-artifacts:``, ``s3:`` …) to places.

A source is written by whoever registers a version. So the tracking server's credentials go to that server
alone, and this machine's files are no artifacts unless the server is on this machine.
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from publisher.errors import ArtifactError, EngineError, UnknownVersionError
from publisher.paths import relative
from publisher.sources.artifacts import Storage
from publisher.sources.faults import redact, told
from publisher.sources.locate import Place
from publisher.sources.rest import RestClient
from publisher.sources.storage import (
    PROXY,
    Cached,
    LocalStorage,
    ProxiedStorage,
    RemoteStorage,
    missing_module,
    mlflow_request,
)

MAX_HOPS = 8  # a version copied from a version copied from …
REGISTER_AGAIN = "log the model again and register that, or delete the tag that asks for its publication"
PORTS = {"http": 80, "https": 443}


class Places:
    """Looks places up for one version, and asks for each run and each storage once."""

    def __init__(
        self, client: Any, tracking_uri: str, local: bool | None = None, hosts: Collection[str] = ()
    ) -> None:
        self._client = client
        self._uri = tracking_uri
        self._hosts = hosts
        self._local = is_here(tracking_uri) if local is None else local
        self._runs: dict[str, Any] = {}
        self._storages: dict[str, Storage] = {}

    def find(self, uri: str, subject: str) -> tuple[Place, str | None]:
        """The place that a version's source names, and the run that it lies in where the source tells it."""
        name = ""
        for _ in range(MAX_HOPS):
            scheme, parts = urlsplit(uri).scheme, [p for p in urlsplit(uri).path.split("/") if p]
            if scheme == "runs" and parts:
                run = self._run(parts[0])
                if run is None:
                    raise ArtifactError(
                        f"{subject} comes from the run {parts[0]}, which is gone", hint=REGISTER_AGAIN
                    )
                place = self._place(run.info.artifact_uri, "/".join(parts[1:]), subject)
                return place, parts[0]
            if scheme != "models" or not parts:
                return self._place(uri, "", subject, name), None
            if parts[0].startswith("m-"):
                model = self._model(parts[0])
                if model is None:
                    raise ArtifactError(
                        f"{subject} is the logged model {parts[0]}, which is gone", hint=REGISTER_AGAIN
                    )
                place = self._place(model.artifact_location, "/".join(parts[1:]), subject)
                return Place(place.storage, place.path, model.name or ""), model.source_run_id or None
            with told(self._uri, f"model version {'/'.join(parts)}"):
                uri = self._client.get_model_version(parts[0], parts[-1]).source
        raise ArtifactError(f"the source of {subject} leads from version to version without end")

    def run(self, run_id: str | None) -> Place | None:
        """The root of a run's artifacts; None where there is no such run any more."""
        run = self._run(run_id) if run_id else None
        return self._place(run.info.artifact_uri, "", f"run {run_id}") if run else None

    def logged(self, run_id: str | None) -> list[Place]:
        """The models that a run logged the way of MLflow 3."""
        run = self._run(run_id) if run_id else None
        outputs = getattr(getattr(run, "outputs", None), "model_outputs", None) or []
        models = filter(None, (self._model(output.model_id) for output in outputs))
        return [
            Place(place.storage, place.path, model.name or "")
            for model in models
            for place in [self._place(model.artifact_location, "", f"logged model {model.model_id}")]
        ]

    def address(self, place: Place) -> str:
        """Where a place is, for people: a URI without credentials."""
        root = next(uri for uri, storage in self._storages.items() if storage is place.storage)
        return redact("/".join(part for part in (root.rstrip("/"), place.path) if part))

    def _run(self, run_id: str) -> Any:
        if run_id not in self._runs:
            try:
                with told(self._uri, f"run {run_id}"):
                    self._runs[run_id] = self._client.get_run(run_id)
            except UnknownVersionError:
                self._runs[run_id] = None
        return self._runs[run_id]

    def _model(self, model_id: str) -> Any:
        if not hasattr(self._client, "get_logged_model"):
            raise EngineError(
                f"{model_id} is a logged model of MLflow 3, and the MLflow client here is older",
                hint="pip install 'mlflow-skinny>=3'",
            )
        try:
            with told(self._uri, f"logged model {model_id}"):
                return self._client.get_logged_model(model_id)
        except UnknownVersionError:
            return None

    def _place(self, uri: str, path: str, subject: str, name: str = "") -> Place:
        try:
            if path:
                relative(path)
            if ".." in unquote(urlsplit(uri).path).split("/"):
                raise ValueError("it has the part '..'")
        except ValueError as fault:
            raise ArtifactError(f"the source of {subject} cannot be used: {fault}") from None
        if uri not in self._storages:
            self._storages[uri] = Cached(self._storage(uri, subject))
        own = (path or urlsplit(uri).path).rstrip("/").rpartition("/")[2]
        return Place(self._storages[uri], path, name or own)

    def _storage(self, uri: str, subject: str) -> Storage:
        url = urlsplit(uri)
        if url.scheme in ("", "file"):
            if not self._local:
                raise ArtifactError(
                    f"the files of {subject} are at {uri}, a path of the machine that logged them",
                    hint="let the MLflow server serve artifacts (--serve-artifacts), or give it shared storage",
                )
            return LocalStorage(Path(url2pathname(url.path)))
        if url.scheme in ("mlflow-artifacts", "http", "https"):
            if url.netloc and url.netloc.lower() not in self._hosts and not self._is_server(uri):
                raise ArtifactError(
                    f"the files of {subject} are on {url.hostname}, which is not the MLflow server",
                    hint="only the server that MLFLOW_TRACKING_URI names is sent its credentials",
                )
            address = self._proxied(uri)
            if PROXY not in address:
                raise ArtifactError(f"the source of {subject} is no address of artifacts: {redact(uri)}")
            get = self._client.request if isinstance(self._client, RestClient) else mlflow_request
            return ProxiedStorage(get, address, self._uri)
        from mlflow.store.artifact.artifact_repository_registry import (  # noqa: PLC0415
            get_artifact_repository,
        )

        # MLflow before 2.22 has no such parameter and reads MLFLOW_TRACKING_URI instead.
        known = "tracking_uri" in inspect.signature(get_artifact_repository).parameters
        try:
            with told(self._uri, f"the artifacts of {subject}"):
                repository = get_artifact_repository(uri, **({"tracking_uri": self._uri} if known else {}))
        except Exception as error:
            if isinstance(error.__cause__, ImportError):
                raise missing_module(uri, error.__cause__) from error
            raise
        return RemoteStorage(repository, uri)

    def _proxied(self, uri: str) -> str:
        """The address of artifacts that a server hands out: of this one, unless the URI names another."""
        url, server = urlsplit(uri), urlsplit(self._uri)
        if url.scheme != "mlflow-artifacts":
            return uri
        if server.scheme not in PORTS:
            raise ArtifactError(
                f"{redact(uri)} can only be had from an MLflow server",
                hint="name the server in MLFLOW_TRACKING_URI, not its database",
            )
        host = url.netloc or server.netloc
        return f"{server.scheme}://{host}{server.path.rstrip('/')}/api/2.0{PROXY}/{url.path.strip('/')}"

    def _is_server(self, uri: str) -> bool:
        server, other = urlsplit(self._uri), urlsplit(uri)
        scheme = server.scheme if other.scheme == "mlflow-artifacts" else other.scheme
        try:
            return (server.scheme, server.hostname, server.port or PORTS.get(server.scheme)) == (
                scheme,
                other.hostname,
                other.port or PORTS.get(scheme),
            )
        except ValueError:
            return False


def is_here(tracking_uri: str) -> bool:
    """True when the tracking store is on this machine: a file, a database, or a loopback address."""
    url = urlsplit(tracking_uri)
    if url.scheme not in ("http", "https"):
        return not url.scheme.startswith("databricks")
    try:
        return url.hostname == "localhost" or ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False
