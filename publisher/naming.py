"""Names of images out of names of models (docs/names.md): no two models share one, and none ever changes."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

from publisher.domain import ModelVersion, Target
from publisher.errors import BuildError
from publisher.oci.reference import Reference

LONGEST = 100  # characters of what {model} becomes
READABLE = 60  # of them, before the mark
# The names that every registry takes: ECR and GitLab refuse two separators in a row, Docker Hub one character.
_PLAIN = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_MARKED = re.compile(r".*-[0-9a-f]{20}", re.DOTALL)
OWN = "model-publisher"  # the publisher's own image (ownimage/)
# The other is where targets keep what they remember, unless told otherwise.
_RESERVED = frozenset({OWN, "publisher-cache"})


@lru_cache(4096)  # a poll asks for each version
def repository_name(model: str) -> str:
    """`model` where it is a repository name as it stands, else a readable form with a mark of the whole name.

    ``Fraud Model`` becomes ``fraud-model-`` and the first 20 hex digits of its SHA-256. A plain name that looks as
    if it were such a form gets a mark too, so that nobody can register a model under another one's repository.
    """
    if (
        _PLAIN.fullmatch(model)
        and 2 <= len(model) <= LONGEST
        and not _MARKED.fullmatch(model)
        and model not in _RESERVED
    ):
        return model
    # Single code points of JSON may be halves of a pair, which UTF-8 proper refuses.
    mark = hashlib.sha256(model.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return f"{_readable(model) or 'model'}-{mark}"


def _readable(model: str) -> str:
    # Canonical decomposition alone, because it is the one that no later Unicode changes.
    ascii_only = "".join(c if c.isascii() else "" if unicodedata.combining(c) else " " for c in _nfd(model))
    return "-".join(re.findall(r"[a-z0-9]+", ascii_only.lower()))[:READABLE].strip("-")


def _nfd(model: str) -> str:
    return unicodedata.normalize("NFD", model)


def image_name(target: Target, version: ModelVersion) -> str:
    """The image of a version for a target, by the target's template.

    Raises BuildError where the template and the names do not make a reference, or one that is not an image's.
    """
    text = target.image.format(
        registry=target.registry,
        model=repository_name(version.name),
        version=version.version,
        target=target.name.lower(),
    )
    if target.layout_folder is None:
        repository = parse(text).repository
        if target.cache and parse(target.cache.format(registry=target.registry)).repository == repository:
            raise BuildError(
                f"{repository} is the cache of the target {target.name}, and would be the image of {version} too",
                hint="Give `cache` of the target another name.",
            )
    return text


def parse(text: str) -> Reference:
    """Read an image's name. Raises BuildError where it is none, or longer than clients take with its host."""
    try:
        found = Reference.parse(text)
    except ValueError as error:
        raise BuildError(str(error), hint="Correct `registry` or `image` of the target.") from error
    if len(str(found.repository)) > 255:
        raise BuildError(
            f"{found.repository} has more than 255 characters", hint="Shorten `registry` of the target."
        )
    return found
