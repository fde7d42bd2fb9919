"""A poll over 10,000 tagged of 100,000 versions with nothing to do, against one raw search of MLflow's client."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import statistics
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.process import run
from benchmarks.world import FOREIGN
from publisher import settings, status
from publisher.domain import ModelVersion, Status, Target
from publisher.naming import image_name
from tests.engines.mlflow import MlflowServer, serve

MODELS, VERSIONS, TAGGED = 1_000, 100, 10_000
TAG = "EXTERNAL_TARGET_BENCH"
LIMIT = 1.3
REGISTERED = datetime(2026, 1, 2, tzinfo=UTC)

# The raw search, as a script would do it that has nothing but MLflow's client; it tells its own seconds too.
SEARCH = f"""
import time
from mlflow import MlflowClient
client, token, found, began = MlflowClient(), None, 0, time.perf_counter()
while True:
    page = client.search_model_versions("tags.`{TAG}` LIKE '%'", max_results=10_000, page_token=token)
    found, token = found + len(page), page.token
    if not token:
        break
print(found, time.perf_counter() - began)
"""
POLL = """
import os, time
from publisher import settings, wiring
from publisher.progress import Silent
with wiring.connect(settings.load({}, os.environ), os.environ, Silent()) as app:
    began = time.perf_counter()
    found = app.poll()
    print(len(found), time.perf_counter() - began)
"""


def measure(folder: Path, command: Path, *, runs: int) -> dict[str, Any]:
    """`folder` is empty; `command` is the product, installed alone. In turns, one of each before as a warm-up."""
    with serve(folder / "mlflow") as server, _registry() as (port, connections):
        (folder / "publisher.toml").write_text(
            f'mlflow_tracking_uri = "{server.uri}"\ncache_folder = "{folder / "cache"}"\n'
            f'[targets.BENCH]\nregistry = "127.0.0.1:{port}/bench"\nbase = "127.0.0.1:{port}/python:{{python}}"\n'
        )
        [target] = settings.load({}, {}, folder / "publisher.toml").targets
        database = folder / "mlflow" / "mlflow.db"
        _fill(server, database, target)
        before, asked = _content(database), len(_writes(server))
        kinds = {
            "ours": [command, "poll", "--json"],
            "peer": [command.with_name("python"), "-c", SEARCH],
            "ours_inside": [command.with_name("python"), "-c", POLL],
        }
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for turn in range(runs + 1):
            for kind, words in kinds.items():
                done = run(words, folder=folder, environment=_environment(server), wait=turn > 0)
                if turn:
                    found[kind].append(_figures(kind, done.output, done.seconds, done.cpu, done.before))
        writes = len(_writes(server)) - asked + (_content(database) != before)
    median = {kind: statistics.median(each["seconds"] for each in found[kind]) for kind in found}
    inside = {
        kind: statistics.median(each["inside"] for each in found[kind]) for kind in ("peer", "ours_inside")
    }
    return {
        **found,
        "versions": MODELS * VERSIONS,
        "tagged": TAGGED,
        "ours_seconds": round(median["ours"], 3),
        "peer_seconds": round(median["peer"], 3),
        "ratio": round(median["ours"] / median["peer"], 2),
        "ours_in_process": round(inside["ours_inside"], 3),
        "peer_in_process": round(inside["peer"], 3),
        "ratio_in_process": round(inside["ours_inside"] / inside["peer"], 2),
        "writes": writes,
        "registry_requests": len(connections),
        "target": LIMIT,
    }


def _figures(kind: str, output: str, seconds: float, cpu: float, before: Any) -> dict[str, Any]:
    figures = {"seconds": round(seconds, 3), "cpu": round(cpu, 2), "before": dict(before)}
    if kind == "ours":
        outcomes = json.loads(output)["outcomes"]
        count = sum(each["state"] == "skipped" and "changed" not in each["reason"] for each in outcomes)
    else:
        number, inside = output.split()[-2:]
        count, figures["inside"] = int(number), round(float(inside), 3)
    if count != TAGGED:
        raise RuntimeError(f"{kind}: {count} versions, not {TAGGED}")
    return figures


def _fill(server: MlflowServer, database: Path, target: Target) -> None:
    """All versions, straight into the tables: by the interface it would take an hour. Columns as MLflow fills them."""
    client = server.client()
    client.create_registered_model("sample", tags={"a": "b"})
    client.create_model_version("sample", "s3://bucket/x", tags={"a": "b"})
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        samples = {
            table: dict(zip([column[0] for column in rows.description], rows.fetchone(), strict=True))
            for table in ("registered_models", "model_versions", "model_version_tags")
            for rows in [connection.execute(f"SELECT * FROM {table} WHERE name = 'sample'")]  # noqa: S608
        }
        rows: dict[str, list[dict[str, Any]]] = {table: [] for table in samples}
        for model in range(MODELS):
            name = f"model-{model:04}"
            rows["registered_models"].append({"name": name})
            for number in range(1, VERSIONS + 1):
                source = f"mlflow-artifacts:/0/{model:028}{number:04}/artifacts/mymodel"
                made = {
                    "name": name,
                    "version": number,
                    "source": source,
                    "run_id": f"{model:028}{number:04}",
                }
                rows["model_versions"].append({**made, "storage_location": source})
                tagged = number > VERSIONS - TAGGED // MODELS
                tags = _tags(made, target) if tagged else {"owner": "someone"}
                for key, value in tags.items():
                    row = {"name": name, "version": number, "key": key, "value": value}
                    rows["model_version_tags"].append(row)
        for table, each in rows.items():
            sample = samples[table]
            columns = ", ".join(sample)
            marks = ", ".join("?" * len(sample))
            full = ([row.get(column, value) for column, value in sample.items()] for row in each)
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", full)  # noqa: S608


def _tags(made: dict[str, Any], target: Target) -> dict[str, str]:
    """What a published version carries."""
    asked = {TAG: "true", "MODEL_FOLDER": "mymodel"}
    version = ModelVersion(
        made["name"], str(made["version"]), made["source"], REGISTERED, made["run_id"], asked
    )
    published = Status(
        "published",
        image=image_name(target, version),
        digest=f"sha256:{made['run_id'] * 2}",
        fingerprint=status.fingerprint(version, target),
        updated=REGISTERED,
    )
    return {**asked, **status.to_tags(published, target.name)}


def _environment(server: MlflowServer) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return clean | {"MLFLOW_TRACKING_URI": server.uri, "MLFLOW_DISABLE_TELEMETRY": "true"}


def _content(database: Path) -> str:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT count(*), sum(length(value)), max(value) FROM model_version_tags")
        return repr(found.fetchone())


def _writes(server: MlflowServer) -> list[str]:
    """The lines of the server's own log that tell of a call that writes."""
    lines = server.log.read_text(errors="replace").splitlines()
    return [
        line for line in lines if any(f'"{verb} /' in line for verb in ("POST", "PUT", "PATCH", "DELETE"))
    ]


@contextmanager
def _registry() -> Iterator[tuple[int, list[Any]]]:
    """The target's registry: a port that counts who knocks."""
    connections: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1], connections
        finally:
            listener.shutdown(socket.SHUT_RDWR)
