"""What is known where the notebook runs: the MLflow server, and the targets where there are settings."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publisher import settings, wiring
from publisher.app import App
from publisher.domain import Target
from publisher.progress import Progress, Silent
from publisher.redaction import redacted
from publisher.settings import Settings
from publisher.settings_sources import normal
from publisher.sources import auth
from publisher.sources.mlflow import DEFAULTS


@dataclass(frozen=True, slots=True)
class Here:
    """The settings of this place. No targets in them: they are the publisher's, which runs elsewhere."""

    settings: Settings

    @classmethod
    def look(cls, config: str | Path | None = None, flags: Mapping[str, object] | None = None) -> Here:
        """From publisher.toml or `config`, the environment, and the server that MLflow was told of in this process.

        Raises SettingsError.
        """
        redacted.learn_environment(os.environ)
        told = _told_mlflow()
        # What a variable says has its place among the settings already.
        here = {"mlflow_tracking_uri": told} if told != os.environ.get("MLFLOW_TRACKING_URI") else {}
        given = {key: value for key, value in (flags or {}).items() if value is not None}
        return cls(settings.load({**here, **given}, os.environ, Path(config) if config else None))

    @property
    def uri(self) -> str:
        return self.settings.mlflow_tracking_uri

    def target(self, name: str) -> Target | None:
        """The configured target of that name, whatever its case and its dashes: a tag cannot tell them either."""
        return next((each for each in self.settings.targets if normal(each.name) == normal(name)), None)

    @contextmanager
    def app(self, progress: Progress | None = None) -> Iterator[App]:
        """A publisher of these settings, which leaves the process's environment and MLflow's logs as they are."""
        environ = {**os.environ, **self._addresses()}
        loggers = [logging.getLogger(name) for name in ("mlflow", "urllib3.connectionpool")]
        levels = [logger.level for logger in loggers]
        try:
            with wiring.connect(self.settings, environ, progress or Silent()) as app:
                yield app
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """MLflow's own client. MLflow's fluent functions speak to the same server meanwhile."""
        from mlflow import MlflowClient  # noqa: PLC0415 - takes a second, and only a registration needs it

        # MLflow's own patience with a server that is away is four minutes.
        lent = {key: value for key, value in DEFAULTS.items() if key.startswith("MLFLOW_HTTP_")}
        if auth.applies(os.environ):
            auth.require(os.environ)
            # MLflow's client would take Domino's headers along to whatever host a redirect names.
            lent["MLFLOW_ALLOW_HTTP_REDIRECTS"] = "false"
        lent = {key: value for key, value in lent.items() if key not in os.environ}
        if _told_mlflow() != self.uri:
            lent["MLFLOW_TRACKING_URI"] = self.uri
        before = {key: os.environ.get(key) for key in lent}
        os.environ.update(lent)
        try:
            yield MlflowClient()
        finally:
            for key in lent:
                value = before[key]
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    def _addresses(self) -> dict[str, str]:
        """A registry of models beside the tracking server, where MLflow was told of one in this process."""
        mlflow = sys.modules.get("mlflow")
        if mlflow is None or _told_mlflow() != self.uri:
            return {}
        registry = str(mlflow.get_registry_uri())
        return {} if registry == self.uri else {"MLFLOW_REGISTRY_URI": registry}


def _told_mlflow() -> str | None:
    """The address that MLflow was given in this process, by a variable or by `mlflow.set_tracking_uri`."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.tracking.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return None
