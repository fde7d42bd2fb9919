"""The accounts that an engine is given: those of the registries that it needs, as `docker login` writes them."""

from __future__ import annotations

import base64

from publisher.oci.credentials import BasicAuth, Credentials, docker_accounts


def packed(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_only_what_is_needed() -> None:
    """Nothing of a registry that nobody named; Docker Hub under the name that Docker has for it."""
    known = {
        "docker.io": BasicAuth("hub", "one"),
        "quay.io": BasicAuth("q", "two"),
        "other.test": BasicAuth("o", "three"),
    }
    found = docker_accounts(
        Credentials(known), ["python:3.11", "quay.io/team/x", "ghcr.io/a/b", "NOT A NAME"]
    )
    assert found == {
        "https://index.docker.io/v1/": {"auth": packed("hub:one")},
        "quay.io": {"auth": packed("q:two")},
    }
