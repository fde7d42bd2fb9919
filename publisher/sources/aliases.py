"""Which versions the aliases of registered models name. A search for versions does not tell them, one for models does."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from publisher.sources.faults import told
from publisher.sources.search import MODELS, pages

FEW = 10  # models that are asked for one by one rather than found in a search over all


def aliases(client: Any, url: str, models: Collection[str]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """(model, version) -> its aliases, sorted; what has none is missing. Raises ModelRegistryError.

    A request for each of a few models, or for each thousand of all that there are: never one for each version.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for model in _few(client, url, models) if len(models) <= FEW else _all(client, url, set(models)):
        for alias, version in sorted((model.aliases or {}).items()):
            found.setdefault((model.name, str(version)), []).append(alias)
    return {key: tuple(names) for key, names in found.items()}


def _few(client: Any, url: str, models: Collection[str]) -> Any:
    for name in sorted(models):
        with told(url, f"registered model {name}"):
            yield client.get_registered_model(name)


def _all(client: Any, url: str, missing: set[str]) -> Any:
    for model in pages(client.search_registered_models, url, "", MODELS):
        if model.name in missing:
            yield model
            missing.discard(model.name)
        if not missing:
            return
