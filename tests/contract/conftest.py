"""What the contracts share: a base image for the builders, a model registry for the source."""

from __future__ import annotations

from tests.contract.mlflow_lab import lab, proxy
from tests.contract.world import world
from tests.e2e.conftest import base_layout

__all__ = ["base_layout", "lab", "proxy", "world"]
