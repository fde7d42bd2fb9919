"""Models and folders into MLflow's runs: what is missing there is logged, what is there is found."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from publisher.errors import EngineError, PublisherError, RegistrationError
from publisher.notebook.flavors import Flavor
from publisher.notebook.request import Folder, Request
from publisher.redaction import redacted
from publisher.sources.faults import status_of, told, translate
from publisher.sources.locate import DEFAULT_MODEL, MLMODEL

_ACTIVE = "active"  # the life-cycle stage of a run that was not deleted


@dataclass(frozen=True, slots=True)
class Logged:
    """A model where MLflow keeps it. `version`: the version of the wanted name that it is already. `made`: it was
    logged just now of an object or a file of Python, whose code has run here; `folder`: as a folder of its run."""

    source: str
    run_id: str | None = None
    model_id: str | None = None
    version: str | None = None
    made: bool = False
    folder: str = ""


def uri_of(model: Any) -> str | None:
    """Where a model is that is logged already: a URI, or what `log_model` returned; None for all others."""
    if isinstance(model, str):
        return None if "://" not in model and Path(model).expanduser().exists() else model
    uri = getattr(model, "model_uri", None)
    return uri if isinstance(uri, str) else None


@dataclass(frozen=True, slots=True)
class Log:
    """Logs to one server. `client` is MLflow's; `uri` names the server in errors."""

    client: Any
    uri: str

    def model(self, model: Any, name: str, more: Mapping[str, Any]) -> Logged:
        """`model` in a run: an object, a file of Python, or a folder that MLflow saved is logged; a URI is followed."""
        uri = uri_of(model)
        if uri is not None:
            if more:
                raise RegistrationError(f"{', '.join(more)} cannot be said of a model that is logged already")
            return self._found(uri, name)
        place = Path(model).expanduser() if isinstance(model, str | Path) else None
        if place and place.is_dir():
            if not (place / MLMODEL).is_file():
                raise RegistrationError(f"the folder {str(place)!r} holds no file {MLMODEL}")
            with self.run(None) as run_id:
                return self._in_run(run_id, place)
        if place and place.suffix not in (".py", ".ipynb"):
            raise RegistrationError(
                f"{str(place)!r} is neither a folder that MLflow saved nor a file of Python"
                + ("" if place.exists() else ", and there is none")
            )
        flavor = Flavor.of(place or model, more)
        with self.run(None) as run_id:
            return self._object(flavor, run_id)

    def folders(self, request: Request, logged: Logged) -> tuple[Request, Logged]:
        """The request's folders in the model's run; a model without a run gets one for them."""
        wanted = {tag: folder for tag, folder in request.folders.items() if folder.local}
        if not wanted:
            return request, logged
        with self.run(logged.run_id) as run_id:
            for tag, folder in wanted.items():
                name = self._free(run_id, folder.name)
                with told(self.uri, f"the artifacts of run {run_id}"):
                    self.client.log_artifacts(run_id, str(folder.local), name)
                wanted[tag] = Folder(name, None)
        return replace(request, folders={**request.folders, **wanted}), replace(logged, run_id=run_id)

    @contextmanager
    def run(self, run_id: str | None) -> Iterator[str]:
        """The run of that id, which may have ended; else the notebook's active one; else a new one, which ends here."""
        import mlflow  # noqa: PLC0415 - takes seconds, and a command line must show its help at once

        active = mlflow.active_run()
        run_id = run_id or (active and active.info.run_id)
        if not run_id:
            with told(self.uri, "a new run"):
                new = mlflow.start_run()
            with new:
                yield str(new.info.run_id)
            return
        with told(self.uri, f"run {run_id}"):
            found = self.client.get_run(run_id)
        if found.info.lifecycle_stage != _ACTIVE:
            raise RegistrationError(
                f"the run {run_id} was deleted, and takes no more files",
                hint="Restore it in MLflow, or end the active run (mlflow.end_run()) and register again.",
            )
        yield str(run_id)

    def _object(self, flavor: Flavor, run_id: str) -> Logged:
        name = self._free(run_id, DEFAULT_MODEL)
        try:
            info = flavor.log(name)
        except Exception as error:
            if "logged-models" not in str(error) or status_of(error) != 404:
                raise self._not_logged(error) from error
        else:
            if model_id := getattr(info, "model_id", None):
                return Logged(info.model_uri, run_id, model_id, made=True)
            return replace(self._found(info.model_uri, ""), made=True, folder=name)
        # A server of MLflow 2 has no logged models: there a model is a folder of its run.
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / DEFAULT_MODEL
            try:
                flavor.save(saved)
            except Exception as error:
                raise self._not_logged(error) from error
            return replace(self._in_run(run_id, saved), made=True, folder=name)

    def _not_logged(self, error: Exception) -> PublisherError:
        """A fault of the server is the server's, any other the model's."""
        answered = "API request to" in str(error) or getattr(error, "response", None) is not None
        fault = translate(error, self.uri, "the model's files")
        if fault.away or answered or type(error).__name__ == "RestException":
            return fault
        said = " ".join(redacted(str(error)).split()) or type(error).__name__
        return RegistrationError(
            f"MLflow cannot log this model: {said[:300]}",
            hint="MLflow's log_model alone fails in the same way.",
        )

    def _in_run(self, run_id: str, folder: Path) -> Logged:
        name = self._free(run_id, DEFAULT_MODEL)
        with told(self.uri, f"the artifacts of run {run_id}"):
            self.client.log_artifacts(run_id, str(folder), name)
        return self._found(f"runs:/{run_id}/{name}", "")

    def _free(self, run_id: str, name: str) -> str:
        """A folder that the run has not: what an earlier version uses is never overwritten."""
        with told(self.uri, f"the artifacts of run {run_id}"):
            taken = {entry.path for entry in self.client.list_artifacts(run_id)}
        return next(
            each for each in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))) if each not in taken
        )

    def _found(self, uri: str, name: str) -> Logged:
        """What a URI names. Raises UnknownVersionError, ModelRegistryError."""
        parts = [part for part in urlsplit(uri).path.split("/") if part]
        if uri.startswith("runs:/") and len(parts) > 1:
            return self._of_run(parts[0], "/".join(parts[1:]))
        if not uri.startswith("models:/") or not parts:
            if "://" not in uri and not uri.startswith("mlflow-artifacts:/"):
                raise RegistrationError(
                    f"{uri!r} is no model: there is no such folder, and no URI begins so",
                    hint="Give a model, a folder that MLflow saved, runs:/RUN/FOLDER, or models:/NAME/VERSION.",
                )
            return Logged(uri)
        if parts[0].startswith("m-"):
            if not hasattr(self.client, "get_logged_model"):
                raise EngineError(
                    f"{uri} is a logged model of MLflow 3, and the MLflow here is older",
                    hint="pip install 'mlflow>=3'",
                )
            with told(self.uri, f"logged model {parts[0]}"):
                model = self.client.get_logged_model(parts[0])
            return Logged(uri, model.source_run_id or None, parts[0])
        with told(self.uri, f"model version {'/'.join(parts)}"):
            if len(parts) == 1 and "@" in parts[0]:
                found = self.client.get_model_version_by_alias(*parts[0].rsplit("@", 1))
            else:
                found = self.client.get_model_version(parts[0], parts[-1])
        same = str(found.version) if found.name == name else None
        if found.source.startswith("models:/m-"):  # the server asks for the id beside it
            return replace(self._found(found.source, ""), run_id=found.run_id or None, version=same)
        return Logged(found.source, found.run_id or None, None, same)

    def _of_run(self, run_id: str, path: str) -> Logged:
        with told(self.uri, f"run {run_id}"):
            run = self.client.get_run(run_id)
        for output in getattr(getattr(run, "outputs", None), "model_outputs", None) or ():
            with told(self.uri, f"logged model {output.model_id}"):
                model = self.client.get_logged_model(output.model_id)
            if model.name == path:
                return Logged(f"models:/{output.model_id}", run_id, output.model_id)
        return Logged(f"{run.info.artifact_uri}/{path}", run_id)
