"""The storages that MLflow keeps artifacts in, each read with flat memory.

MLflow's own classes know the hosts, the credentials and the protocols; `artifacts.py` judges what they say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests

from publisher.errors import ArtifactError, EngineError, ModelRegistryError, TransferError
from publisher.sources.artifacts import Entry, Storage
from publisher.sources.faults import redact, status_of, told, translate
from publisher.sources.rest import answer

CHUNK = 1 << 20
PROXY = "/mlflow-artifacts/artifacts"
# What MLflow's storage classes import, by scheme (MLflow documentation, "Artifact Stores").
PACKAGES = {
    "s3": "boto3",
    "r2": "boto3",
    "b2": "boto3",
    "gs": "google-cloud-storage",
    "wasbs": "azure-storage-blob azure-identity",
    "abfss": "azure-storage-file-datalake azure-identity",
    "hdfs": "pyarrow",
    "viewfs": "pyarrow",
    "sftp": "pysftp",
}


class Cached:
    """A storage whose listings are asked for once: places are looked at first, and walked later."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lists: dict[str, Sequence[Entry]] = {}
        self.read = storage.read

    def list(self, path: str) -> Sequence[Entry]:
        if path not in self._lists:
            self._lists[path] = self._storage.list(path)
        return self._lists[path]


class Get(Protocol):
    """A request with the credentials of the MLflow server."""

    def __call__(
        self, method: str, url: str, *, params: Mapping[str, Any] | None = None, stream: bool = False
    ) -> requests.Response: ...


def mlflow_request(
    method: str, url: str, *, params: Mapping[str, Any] | None = None, stream: bool = False
) -> requests.Response:
    """A Get by MLflow's own client, for the sign-ins that only it knows."""
    from mlflow.utils.credentials import get_default_host_creds  # noqa: PLC0415
    from mlflow.utils.rest_utils import http_request  # noqa: PLC0415

    server, _, path = url.partition("/api/2.0/")
    found: requests.Response = http_request(
        get_default_host_creds(server), f"/api/2.0/{path}", method, params=params, stream=stream
    )
    return found


class ProxiedStorage:
    """Artifacts that the MLflow server hands out itself (``mlflow-artifacts:``), below the address `root`."""

    def __init__(self, get: Get, root: str, server: str) -> None:
        self._get = get
        self._root = root.rstrip("/")
        self._server = server

    def list(self, path: str) -> Sequence[Entry]:
        endpoint, _, below = self._root.partition(PROXY)
        folder = "/".join(filter(None, (below.strip("/"), path)))
        with told(self._server, f"the artifacts in {path or 'the root'}"):
            response = self._get("GET", endpoint + PROXY, params={"path": folder})
            if response.status_code == 404:
                return []
            found = [self._entry(path, file) for file in answer(response, self._server).get("files", ())]
        # A file is listed as a folder that holds itself.
        itself = f"{path}/{path.rpartition('/')[2]}"
        return [] if path and [(e.path, e.folder) for e in found] == [(itself, False)] else found

    def _entry(self, parent: str, file: Mapping[str, Any]) -> Entry:
        name, size = str(file["path"]), file.get("file_size")
        path = f"{parent}/{name}" if parent else name
        return Entry(path, None if file["is_dir"] or size is None else int(size), bool(file["is_dir"]))

    def read(self, path: str, into: Path, limit: int | None, advance: Callable[[int], None]) -> None:
        # '#' and '?' may be in a name; MLflow's own download sends them as they are.
        with told(self._server, f"the artifact {path}"):
            response = self._get("GET", f"{self._root}/{quote(path)}", stream=True)
        with response:
            if response.status_code != 200:
                raise _refused(response, self._server, path)
            done = 0
            try:
                with into.open("wb") as sink:
                    for chunk in response.iter_content(CHUNK):
                        done += len(chunk)
                        if limit is not None and done > limit:
                            raise _too_long(path, limit)
                        sink.write(chunk)
                        advance(len(chunk))
            except requests.RequestException as error:
                raise _cut(path, done) from error


