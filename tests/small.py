"""Versions that are registered in a moment and published in seconds: a client, and one small requirement."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.engines.mlflow import MlflowServer
from tests.models import Registered

VERSION = ".".join(map(str, sys.version_info[:3]))
TAGS = {
    "MODEL_FOLDER": "mymodel",
    "MODEL_CLIENT_FOLDER": "client",
    "MODEL_ENTRY_POINT": "python",
    "MODEL_EXECUTE_PATH": "client/execute_model.py",
}


def register(
    server: MlflowServer, name: str, target: str, *, requirements: str = "six==1.17.0", number: int = 1
) -> Registered:
    """A version of `name` for `target`, with another `number` inside each time it is called with another one."""
    client = server.client()
    with tempfile.TemporaryDirectory() as place:
        model, code = Path(place) / "mymodel", Path(place) / "client"
        model.mkdir()
        code.mkdir()
        (model / "MLmodel").write_text(
            f"flavors:\n  python_function:\n    loader_module: none\n    python_version: {VERSION}\n"
        )
        (model / "requirements.txt").write_text(f"{requirements}\n")
        (model / "python_env.yaml").write_text(f"python: {VERSION}\ndependencies:\n- -r requirements.txt\n")
        (model / "weights.txt").write_text(str(number))
        (code / "execute_model.py").write_text("print('hello')\n")
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, place)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    tags = {**TAGS, f"EXTERNAL_TARGET_{target}": "true"}
    made = client.create_model_version(
        name, run.info.artifact_uri, run.info.run_id, tags=tags, await_creation_for=0
    )
    return Registered(name, str(made.version), {}, [])
