"""Whose fault it is that a tool failed, by what engines really print."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.builders.failures import failure
from publisher.errors import BuildError, EngineError, HostError, PublisherError, RegistryError

_BUILDX = "ERROR: failed to build: failed to solve: "


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        # the Dockerfile's
        (f'{_BUILDX}process "/bin/sh -c exit 7" did not complete successfully: exit code: 7', BuildError),
        (f"{_BUILDX}dockerfile parse error on line 1: unknown instruction: FRM", BuildError),
        (
            f"{_BUILDX}failed to compute cache key: failed to calculate checksum of ref a::b: "
            '"/nosuch": not found',
            BuildError,
        ),
        ("error building image: error building stage: failed to execute command: exit status 7", BuildError),
        ('Error: building at STEP "RUN false": while running runtime: exit status 1', BuildError),
        # an image that is not there, or not for us
        (f"{_BUILDX}python:x: failed to resolve source metadata for hub/python:x: not found", RegistryError),
        (f"{_BUILDX}docker.io/library/nosuch:latest: not found", RegistryError),
        (f"{_BUILDX}x: pull access denied, repository does not exist", RegistryError),
        ("Error: initializing source docker://x:1: reading manifest 1 in x: manifest unknown", RegistryError),
        ("error building image: image not found on any configured mapped registries for x", RegistryError),
        # the machine's
        ("write /layer: no space left on device", HostError),
        (".buildkit_qemu_emulator: /bin/sh: Invalid ELF image: exec format error", EngineError),
        ("exec /bin/sh: exec format error", EngineError),
        (f'{_BUILDX}process "/bin/sh -c x" did not complete successfully: exit code: 137', EngineError),
        # the network's and the engine's
        ("Could not fetch URL: Temporary failure in name resolution", EngineError),
        ("ERROR: Cannot connect to the Docker daemon at unix:///x. Is it running?", EngineError),
        (
            "ERROR: failed to receive status: rpc error: code = Unavailable desc = closing transport",
            EngineError,
        ),
    ],
)
def test_whose_fault_it_is(said: str, kind: type[PublisherError]) -> None:
    """It decides whether the version is tried again."""
    error = failure("/usr/bin/tool", "the build", 1, ["before", said, ""], Path("/logs/x"))
    assert type(error) is kind
    assert said in str(error)
    assert "\n" not in str(error)
    assert error.detail == f"before\n{said}\n"
    assert "/logs/x" in error.hint


def test_a_tool_that_says_nothing() -> None:
    """There is a line all the same."""
    error = failure("tool", "the build", 1, [], Path("x"))
    assert str(error) == "the build by tool failed: it said nothing"


def test_a_long_last_line_is_cut_at_its_beginning() -> None:
    """Tools say why at the end."""
    error = failure("tool", "the build", 1, ["a" * 1000 + " because"], Path("x"))
    assert len(str(error)) < 400
    assert str(error).endswith("because")
