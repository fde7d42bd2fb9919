"""What a model answers its own input example where it was trained, kept with the model: its image is held to it.

The model is loaded anew from where MLflow keeps it, in a process of its own: it is asked as its image will be, what it
prints or breaks is not the notebook's, and one that hangs is left.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from publisher.checks import replay
from publisher.errors import PublisherError
from publisher.notebook.logged import Logged
from publisher.redaction import redacted
from publisher.sources.faults import told

_SECONDS = 300.0  # that loading and asking may take


def record(logged: Logged, client: Any, uri: str) -> list[str]:
    """Ask the model and put its answer beside its input example, once.

    Returns why there is none, where there is none: no registration fails for it. `client` is MLflow's; `uri` names the
    server in errors.
    """
    from mlflow import artifacts  # noqa: PLC0415 - takes a second, and a command line must show its help at once

    what = "the answer to the input example"
    with tempfile.TemporaryDirectory() as scratch:
        place = f"models:/{logged.model_id}" if logged.model_id else f"runs:/{logged.run_id}/{logged.folder}"
        try:
            with told(uri, "the model's files"):
                folder = artifacts.download_artifacts(artifact_uri=place, dst_path=scratch)
            answer = _asked(folder, Path(scratch) / "told.json")
            file = Path(scratch) / replay.RECORDED
            file.write_text(answer, "utf-8")
            with told(uri, what):
                if logged.model_id:
                    client.log_model_artifact(logged.model_id, str(file))
                else:
                    client.log_artifact(logged.run_id, str(file), logged.folder)
        except (_UnansweredError, PublisherError) as error:
            return [f"{what} is not recorded, so no image will be compared with it: {error}"]
    return []


class _UnansweredError(Exception):
    """The text says why, for people."""


def _asked(folder: str, place: Path) -> str:
    script = Path(replay.__file__).read_text("utf-8")
    command = [sys.executable, "-c", script, "model", folder, str(place)]
    quiet = subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _UnansweredError(f"the model has not answered after {_SECONDS:.0f} s") from None
    try:
        found = json.loads(place.read_bytes())
    except (OSError, ValueError):
        raise _UnansweredError(f"a process with the model alone ended with {done.returncode}") from None
    if "nothing" in found:
        raise _UnansweredError(found["nothing"])
    if found["stage"] != "done":
        fault = found["fault"]
        said = " ".join(redacted(f"{fault['type']}: {fault['text']}").split())[:300]
        raise _UnansweredError(f"a process with the model alone fails ({found['stage']}): {said}")
    return str(found["answers"][0])