class LocalStorage:
    """A folder of this machine. Links are refused, so nothing outside the folder is ever read."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def list(self, path: str) -> Sequence[Entry]:
        try:
            with os.scandir(self._root / path) as found:
                return [self._entry(path, entry) for entry in sorted(found, key=lambda entry: entry.name)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ArtifactError(f"cannot list {self._root / path}: {error.strerror}") from error

    def _entry(self, parent: str, entry: os.DirEntry[str]) -> Entry:
        path = f"{parent}/{entry.name}" if parent else entry.name
        if entry.is_dir(follow_symlinks=False):
            return Entry(path, folder=True)
        if not entry.is_file(follow_symlinks=False):
            raise ArtifactError(
                f"the artifact {entry.path} is a link or a device: only files and folders are taken",
                hint="log the file itself",
            )
        return Entry(path, entry.stat(follow_symlinks=False).st_size)

    def read(self, path: str, into: Path, limit: int | None, advance: Callable[[int], None]) -> None:
        try:
            source = os.fdopen(os.open(self._root / path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except OSError as error:
            raise ArtifactError(f"cannot read the artifact {path}: {error.strerror}") from error
        done = 0
        with source, into.open("wb") as sink:
            while chunk := source.read(CHUNK):
                done += len(chunk)
                if limit is not None and done > limit:
                    raise _too_long(path, limit)
                sink.write(chunk)
                advance(len(chunk))


class RemoteStorage:
    """Any other storage that MLflow can read: s3, gs, wasbs, hdfs, a plugin's."""

    def __init__(self, repository: Any, uri: str) -> None:
        self._repository = repository
        self._uri = uri

    def list(self, path: str) -> Sequence[Entry]:
        return _list(self._repository, path, self._uri)

    def read(self, path: str, into: Path, limit: int | None, advance: Callable[[int], None]) -> None:
        try:
            # The method that every MLflow storage class has to have; the public one lists first, every time.
            self._repository._download_file(path, str(into))
        except ImportError as error:
            raise missing_module(self._uri, error) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, told as such by the caller
            if status_of(error) == 404:
                raise _gone(path) from error
            raise TransferError(
                f"cannot read the artifact {path} from {redact(self._uri)}: {type(error).__name__}",
                detail=redact(str(error)),
            ) from error
        advance(into.stat().st_size)


def missing_module(uri: str, error: ImportError) -> EngineError:
    """MLflow's storage classes import their clients only when they are used."""
    scheme = uri.partition(":")[0]
    package = PACKAGES.get(scheme, error.name or "the plugin's requirements")
    return EngineError(
        f"reading {scheme}: artifacts needs the Python module {error.name or error}",
        hint=f"install it beside publisher: pip install {package}",
    )


def _list(repository: Any, path: str, url: str) -> Sequence[Entry]:
    try:
        with told(url, f"the artifacts in {path or 'the root'}"):
            found = repository.list_artifacts(path or None)
    except ModelRegistryError as error:
        cause = error.__cause__
        if isinstance(cause, ImportError):
            raise missing_module(url, cause) from cause
        if isinstance(cause, Exception) and status_of(cause) == 404:
            return []
        raise
    # Some storages list a folder within itself (its marker object).
    return [
        Entry(
            info.path.rstrip("/"),
            None if info.is_dir or info.file_size is None else int(info.file_size),
            info.is_dir,
        )
        for info in found
        if info.path not in (".", path)
    ]


def _refused(response: requests.Response, url: str, path: str) -> Exception:
    if response.status_code == 404:
        return _gone(path)
    return translate(requests.HTTPError(response.reason, response=response), url, f"the artifact {path}")


def _gone(path: str) -> ArtifactError:
    return ArtifactError(f"the artifact {path} is listed, but is not there", hint="log it again")


def _too_long(path: str, limit: int) -> ArtifactError:
    return ArtifactError(
        f"the artifact {path} is longer than the {limit:,} bytes of its listing", hint="log it again"
    )


def _cut(path: str, done: int) -> TransferError:
    return TransferError(f"the artifact {path} ended after {done:,} bytes: the connection broke")
