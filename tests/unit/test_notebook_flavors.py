"""Which flavor of MLflow logs a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from publisher.errors import RegistrationError
from publisher.notebook.flavors import FLAVORS, Flavor
from publisher.notebook.logged import uri_of


def like(module: str, *bases: type) -> Any:
    """An object whose class says that it comes from `module`."""
    return type("Model", bases or (object,), {"__module__": module})()


def name(model: Any) -> str:
    return Flavor.of(model, {}).module.__name__


def test_flavors_by_the_library_of_the_class() -> None:
    """The nearest class that a flavor logs: of a class of one's own, the library's that it derives from."""
    assert name(like("sklearn.pipeline")) == "mlflow.sklearn"
    assert name(like("__main__", type(like("sklearn.svm")))) == "mlflow.sklearn"
    assert name(like("onnx.onnx_pb")) == "mlflow.onnx"
    assert name(Path("model.py")) == "mlflow.pyfunc"
    assert name(test_flavors_by_the_library_of_the_class) == "mlflow.pyfunc"


def test_a_python_model_is_pyfuncs() -> None:
    """MLflow's own class for everything else."""
    import mlflow.pyfunc  # noqa: PLC0415 - takes seconds

    def predict(self: Any, context: Any, model_input: list[str]) -> list[str]:
        return model_input

    assert name(type("Mine", (mlflow.pyfunc.PythonModel,), {"predict": predict})()) == "mlflow.pyfunc"


def test_models_of_no_flavor_and_arguments_of_none() -> None:
    """What cannot be logged is named, and so is an argument that log_model has not."""
    with pytest.raises(RegistrationError, match=r"no flavor that logs a acme\.Model"):
        Flavor.of(like("acme"), {})
    with pytest.raises(
        RegistrationError, match=r"mlflow\.sklearn\.log_model takes no registered_model_name, targets"
    ):
        Flavor.of(like("sklearn.svm"), {"targets": "x", "registered_model_name": "y", "signature": None})


def test_every_flavor_is_one_of_mlflows() -> None:
    """The table names modules that MLflow has; what they log may not be installed here."""
    import mlflow  # noqa: PLC0415

    assert all(
        hasattr(mlflow, flavor) for flavor in FLAVORS.values() if flavor not in ("diviner", "pmdarima")
    )


def test_what_is_logged_already() -> None:
    """A URI, and what log_model returns; a folder or file that is here is none."""
    assert uri_of("runs:/1/model") == "runs:/1/model"
    assert uri_of(type("Info", (), {"model_uri": "models:/m-1"})()) == "models:/m-1"
    assert uri_of(str(Path(__file__))) is None
    assert uri_of(Path("not-there")) is None
    assert uri_of(object()) is None
