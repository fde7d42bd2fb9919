"""MLflow's model registry as a source. Works with servers from 2.9 and clients from 2.12 on, to 3.x."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random

from publisher.domain import ModelVersion, Registration, Target
from publisher.errors import ArtifactError, SettingsError, UnknownVersionError
from publisher.progress import Progress
from publisher.sources import auth
from publisher.sources.aliases import aliases
from publisher.sources.base import Examined, Fetched, VersionTags
from publisher.sources.faults import redact, told
from publisher.sources.locate import Parts, Place, locate
from publisher.sources.login import Login
from publisher.sources.places import Places
from publisher.sources.rest import RestClient
from publisher.sources.search import lent, tagged
from publisher.sources.version_files import brought, distinct, examined

MAX_VALUE = 500  # characters of a tag's value that servers before MLflow 3 take
THREADS = 8
# MLflow's ModelVersionStatus
REGISTRATIONS: Mapping[str, Registration] = {
    "PENDING_REGISTRATION": "pending",
    "FAILED_REGISTRATION": "failed",
}

# What MLflow reads from the environment, unless the user has set it. Its own retries would keep a poll waiting
# for four minutes before saying that no server is there.
DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

# Of two publishers that write one tag at one moment, MLflow's database refuses the second one's row, and MLflow
# calls that a wrong request.
_RACED = retry(
    retry=retry_if_exception(lambda error: bool(re.search("IntegrityError|StaleDataError", str(error)))),
    stop=stop_after_attempt(5),
    wait=wait_random(0.05, 0.4),
    reraise=True,
)


class MlflowSource:
    """The versions of one MLflow server. Safe to use from several threads.

    `environ`: the process's own (os.environ), for MLflow reads its settings and credentials there itself.
    `local_artifacts`: whether artifacts may be read from this machine's disk; by default only when the server
    is on this machine too, for else whoever registers a model could name our files as its artifacts.
    `artifact_hosts`: ``host[:port]`` of servers that hand out artifacts (``mlflow server --artifacts-only``) and
    may be sent the tracking server's credentials, beside that server itself.
    """

    def __init__(
        self,
        tracking_uri: str,
        environ: MutableMapping[str, str],
        *,
        local_artifacts: bool | None = None,
        artifact_hosts: Collection[str] = (),
    ) -> None:
        self._uri = tracking_uri
        self._environ = environ
        self._local = local_artifacts
        self._hosts = frozenset(artifact_hosts)
        self._tags: dict[tuple[str, str], dict[str, str]] = {}  # as they are on the server, to our knowledge

    @cached_property
    def _client(self) -> Any:
        # Both would tell each retry on stderr, in the middle of the progress display.
        for name in ("mlflow", "urllib3.connectionpool"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # Storage classes of MLflow's read them too, whichever client asks for the versions.
        for key, value in DEFAULTS.items():
            self._environ.setdefault(key, value)
        if auth.applies(self._environ):
            auth.require(self._environ)
            # MLflow's client would take Domino's headers along to whatever host a redirect names.
            self._environ.setdefault("MLFLOW_ALLOW_HTTP_REDIRECTS", "false")
        login = Login.read(self._uri, self._environ)
        if login:
            return RestClient(self._uri, login)
        with told(self._uri, "a connection"):
            from mlflow import MlflowClient  # noqa: PLC0415  importing it takes a second

            return MlflowClient(tracking_uri=self._uri)

    @cached_property
    def _writer(self) -> Any:
        # MlflowClient of 3.x asks before each tag whether the model is a prompt: twice the requests. The client
        # below it writes at once.
        below = getattr(self._client, "_get_registry_client", None)
        return below() if below else self._client

    def check(self) -> str:
        """See sources/base.py. A search that finds nothing, because that is what a poll may do at least."""
        with told(self._uri, "a search for models"):
            self._client.search_registered_models(filter_string="name = 'publisher doctor'", max_results=1)
        if not isinstance(self._client, RestClient):
            return "MLflow's own client finds its models"
        version = self._client.release()
        return f"MLflow {version} lets us search its models" if version else "it lets us search its models"

    def discover(self, target: Target) -> Iterator[ModelVersion]:
        """The versions that carry the tag `target.tag` themselves or by their model, whatever its value."""
        if not re.fullmatch(r"[^`'\"\\\x00-\x1f]+", target.tag):
            raise SettingsError([f"the tag name {target.tag!r} of the target {target.name} holds quotes"])
        versions = tagged(self._client, self._uri, target.tag)
        if not any("{alias}" in template for template in target.tags):
            for found, defaults in versions:
                yield self._version(found, defaults)
            return
        pairs = list(versions)
        named = aliases(self._client, self._uri, {found.name for found, _ in pairs})
        for found, defaults in pairs:
            yield self._version(found, defaults, named.get((found.name, str(found.version)), ()))

    def get(self, name: str, version: str) -> ModelVersion:
        """One version; raises UnknownVersionError."""
        if not version.isdecimal():
            raise UnknownVersionError(
                f"{version!r} is not a version of {name}: versions are numbers",
                hint="name it as in 3, not v3",
            )
        with told(self._uri, f"model version {name} v{version}"):
            found = self._client.get_model_version(name, version)
        with told(self._uri, f"registered model {name}"):
            model = self._client.get_registered_model(name)
        number = str(found.version)
        named = sorted(alias for alias, holder in (model.aliases or {}).items() if str(holder) == number)
        return self._version(found, lent(model.tags), tuple(named))

    def fetch(self, version: ModelVersion, folder: Path, progress: Progress, subject: str) -> Fetched:
        """Bring the version's files into `folder`; raises ArtifactError, TransferError, HostError."""
        _, parts, _ = self._locate(version)
        return brought(parts, distinct(parts, version), folder, progress, subject)

    def examine(self, version: ModelVersion, folder: Path, progress: Progress, subject: str) -> Examined:
        """See sources/base.py."""
        return examined(version, self._locate(version), folder, progress, subject)

    def _locate(self, version: ModelVersion) -> tuple[Places, Parts, Place]:
        """Where the parts are, and the place that the version's source names."""
        tags = VersionTags.read(version)
        places = Places(self._client, self._uri, self._local, self._hosts)
        if not version.source:
            raise ArtifactError(f"{version} has no source", hint="register the model again")
        source, run_id = places.find(version.source, str(version))
        run = places.run(version.run_id or run_id)
        parts = locate(version, tags, source, run, lambda: places.logged(version.run_id or run_id))
        return places, parts, source

    def record(self, version: ModelVersion, tags: Mapping[str, str], delete: Sequence[str] = ()) -> None:
        """Write the tags that differ from what the version has, then delete those that it has.

        The last of `tags` is written after the others: a reader who sees it sees them too. Until then nothing is
        deleted, because whoever is killed in between leaves what the old last one needs to be understood.
        """
        have = self._tags.setdefault((version.name, version.version), dict(version.tags))
        wanted = {key: _short(value) for key, value in tags.items()}
        changed = [key for key, value in wanted.items() if have.get(key) != value]
        last = changed[-1:] if changed and changed[-1] == next(reversed(wanted)) else []
        gone = [key for key in delete if key in have and key not in wanted]

        @_RACED
        def write(key: str) -> None:
            with told(self._uri, f"tags of model version {version}"):
                self._writer.set_model_version_tag(version.name, version.version, key, wanted[key])
            have[key] = wanted[key]

        @_RACED
        def remove(key: str) -> None:
            with told(self._uri, f"tags of model version {version}"):
                self._writer.delete_model_version_tag(version.name, version.version, key)
            have.pop(key, None)

        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(write, key) for key in changed if key not in last]:
                future.result()
            for key in last:
                write(key)
            for future in [pool.submit(remove, key) for key in gone]:
                future.result()

    def _version(
        self, found: Any, defaults: Mapping[str, str], aliases: tuple[str, ...] = ()
    ) -> ModelVersion:
        tags = dict(found.tags)
        self._tags[found.name, str(found.version)] = dict(tags)
        return ModelVersion(
            name=found.name,
            version=str(found.version),
            source=found.source or "",
            created=datetime.fromtimestamp((found.creation_timestamp or 0) / 1000, UTC),
            run_id=found.run_id or None,
            tags=tags,
            defaults=defaults,
            registration=REGISTRATIONS.get(found.status, "ready"),
            aliases=aliases,
        )

    def __repr__(self) -> str:
        return f"MlflowSource({redact(self._uri)!r})"


def _short(value: str) -> str:
    return value if len(value) <= MAX_VALUE else value[: MAX_VALUE - 1] + "…"
