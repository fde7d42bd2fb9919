"""The names that a template may use, and their values for one version and target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from publisher.domain import ImageSpec, ModelVersion, Platform, Target

# docs/templates.md has this table, held true by a test. The first seven are those of the documents' scripts.
NAMES: Mapping[str, str] = {
    "model_name": "name of the registered model",
    "model_version": "number of the version",
    "model_download_folder": "where the version's files are: the build context itself, so `.`",
    "model_folder": "the model's folder in the build context",
    "model_client_folder": "the client's folder in the build context; empty where there is none",
    "entry_point": "the tag MODEL_ENTRY_POINT: what the container starts",
    "command_line": "the tag MODEL_EXECUTE_PATH: its argument; empty where the model is served",
    "target": "name of the target",
    "image": "the image's whole name with its tag",
    "registry": "the target's registry, with its prefix",
    "platforms": "a list such as `linux/amd64`; in the older form separated by commas",
    "base_image": "name of the base image",
    "python_version": "the model's own Python, such as `3.11.7`; empty where it does not say",
    "requirements_file": "path of requirements.txt in the build context; empty where there is none",
    "conda_file": "path of conda.yaml; empty where there is none",
    "python_env_file": "path of python_env.yaml; empty where there is none",
    "labels": "the labels of the image, by their keys; in Jinja2's form only",
    "tags": "every tag of the version and of its model, by its key; in Jinja2's form only",
}
# Known where the environment is locked: in our own templates and in a site's.
OF_IMAGE: Mapping[str, str] = {
    "files": "folders of the build context, each a `folder` and its `destination` in the image; in Jinja2's form only",
    "conda": "whether conda makes the environment, of environment/conda.yaml; in Jinja2's form only",
    "local_wheels": "whether environment/wheels has wheels that no package index has; in Jinja2's form only",
    "bytecode": "whether the packages are to have bytecode; in Jinja2's form only",
    "prefix": "the folder of the virtual environment in the image",
    "entrypoint": "the words of the entry point, a list",
    "command": "the words of the command, a list",
    "variables": "the environment variables of the image, by their names; in Jinja2's form only",
    "user": "the numeric user, such as `10001:10001`",
    "workdir": "the working directory",
    "ports": "the ports that are served, a list; empty where the model is not served",
}
ENVIRONMENT_FILES = ("requirements_file", "conda_file", "python_env_file")
PREFIX = "/opt/venv"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a template is told. Folders and files are relative to the build context, and "" where there is none."""

    version: ModelVersion
    target: Target
    image: str
    model_folder: str
    client_folder: str
    entry_point: str
    command_line: str
    base_image: str
    python_version: str
    files: Mapping[str, str]  # requirements_file, conda_file, python_env_file
    labels: Mapping[str, str]

    @property
    def platforms(self) -> Sequence[Platform]:
        return self.target.platforms


def context(facts: Facts, spec: ImageSpec | None = None) -> dict[str, Any]:
    """The values of NAMES, and every tag whose key is a name and none of those, under its own key.

    With `spec`, those of OF_IMAGE too, besides the ones that tell of the folder.
    """
    tags = dict(facts.version.effective_tags)
    own: dict[str, Any] = {
        "model_name": facts.version.name,
        "model_version": facts.version.version,
        "model_download_folder": ".",
        "model_folder": facts.model_folder,
        "model_client_folder": facts.client_folder,
        "entry_point": facts.entry_point,
        "command_line": facts.command_line,
        "target": facts.target.name,
        "image": facts.image,
        "registry": facts.target.registry,
        "platforms": [str(platform) for platform in facts.platforms],
        "base_image": facts.base_image,
        "python_version": facts.python_version,
        **{name: facts.files.get(name, "") for name in ENVIRONMENT_FILES},
        "labels": dict(facts.labels),
        "tags": tags,
    }
    if spec:
        own |= {
            "prefix": PREFIX,
            "conda": spec.conda,
            "bytecode": spec.bytecode,
            "entrypoint": list(spec.entrypoint),
            "command": list(spec.command),
            "variables": dict(spec.environment),
            "labels": dict(spec.labels),
            "user": spec.user,
            "workdir": spec.workdir,
            "ports": list(spec.ports),
        }
    return {**{key: value for key, value in tags.items() if key.isidentifier()}, **own}
