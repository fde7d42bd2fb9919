"""Models saved to folders, images that hold them, and their example replayed by the Python that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publisher.checks import replay
from publisher.checks.own_python import Ran
from publisher.checks.prediction import prediction
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from publisher.domain import Platform
from publisher.oci.layout import Layout
from tests.checks.images import image, layer

AMD64 = Platform("linux", "amd64")
SERVES = {"Entrypoint": ["python"], "Cmd": ["/opt/publisher/serve.py", "/app/model"], "WorkingDir": "/app"}
CLIENT = {
    "Entrypoint": ["python"],
    "Cmd": ["client/app.py"],
    "Env": ["MODEL_PATH=/app"],
    "WorkingDir": "/app",
}
MODEL = """
import mlflow.pyfunc
from mlflow.models import set_model


class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
{body}


set_model(Model())
"""


def save(folder: Path, body: str, example: Any, outputs: Any = None, **files: str) -> Path:
    """A model of MLflow whose `predict` is `body`. `outputs`: an answer, for the signature; `files`: more, by name."""
    import mlflow  # noqa: PLC0415 - takes seconds
    from mlflow.models import infer_signature  # noqa: PLC0415

    code = folder.with_suffix(".py")
    code.write_text(MODEL.format(body=textwrap.indent(textwrap.dedent(body), " " * 8)))
    signature = infer_signature(example, outputs) if outputs is not None else None
    # Its example is written by hand, because MLflow predicts it once when it is told of one.
    mlflow.pyfunc.save_model(
        str(folder), python_model=str(code), signature=signature, pip_requirements=["six==1.17.0"]
    )
    if example is not None:
        (folder / replay.EXAMPLE).write_text(mlflow.models.convert_input_example_to_serving_input(example))
    for name, text in files.items():
        (folder / f"{name}.json").write_text(text)
    return folder


def recorded(answer: Any) -> Mapping[str, str]:
    return {"serving_output_example": json.dumps({"predictions": answer})}


def packed(folder: Path, **config: Any) -> Layout:
    """An image with the model at /app/model and nothing else."""
    files = {
        f"app/model/{path.relative_to(folder)}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return image([layer(files)], **(config or SERVES))


@dataclass(frozen=True, slots=True)
class Here:
    """Runs in this interpreter, or where `own` in a process of its own, with files of this machine: it says that it is
    shut in, for these models are ours."""

    model: Path
    own: bool = False
    python: str = sys.executable
    paths: str = ""  # of modules that come before the others
    isolation: str = "limits alone"
    shut_in: bool = True
    mapped: bool = False

    def why_not(self, platform: Platform, *, emulate: bool) -> str:
        return "" if platform == AMD64 or emulate else f"programs for {platform} do not run here"

    @contextmanager
    def open(self, layout: Layout, platform: Platform, manifest: str, *, emulate: bool) -> Iterator[Here]:
        yield self

    def path(self, inside: str) -> str:
        return inside.replace("/app/model", str(self.model), 1)

    def run(
        self, script: bytes, arguments: Sequence[str], *, environment: Mapping[str, str], seconds: float
    ) -> Ran:
        if not self.own:
            return Ran(0, "exit", "", json.dumps(replay.looked(*arguments)).encode(), 0.1)
        with tempfile.NamedTemporaryFile() as answer, tempfile.TemporaryFile() as said:
            # The shell puts the file at the descriptor 3.
            command = ["sh", "-c", f'exec "$0" "$@" 3>{answer.name}', self.python, "-c", script.decode()]
            clean = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
            try:
                done = subprocess.run(
                    [*command, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    env={**clean, **environment, "PYTHONPATH": self.paths},
                    timeout=seconds,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return Ran(None, "time", "", b"", seconds)
            code = done.returncode
            return Ran(code, "signal" if code < 0 else "exit", "", answer.read(16 << 20), 0.1)


def look(folder: Path, *, own: bool = False, seconds: float = 60, **config: Any) -> Verdict:
    """The check of an image with the model in `folder`."""
    layout = packed(folder, **config)
    return prediction(layout, AMD64, layout.top.digest, Here(folder, own), Surveys(), seconds=seconds)
