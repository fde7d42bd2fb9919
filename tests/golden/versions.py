"""Fixed versions with all that decides their build contexts, and none of it from anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from publisher.contexts import Contexts, Wanted
from publisher.describe import describe
from publisher.domain import BaseImage, Context, Environment, Lock, ModelVersion, Platform, Target, Wheel
from publisher.environments import read
from publisher.naming import image_name
from publisher.sources.base import Fetched

PLATFORMS = Platform("linux", "amd64"), Platform("linux", "arm64")
BASE = BaseImage(
    "docker.io/library/python:3.11-slim",
    f"sha256:{'5e' * 32}",
    "3.11.7",
    "/usr/local/bin/python3.11",
    (2, 36),
)
LIMIT = 1 << 20
REQUIREMENTS = "mlflow==3.1.0\nscikit-learn==1.5.2\n"
CONDA = """\
name: mlflow-env
channels:
- conda-forge
dependencies:
- python=3.11.7
- pip
- cudatoolkit>=11.4
- pip:
  - mlflow==3.1.0
"""
DOCKERFILE = """\
FROM ${base_image}
RUN groupadd --gid 1000 domino && useradd --uid 1000 --gid 1000 domino -m -d /app
ENV PATH=$${PATH}:/home/app/.local/bin MODEL_NAME=${model_name} MODEL_VERSION=v${model_version}
WORKDIR /app
ADD ${model_folder} /app/${model_folder}
ADD ${model_client_folder} /app/${model_client_folder}
RUN pip install -r /app/${requirements_file}
USER 1000
ENTRYPOINT ["${entry_point}", "${command_line}"]
"""
SCRIPT = """\
#!/bin/sh
docker build -f ./Dockerfile -t ${FOUNDRY_URL}/${model_name}:v${model_version} ${model_download_folder}
docker push ${FOUNDRY_URL}/${model_name}:v${model_version}
docker run -p 8080:8080 -e HOME=$$HOME ${FOUNDRY_URL}/${model_name}:v${model_version}
"""


def target(**settings: object) -> Target:
    return Target("PLTR", "EXTERNAL_TARGET_PLTR", "quay.io/team", PLATFORMS, "python", **settings)  # type: ignore[arg-type]


def version(**tags: str) -> ModelVersion:
    created = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return ModelVersion(
        "Pricing model", "8", "models:/m-1", created, "r1", {"EXTERNAL_TARGET_PLTR": "true", **tags}
    )


def fetched(root: Path, files: Mapping[str, str], *, client: bool, templates: bool) -> Fetched:
    """As a source leaves them: for the owner alone."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    size = sum(map(len, files.values()))
    return Fetched(
        root,
        root / "mymodel",
        root / "client" if client else None,
        root / "templates" if templates else None,
        size,
    )


def ours(
    folder: Path,
    model: ModelVersion,
    goal: Target,
    *,
    conda: str = "",
    client: bool = False,
    contexts: Contexts | None = None,
) -> Context:
    """The context of our own templates, or of the site's."""
    files = {"mymodel/MLmodel": "flavors: {}\n", "mymodel/requirements.txt": REQUIREMENTS}
    files |= {"mymodel/conda.yaml": conda} if conda else {}
    files |= {"client/execute_model.py": "print('hello')\n"} if client else {}
    found = fetched(folder / "files", files, client=client, templates=False)
    environment = read(found.model, conda=goal.conda)
    if conda:
        locks = {platform: Lock(platform, "", ()) for platform in PLATFORMS}
    else:
        environment = Environment(environment.requirements, "3.11.7")
        locks = {platform: Lock(platform, "3.11", tuple(_wheels(platform))) for platform in PLATFORMS}
    spec = describe(model, goal, found, BASE, locks, conda=bool(conda))
    (folder / "context").mkdir()
    wanted = Wanted(model, goal, image_name(goal, model), found)
    return (contexts or Contexts(LIMIT)).ours(wanted, spec, environment, folder / "context")


def own(folder: Path, model: ModelVersion, goal: Target, templates: Mapping[str, str]) -> Context | None:
    """The context of a version's own templates, by their path."""
    files = {"mymodel/MLmodel": "flavors: {}\n", "mymodel/requirements.txt": REQUIREMENTS}
    files |= {"client/execute_model.py": "print('hello')\n"}
    files |= {f"templates/{name}": text for name, text in templates.items()}
    found = fetched(folder / "files", files, client=True, templates=True)
    wanted = Wanted(model, goal, image_name(goal, model), found)
    return Contexts(LIMIT).of_version(wanted, "docker.io/library/python:3.11-slim", "3.11.7")


def _served(folder: Path) -> Context:
    return ours(folder, version(), target())


def _with_a_client(folder: Path) -> Context:
    model = version(MODEL_ENTRY_POINT="python -u", MODEL_EXECUTE_PATH="client/execute_model.py")
    return ours(folder, model, target(bytecode=False), client=True)


def _by_conda(folder: Path) -> Context:
    return ours(folder, version(), target(conda="conda"), conda=CONDA)


def _its_own(folder: Path) -> Context:
    model = version(FOUNDRY_URL="quay.io/domino", MODEL_EXECUTE_PATH="client/execute_model.py")
    model = ModelVersion("pltr_model", model.version, model.source, model.created, "r1", model.tags)
    templates = {"Dockerfile.template": DOCKERFILE, "create_docker_image.sh.template": SCRIPT}
    made = own(folder, model, target(), templates)
    assert made is not None
    return made


VERSIONS: Mapping[str, Callable[[Path], Context]] = {
    "served": _served,
    "client": _with_a_client,
    "conda": _by_conda,
    "own": _its_own,
}


def _wheels(platform: Platform) -> list[Wheel]:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[platform.architecture]
    tag, digit = f"cp311-cp311-manylinux_2_17_{machine}", {"x86_64": "1", "aarch64": "2"}[machine]
    return [
        Wheel("mlflow", "3.1.0", "mlflow-3.1.0-py3-none-any.whl", "https://files.test/m.whl", "3" * 64, 1),
        Wheel(
            "scikit-learn",
            "1.5.2",
            f"scikit_learn-1.5.2-{tag}.whl",
            "https://files.test/s.whl",
            digit * 64,
            1,
        ),
    ]
