"""The model in an image and its input example, found by the layers' surveys alone: nothing is unpacked for it."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from publisher.checks import replay
from publisher.checks.program import Start
from publisher.checks.surveys import Surveys
from publisher.checks.tree import File, Tree
from publisher.oci import layout as layouts
from publisher.oci.layout import READABLE_LAYERS, Layout

_MODEL = "MLmodel"
EXAMPLES = (replay.EXAMPLE, "input_example.json")
# Where images have their model: ours, by the variable of the documents' Dockerfile, MLflow's own, KServe's.
_PLACES = ("/app/model", "/opt/ml/model", "/mnt/models")
_LOG_IT = "log it with input_example=… to have it checked"


@dataclass(frozen=True, slots=True)
class Example:
    """`folder`: of the model, absolute in the image; `layer`: the digest of the layer with its MLmodel; `served`: the
    image starts MLflow's server with it; `starts`: what else it starts. `why_not`: why nothing can be replayed.
    """

    folder: str = ""
    layer: str = ""
    served: bool = False
    starts: str = ""
    why_not: str = ""

    @classmethod
    def of(cls, layout: Layout, manifest: str, surveys: Surveys) -> Example:
        """Raises BuildError where the layers make no image, and what fetching one raises."""
        layers = layout.layers(manifest)
        for layer in layers:
            if not layer.media_type.endswith(READABLE_LAYERS):
                return cls(why_not=f"a layer is of the type {layer.media_type}, which is not read here")
        with layouts.readable(f"the config of {manifest}"):
            start = Start.of(layout.config(manifest))
        tree = Tree(surveys.of(layout, layers))
        served = _served(start.arguments)
        folders = [posixpath.join(start.workdir, served)] if served else _wanted(start)
        found = next((folder for folder in folders if tree.file(f"{folder}/{_MODEL}")), None)
        others = [] if found or served else _anywhere(tree)
        if not found and len(others) != 1:
            several = f"there are {len(others)} models in the image" if others else "no model is in the image"
            return cls(why_not=several + (f" at {folders[0]}" if served else ""))
        folder = found or others[0]
        file = tree.file(f"{folder}/{_MODEL}")
        if not any(tree.file(f"{folder}/{name}") for name in EXAMPLES):
            return cls(folder, why_not=f"the model has no input example: {_LOG_IT}")
        starts = shlex.join(start.arguments) or "nothing"
        return cls(folder, file.layer if file else "", bool(served), starts[:200])


def _served(arguments: Sequence[str]) -> str:
    """The folder that runtime/serve.py is given, in whichever way the image starts it; empty where it starts another."""
    for number, word in enumerate(arguments):
        if word.endswith("/serve.py"):
            return next(iter(arguments[number + 1 :]), _PLACES[0])
    return ""


def _wanted(start: Start) -> list[str]:
    told = start.variables.get("MODEL_PATH", "")
    return [f"{told}/model", told, *_PLACES] if told.startswith("/") else list(_PLACES)


def _anywhere(tree: Tree) -> list[str]:
    """The folders of models; those that belong to packages are examples of these, those inside a model its parts."""
    found = [
        posixpath.dirname(path)
        for path, file in tree.files()
        if path.endswith(f"/{_MODEL}") and isinstance(file, File) and not file.package
    ]
    return [folder for folder in found if not any(folder.startswith(f"{other}/") for other in found)]
