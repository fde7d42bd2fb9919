"""Which platforms' programs run here, and what to do about the others."""

from __future__ import annotations

from publisher.builders import emulation
from publisher.builders.bases import host_platform
from publisher.domain import Platform

RISCV = Platform("linux", "riscv64")


def test_ones_own_needs_nothing() -> None:
    assert emulation.why_not([host_platform()]) == ""


def test_what_is_lacking_is_named_with_what_to_do() -> None:
    """No machine of ours emulates that one; its name and the command are in the line."""
    why = emulation.why_not([host_platform(), RISCV])
    assert why.startswith("programs for linux/riscv64 do not run here")
    assert "apt-get install qemu-user-static" in why


def test_of_another_machine() -> None:
    """A daemon's own platform counts, not ours."""
    assert emulation.lacking([RISCV], own=RISCV) == []
