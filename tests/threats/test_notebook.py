"""A handle in a notebook shows what a version's tags say, and does nothing that they say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from publisher.errors import PublicationError
from publisher.notebook import Publication
from publisher.notebook.here import Here
from publisher.settings import load
from tests.engines.mlflow import MlflowServer

DIGEST = f"sha256:{'0' * 64}"


@contextmanager
def recording() -> Iterator[tuple[str, list[object]]]:
    """A host that notes who connects to it."""
    seen: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        end = threading.Event()

        def listen() -> None:
            while not end.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                seen.append(address)
                connection.close()

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", seen
        finally:
            end.set()
            thread.join()


def handle(server: MlflowServer, name: str, image: str, **settings: str) -> Publication:
    """On a version whose status tags say that `image` is what was published."""
    client = server.client()
    client.create_registered_model(name)
    said = {"image": image, "digest": DIGEST, "state": "published", "reason": "<img src=x>"}
    tags = {f"publisher.EDGE.{key}": value for key, value in said.items()}
    client.create_model_version(name, "s3://nowhere/model", tags=tags, await_creation_for=0)
    environ = {"MLFLOW_TRACKING_URI": server.uri, **settings}
    return Publication(name, "1", ("EDGE",), Here(load({}, environ)))


@pytest.mark.parametrize("known", [True, False])
def test_no_status_names_what_is_asked_or_run(mlflow_server: MlflowServer, known: bool) -> None:
    """An image that the settings do not make is neither looked up nor started; with no settings, none is."""
    settings = {"PUBLISHER_TARGETS__EDGE__REGISTRY": "registry.example.org/team"} if known else {}
    with recording() as (host, seen):
        found = handle(mlflow_server, f"lured-{known}", f"{host}/team/lured:v1", **settings)
        assert (
            f"docker pull {host}/team/lured@{DIGEST}" in found._repr_html_()
        )  # shown, for a person to judge
        for attempt in (found.run, found.layers):
            with pytest.raises(PublicationError, match="names the image"):
                attempt()
    assert seen == []


@pytest.mark.parametrize("image", ["--privileged", "r.example.org/a:v1; rm -rf ~", "$(id)", "r/<script>:v1"])
def test_no_command_to_copy_is_another_one(mlflow_server: MlflowServer, image: str) -> None:
    """What is no reference makes no pull command, and stays text on the page."""
    found = handle(mlflow_server, f"copied-{abs(hash(image))}", image)
    page = found._repr_html_()
    assert "docker pull" not in page
    assert "<script>" not in page
    assert "<img" not in page
    with pytest.raises(PublicationError):
        found.run()
