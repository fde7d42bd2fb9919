"""Names of images out of names of models: documented, and no two models share one."""

from __future__ import annotations

import hashlib
import re

from publisher.domain import ModelVersion, Target
from publisher.errors import BuildError
from publisher.oci.reference import Reference

_REPOSITORY_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")


def repository_name(model: str) -> str:
    """`model` where it is a repository name as it stands, else a readable form with a hash of the whole name.

    ``Fraud Model`` becomes ``fraud-model-1f7c2ab9``: the hash keeps it apart from ``fraud-model``.
    """
    if _REPOSITORY_NAME.fullmatch(model) and len(model) <= 128:
        return model
    words = re.findall(r"[a-z0-9]+", model.lower())
    readable = "-".join(words)[:64].strip("-")
    mark = hashlib.sha256(model.encode()).hexdigest()[:8]
    return f"{readable}-{mark}" if readable else f"model-{mark}"


def image_name(target: Target, version: ModelVersion) -> str:
    """The image of a version for a target, by the target's template.

    Raises BuildError where the template and the names do not make a reference.
    """
    text = target.image.format(
        registry=target.registry,
        model=repository_name(version.name),
        version=version.version,
        target=target.name.lower(),
    )
    if target.layout_folder is None:
        parse(text)
    return text


def parse(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as error:
        raise BuildError(str(error), hint="Correct `registry` or `image` of the target.") from error
