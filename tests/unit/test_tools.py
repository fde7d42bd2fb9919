"""What the tools that build are given of our environment."""

from __future__ import annotations

import pytest

from publisher.builders.command import of_tools


@pytest.mark.parametrize(
    "key", ["PATH", "HOME", "DOCKER_HOST", "BUILDX_BUILDER", "CONTAINERS_STORAGE_CONF", "https_proxy"]
)
def test_what_they_run_by_is_passed_on(key: str) -> None:
    """Where they are, which engine they speak to, and how the network is reached."""
    assert of_tools({key: "x"}) == {key: "x"}


@pytest.mark.parametrize(
    "key",
    [
        *(
            "REGISTRY_TOKEN",
            "REGISTRY_USER",
            "MLFLOW_TRACKING_PASSWORD",
            "DOCKER_AUTH_CONFIG",
            "AWS_SECRET_ACCESS_KEY",
        ),
        *("UV_INDEX_CORP_PASSWORD", "PIP_INDEX_URL", "DOMINO_USER_API_KEY", "PUBLISHER_CONFIG", "SOMETHING"),
    ],
)
def test_credentials_are_not(key: str) -> None:
    """Commands of a Dockerfile may see the environment of the engine that runs them."""
    assert of_tools({key: "x"}) == {}
