"""Which versions carry a tag, themselves or by their registered model: a few searches, whatever their number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from publisher.errors import ModelRegistryError
from publisher.sources.base import MODEL_TAGS
from publisher.sources.faults import told

PAGE = 10_000  # versions; ten pages of a thousand take a server seven times as long as one of ten thousand
MODELS = 1000  # registered models: the most that MLflow gives at once
FILTER = (
    2500  # characters of names in one filter: it travels in the address, of which gunicorn takes 4,094 bytes
)
STATUS = "publisher."  # what begins so tells of one version, and is lent to no other
_UNQUOTABLE = re.compile(r"['\"`\\]")


def tagged(client: Any, url: str, tag: str) -> Iterator[tuple[Any, Mapping[str, str]]]:
    """Each of MLflow's versions that has the tag or whose model has it, and the tags that its model lends it.

    `tag` holds no quotes. Raises ModelRegistryError.
    """
    models = {
        model.name: lent(model.tags)
        for key in (tag, *MODEL_TAGS)
        for model in pages(client.search_registered_models, url, f"tags.`{key}` LIKE '%'", MODELS)
    }
    for found in pages(client.search_model_versions, url, f"tags.`{tag}` LIKE '%'", PAGE):
        yield found, models.get(found.name, {})
    for found in _versions_of(client, url, [name for name, tags in models.items() if tag in tags]):
        if tag not in found.tags:  # those that have it came already
            yield found, models[found.name]


def lent(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a registered model that are defaults of its versions.

    A MODEL_ tag that nobody reads is none of them: `tagged` could not find it on every model.
    """
    return {
        key: value
        for key, value in tags.items()
        if not key.startswith(STATUS) and (key in MODEL_TAGS or not key.startswith("MODEL_"))
    }


def _versions_of(client: Any, url: str, names: Sequence[str]) -> Iterator[Any]:
    for group in _groups(names):
        try:
            found = pages(client.search_model_versions, url, named(group), PAGE)
            yield from (version for version in found if version.name in group)
        except ModelRegistryError as error:
            if error.retryable or len(group) == 1:
                raise
            # MLflow 2 knows IN for runs alone: there it takes one search for each model that has the tag.
            for name in group:
                yield from pages(client.search_model_versions, url, named([name]), PAGE)


def _groups(names: Sequence[str]) -> Iterator[list[str]]:
    group: list[str] = []
    for name in names:
        alone = bool(_UNQUOTABLE.search(name))
        if group and (alone or sum(len(quote(each)) + 9 for each in [*group, name]) > FILTER):
            yield group
            group = []
        if alone:
            yield [name]
        else:
            group.append(name)
    if group:
        yield group


def named(names: Sequence[str]) -> str:
    if len(names) > 1:
        return "name IN ('{}')".format("', '".join(names))
    # A filter cannot hold every quote. In a pattern an underscore stands for any character.
    pattern = _UNQUOTABLE.sub("_", names[0])
    return f"name {'=' if pattern == names[0] else 'LIKE'} '{pattern}'"


def pages(search: Any, url: str, text: str, size: int) -> Iterator[Any]:
    """What a search of MLflow's client finds, page after page; raises ModelRegistryError."""
    token = None
    while True:
        with told(url, "a search for models"):
            page = search(filter_string=text, max_results=size, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
