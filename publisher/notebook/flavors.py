"""Which of MLflow's flavors logs a model, and how it is called in MLflow 2 and 3."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from publisher.errors import RegistrationError

# The package that a model's class comes from -> the flavor (https://mlflow.org/docs/latest/models, "Built-in flavors").
FLAVORS: Mapping[str, str] = {
    "catboost": "catboost",
    "diviner": "diviner",
    "h2o": "h2o",
    "keras": "tensorflow",
    "langchain": "langchain",
    "langchain_core": "langchain",
    "lightgbm": "lightgbm",
    "onnx": "onnx",
    "paddle": "paddle",
    "pmdarima": "pmdarima",
    "prophet": "prophet",
    "pyspark": "spark",
    "sentence_transformers": "sentence_transformers",
    "sklearn": "sklearn",
    "spacy": "spacy",
    "statsmodels": "statsmodels",
    "tensorflow": "tensorflow",
    "torch": "pytorch",
    "transformers": "transformers",
    "xgboost": "xgboost",
}
_HINT = "Make it a class of mlflow.pyfunc.PythonModel, or log it yourself and register the URI that log_model returns."


@dataclass(frozen=True, slots=True)
class Flavor:
    """`module` is MLflow's, such as mlflow.sklearn; `model` is what it logs, `more` its other arguments."""

    module: Any
    model: Any
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any, more: Mapping[str, Any]) -> Flavor:
        """Raises RegistrationError where no flavor of the MLflow here logs such a model, or not so."""
        name = _name(model)
        if name is None:
            kind = f"{type(model).__module__}.{type(model).__qualname__}"
            raise RegistrationError(f"MLflow has no flavor that logs a {kind}", hint=_HINT)
        try:
            module = importlib.import_module(f"mlflow.{name}")
        except ImportError as error:
            raise RegistrationError(
                f"MLflow's flavor {name} cannot be used here: {error}", hint="Install what it needs."
            ) from error
        found = cls(module, str(model) if isinstance(model, Path) else model, more)
        known = inspect.signature(module.log_model).parameters
        unknown = sorted(
            set(more) - set(known) | set(more) & {"name", "artifact_path", "registered_model_name"}
        )
        if unknown:
            raise RegistrationError(
                f"mlflow.{name}.log_model takes no {', '.join(unknown)} from register",
                hint="See its arguments in MLflow's documentation.",
            )
        return found

    def log(self, folder: str) -> Any:
        """MLflow's ModelInfo; `folder` is the model's name in the run."""
        place = "name" if "name" in inspect.signature(self.module.log_model).parameters else "artifact_path"
        return self.module.log_model(**self._arguments(self.module.log_model), **{place: folder})

    def save(self, path: Path) -> None:
        """The same files, in a folder of this machine."""
        arguments = self._arguments(self.module.save_model)
        known = inspect.signature(self.module.save_model).parameters
        self.module.save_model(
            **{key: value for key, value in arguments.items() if key in known}, path=str(path)
        )

    def _arguments(self, function: Any) -> dict[str, Any]:
        parameters = inspect.signature(function).parameters
        place = "python_model" if "python_model" in parameters else next(iter(parameters))
        return {place: self.model, **{key: value for key, value in self.more.items() if value is not None}}


def _name(model: Any) -> str | None:
    """The flavor; that of the nearest base class which has one, because people derive from libraries' classes."""
    if isinstance(model, Path):
        return "pyfunc"
    for each in type(model).__mro__:
        package = each.__module__.partition(".")[0]
        if package == "mlflow" and each.__name__ == "PythonModel":
            return "pyfunc"
        if package in FLAVORS:
            return FLAVORS[package]
    return "pyfunc" if inspect.isfunction(model) else None
