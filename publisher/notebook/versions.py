"""One version in MLflow's registry of models: found again, or made whole with all its tags, or not at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from publisher.errors import ModelRegistryError, RegistrationError, UnknownVersionError
from publisher.notebook.logged import Logged
from publisher.notebook.request import Request
from publisher.sources.faults import told
from publisher.sources.search import named, pages

_PATIENCE = 300.0  # seconds that MLflow may take to finish a registration; its own client waits as long
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Making:
    """The version that `request` wants of what is `logged`. `client` is MLflow's; `uri` names the server in errors."""

    client: Any
    uri: str
    request: Request
    logged: Logged

    @property
    def tags(self) -> dict[str, str]:
        """Those of the targets last: until they are there, nothing is asked for."""
        return dict(self.request.version().tags)

    def standing(self) -> str | None:
        """The number of the version that these files are registered as already under the wanted name."""
        if self.logged.version or not self.logged.run_id:
            return self.logged.version
        found = pages(self.client.search_model_versions, self.uri, f"run_id = '{self.logged.run_id}'", _PAGE)
        same = [v for v in found if v.name == self.request.name and v.source == self.logged.source]
        return max((str(v.version) for v in same), key=int, default=None)

    def next(self) -> str:
        """The number that a new version will most likely get: for what is told before there is one."""
        return str(int(newest(self.client, self.uri, self.request.name) or 0) + 1)

    def tag(self, number: str) -> None:
        """Add the tags that a standing version lacks. Raises RegistrationError where it says otherwise already."""
        what = f"{self.request.name} v{number}"
        with told(self.uri, f"model version {what}"):
            has: Mapping[str, str] = self.client.get_model_version(self.request.name, number).tags
        other = [f"{key}={has[key]!r}" for key, value in self.tags.items() if has.get(key, value) != value]
        if other:
            raise RegistrationError(
                f"{what} is these files already, with other tags: {', '.join(other)}",
                hint="Log the model anew to get another version, or change the tags in MLflow.",
            )
        done: list[str] = []
        with (
            self._undone(lambda: self._untag(number, done)),
            told(self.uri, f"tags of {what}"),
        ):
            for key, value in self.tags.items():
                if key not in has:
                    self.client.set_model_version_tag(self.request.name, number, key, value)
                    done.append(key)

    def create(self) -> str:
        """A new version, with its tags from the first moment; its number."""
        name, new = self.request.name, self._model()
        made: list[str] = []
        with self._undone(lambda: self._withdraw(made, whole=new)):
            more = {"model_id": self.logged.model_id} if self.logged.model_id else {}
            with told(self.uri, f"registration of {name}"):
                version = self.client.create_model_version(
                    name, self.logged.source, self.logged.run_id, tags=self.tags, await_creation_for=0, **more
                )
                made.append(str(version.version))
            self._await(made[0])
        return made[0]

    def _model(self) -> bool:
        """Whether the registered model had to be made."""
        name = self.request.name
        try:
            with told(self.uri, f"registered model {name}"):
                self.client.get_registered_model(name)
        except UnknownVersionError:
            with told(self.uri, f"registration of {name}"):
                self.client.create_registered_model(name)
            return True
        return False

    def _await(self, number: str) -> None:
        name, end = self.request.name, time.monotonic() + _PATIENCE
        while True:
            with told(self.uri, f"model version {name} v{number}"):
                found = self.client.get_model_version(name, number)
            if found.status == "READY":
                return
            if found.status != "PENDING_REGISTRATION" or time.monotonic() > end:
                said = f": {found.status_message}" if found.status_message else ""
                raise ModelRegistryError(f"MLflow leaves {name} v{number} at {found.status}{said}")
            time.sleep(0.5)

    def _withdraw(self, made: list[str], *, whole: bool) -> None:
        name = self.request.name
        for number in made:
            self.client.delete_model_version(name, number)
        if whole and newest(self.client, self.uri, name) is None:  # somebody else may have come in between
            self.client.delete_registered_model(name)

    def _untag(self, number: str, keys: list[str]) -> None:
        for key in reversed(keys):  # the targets' first: from then on nothing is asked for
            self.client.delete_model_version_tag(self.request.name, number, key)

    @contextlib.contextmanager
    def _undone(self, undo: Callable[[], None]) -> Iterator[None]:
        """Where the block fails, or is interrupted, nothing of it stays."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong first is what people need to hear
                undo()
            raise


def newest(client: Any, uri: str, name: str) -> str | None:
    """The highest number of a model's versions."""
    found = pages(client.search_model_versions, uri, named([name]), _PAGE)
    return max((str(v.version) for v in found if v.name == name), key=int, default=None)
