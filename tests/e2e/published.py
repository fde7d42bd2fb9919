"""A version after its publication, as MLflow's tags and the registry tell it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.engines import bare_client
from tests.engines.bare_client import Account
from tests.engines.mlflow import MlflowServer
from tests.models import Registered


@dataclass(frozen=True, slots=True)
class Published:
    """What the status tags of one target say of a version, and what lies in the registry by that."""

    model: Registered
    target: str
    tags: dict[str, str]
    account: Account = None

    def status(self, key: str) -> str:
        return self.tags.get(f"publisher.{self.target}.{key}", "")

    @property
    def image(self) -> str:
        return self.status("image")

    def index(self) -> bare_client.Manifest:
        """What the image's tag stands for in the registry."""
        index = bare_client.of_reference(self.image, self.account)
        assert index is not None, f"nothing at {self.image}"
        return index

    def layers(self, platform: str) -> list[str]:
        """The digests of a platform's layers, bottom first."""
        host, _, rest = self.image.partition("/")
        name = rest.rpartition(":")[0]
        found = bare_client.manifest(host, name, self.index().platforms[platform], self.account)
        assert found is not None
        return found.layers


def published(
    server: MlflowServer, model: Registered, target: str = "TEST", account: Account = None
) -> Published:
    """The version's publication; fails where MLflow does not say that it is published."""
    found = Published(model, target, server.tags(model.name, model.version), account)
    assert found.status("state") == "published", found.tags
    return found


def outcomes(said: str) -> dict[str, dict[str, Any]]:
    """What ``--json`` told of each version that was looked at: ``name/version`` -> outcome."""
    return {f"{each['model']}/{each['version']}": each for each in json.loads(said)["outcomes"]}
