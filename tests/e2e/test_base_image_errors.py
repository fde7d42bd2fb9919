"""What a base image cannot be made of: real refusals of mmdebstrap, and faults that are told before it runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from publisher.baseimage import build
from publisher.domain import Platform
from publisher.errors import EngineError, SettingsError
from publisher.progress import Silent
from tests.engines import require

AMD64 = Platform("linux", "amd64")
pytestmark = pytest.mark.engine("mmdebstrap")


@pytest.mark.parametrize(
    ("suite", "include", "mirror", "message"),
    [
        (
            "bookworm",
            ["no-such-package"],
            "",
            "Debian bookworm has no package no-such-package for linux/amd64",
        ),
        ("nosuchsuite", [], "", "no suite nosuchsuite"),
        ("bookworm", [], "http://user:canary@127.0.0.1:9/debian", "the Debian mirror cannot be reached"),
    ],
)
def test_what_debian_cannot_give(
    suite: str, include: list[str], mirror: str, message: str, tmp_path: Path
) -> None:
    """A wrong package, suite or mirror ends in one line with a hint, mmdebstrap's own words and no password."""
    require("mmdebstrap", "mmdebstrap")
    environ = {**os.environ, "PUBLISHER_DEBIAN_MIRROR": mirror}
    with pytest.raises(EngineError) as caught:
        build(f"oci:{tmp_path}", [AMD64], suite, include, environ, Silent())
    assert message in str(caught.value)
    assert caught.value.hint and caught.value.detail
    assert "canary" not in caught.value.line + caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_without_mmdebstrap(tmp_path: Path) -> None:
    """Without mmdebstrap the error says how to install it, and that another base image does as well."""
    with pytest.raises(EngineError, match="mmdebstrap is not installed") as caught:
        build(f"oci:{tmp_path}", [AMD64], "bookworm", [], {"PATH": str(tmp_path)}, Silent())
    assert "apt-get install mmdebstrap" in caught.value.hint
    assert "registry" in caught.value.hint


def test_every_fault_at_once(tmp_path: Path) -> None:
    """A platform, a suite and a package that are none are told together, before anything is fetched."""
    with pytest.raises(SettingsError) as caught:
        build(f"oci:{tmp_path}", [Platform("linux", "s390x")], "--hook", ["-x"], {}, Silent())
    assert len(caught.value.faults) == 3
