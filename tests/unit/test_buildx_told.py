"""What ``buildx inspect`` tells, as several of its versions and drivers write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.builders.buildx_builders import Told, fields, parse
from publisher.domain import Platform

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
REMOTE = """\
Name:          tests
Driver:        remote
Last Activity: 2026-11-22 14:29:17 +0000 UTC

Nodes:
Name:             tests0
Endpoint:         unix:///run/buildkitd.sock
Status:           running
BuildKit version: v0.26.3
Platforms:        linux/amd64, linux/amd64/v2, linux/arm64, linux/386
Labels:
 org.mobyproject.buildkit.worker.snapshotter:      overlayfs
GC Policy rule#0:
 All:            false
"""
TWO_NODES = """\
Name:   farm
Driver: docker-container

Nodes:
Name:      farm0
Endpoint:  unix:///var/run/docker.sock
Status:    running
Flags:     --debug
Buildkit:  v0.10.6
Platforms: linux/amd64*, linux/amd64/v2

Name:      farm1
Endpoint:  ssh://arm
Status:    running
Platforms: linux/arm64/v8*
"""
INACTIVE = (
    "Name:   b\nDriver: docker-container\n\nNodes:\nName:     b0\nEndpoint: default\nStatus:   inactive\n"
)
AWAY = "Name:   default\nDriver: \nError:  Cannot connect to the Docker daemon at unix:///x. Is it running?\n\nNodes:\n"
DOCKER = "Name:   default\nDriver: docker\n\nNodes:\nName:      default\nStatus:    running\nPlatforms: linux/amd64\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (REMOTE, Told("remote", True, True, frozenset({AMD64, ARM64}), "")),
        (TWO_NODES, Told("docker-container", True, True, frozenset({AMD64, ARM64}), "")),
        (INACTIVE, Told("docker-container", True, False, frozenset(), "")),
        (
            AWAY,
            Told(
                "",
                True,
                False,
                frozenset(),
                "Cannot connect to the Docker daemon at unix:///x. Is it running?",
            ),
        ),
        (DOCKER, Told("docker", False, True, frozenset({AMD64}), "")),
        (f"{DOCKER}Features:\n OCI exporter:  false\n", Told("docker", False, True, frozenset({AMD64}), "")),
        (f"{DOCKER}Features:\n OCI exporter:  true\n", Told("docker", True, True, frozenset({AMD64}), "")),
    ],
)
def test_what_is_told(text: str, told: Told) -> None:
    """Driver, whether it runs, platforms of all nodes, whether it can export."""
    found = parse(text)
    known = frozenset(each for each in found.platforms if each in (AMD64, ARM64))
    assert Told(found.driver, found.exports, found.running, known, found.error) == told


def test_words_of_buildkit_are_lines_of_csv() -> None:
    """A comma or a quote in a path is part of it."""
    found = fields([("id", "a"), ("src", Path('/a, "b"/c'))])
    assert found == 'id=a,"src=/a, ""b""/c"'
