"""A version's own Dockerfile is a stranger's program: what it can read while an engine runs it."""

from __future__ import annotations

import gzip
import json

import pytest

from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.registry import Registries
from tests.e2e import notebook
from tests.e2e.conftest import NewEngineWorkplace
from tests.e2e.published import published
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.threats.canaries import leaks

SECRETS = {
    "REGISTRY_TOKEN": "c4nary/registry+1",
    "MLFLOW_TRACKING_PASSWORD": "c4nary:mlflow@2",
    "AWS_SECRET_ACCESS_KEY": "c4nary/aws+4/secretKeyOfFortyCharacters",
    "UV_INDEX_CORP_PASSWORD": "c4nary-index-3",
    "config": "c4nary{docker}7",
}
# Whatever a process of its user can see: other processes, the engine's own files, build secrets, the way out.
CURIOUS = """\
FROM python:3.9.19-slim-bullseye
RUN (env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; cat /kaniko/.docker/* /run/secrets/* /root/.docker/*; \\
     cat /proc/1/root/root/.docker/config.json; find / -xdev -name config.json -exec cat {} +) >/seen 2>/dev/null; true
RUN test -s /seen
"""


@pytest.mark.parametrize("engine", ["buildx", "kaniko", "buildah"])
def test_a_dockerfile_sees_no_credential(
    engine: str,
    mlflow_server: MlflowServer,
    registry: RealRegistry,
    new_engine_workplace: NewEngineWorkplace,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It copies all that it can read into its image: the target registry's password and MLflow's are not there."""
    files = {"templates/Dockerfile.template": CURIOUS, "client/execute_model.py": ""}
    model = notebook.register_small(
        mlflow_server, f"curious-{engine}", ["CURIOUS"], files, tmp_path_factory.mktemp("run")
    )
    keys = {"registry": f"{registry.host}/curious", "platforms": ["linux/amd64"], "builder": engine}
    place = new_engine_workplace(engine, CURIOUS=keys)
    (place.folder / "docker").mkdir()
    (place.folder / "docker" / "config.json").write_text(
        json.dumps({"auths": {"elsewhere.example.org": {"username": "u", "password": SECRETS["config"]}}})
    )
    account = {"REGISTRY_USER": "publisher", "MLFLOW_TRACKING_USERNAME": "admin", "AWS_ACCESS_KEY_ID": "a"}
    place.publisher(
        "publish",
        model.name,
        model.version,
        environment={**account, **{k: v for k, v in SECRETS.items() if k.isupper()}},
    )

    layout = Images(Registries(Credentials())).load(published(mlflow_server, model, "CURIOUS").image)
    (child,) = layout.children()
    content = b""
    for layer in layout.layers(child.digest)[-3:]:
        with layout.blobs[layer.digest].open() as stream:
            content += gzip.decompress(stream.read())
    assert b"PATH=" in content  # it did look
    assert leaks(content, SECRETS) == []
