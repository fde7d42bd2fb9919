"""The real components are fixtures of every test; each starts when it is first asked for."""

from __future__ import annotations

pytest_plugins = ["tests.engines.docker", "tests.engines.mlflow", "tests.engines.registry"]
