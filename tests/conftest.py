"""The real components are fixtures of every test; each starts when it is first asked for."""

from __future__ import annotations

from hypothesis import settings

# A test that is slow on a busy machine is not wrong, and a folder of examples in the checkout helps nobody.
settings.register_profile("project", deadline=None, database=None)
settings.load_profile("project")

pytest_plugins = [  # one that others import comes before them
    "tests.engines.docker",
    "tests.engines.mlflow",
    "tests.engines.registry",
    "tests.engines.s3",
    "tests.engines.hub",
    "tests.engines.buildah",
    "tests.engines.buildkit",
    "tests.engines.kaniko",
    "tests.engines.kubernetes",
    "tests.engines.publisher_image",
    "tests.order",
]
