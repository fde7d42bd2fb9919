"""Processors: what OCI, ELF, Debian and people call them."""

from __future__ import annotations

import platform as host
from dataclasses import dataclass

from publisher.checks.elf import Elf
from publisher.domain import Platform


@dataclass(frozen=True, slots=True)
class Machine:
    """`elf`: EM_ name, `triplet`: of Debian's library folders, `name`: of the kernel, for the loader's $PLATFORM."""

    elf: str
    bits: int
    little: bool
    triplet: str
    name: str

    def runs(self, elf: Elf) -> bool:
        return (elf.machine, elf.bits, elf.little) == (self.elf, self.bits, self.little)


MACHINES = {
    "amd64": Machine("X86_64", 64, True, "x86_64-linux-gnu", "x86_64"),
    "arm64": Machine("AARCH64", 64, True, "aarch64-linux-gnu", "aarch64"),
    "arm": Machine("ARM", 32, True, "arm-linux-gnueabihf", "v7l"),
    "386": Machine("386", 32, True, "i386-linux-gnu", "i686"),
    "ppc64le": Machine("PPC64", 64, True, "powerpc64le-linux-gnu", "power8"),
    "riscv64": Machine("RISCV", 64, True, "riscv64-linux-gnu", "riscv64"),
    "s390x": Machine("S390", 64, False, "s390x-linux-gnu", "s390x"),
}
# What people call them, by EM_ name.
_CALLED = {
    "X86_64": "x86-64",
    "AARCH64": "arm64",
    "ARM": "32-bit ARM",
    "386": "32-bit x86",
    "PPC64": "POWER",
    "RISCV": "RISC-V",
    "S390": "s390x",
}
# A processor that no program of the system runs on: its code is data, which a driver reads.
ACCELERATORS = frozenset({"CUDA", "AMDGPU", "BPF", "NONE", "TI_C6000", "QDSP6", "XTENSA", "MSP430", "AVR"})


def of(platform: Platform) -> Machine | None:
    """None where nothing is known of it."""
    return MACHINES.get(platform.architecture) if platform.os == "linux" else None


def here() -> str:
    """The architecture of this machine's processor, as OCI has it."""
    name = host.machine().lower()
    return next((key for key, each in MACHINES.items() if each.name == name), name)


def called(elf: Elf) -> str:
    """For people: ``x86-64``."""
    return _CALLED.get(elf.machine, f"the processor {elf.machine}")
