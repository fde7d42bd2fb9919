"""What the loader would read of an ELF file: for which processor it is, and what it asks for and offers.

A file comes from a stranger: each count and each text in it is bounded, and what is wrong with it is told, never
raised. pyelftools knows the structures; it is not asked to follow them, for it goes as far as a file tells it to.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO

from elftools.common.exceptions import ELFError
from elftools.common.utils import struct_parse
from elftools.elf.structs import ELFStructs

MAGIC = b"\x7fELF"
_SEGMENTS = 512  # of a file; real ones have about a dozen
_TAGS = 4096  # of a dynamic section
_VERSIONS = 2048  # of a version table; libc has 50, libstdc++ 80
_TEXT = 4096  # bytes of a name or path, as in the kernel
_NODEFLIB = 0x800
_WEAK = 2  # VER_FLG_WEAK: the loader goes on without it


@dataclass(frozen=True, slots=True)
class Elf:
    """`machine` and `kind` as in elf.h, without EM_ and ET_. `wants`: versions by library, `gives`: versions defined.

    `fault`: why no loader takes it, empty for none.
    """

    machine: str = ""
    bits: int = 0
    little: bool = True
    kind: str = ""
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    soname: str = ""
    rpath: str = ""
    runpath: str = ""
    wants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gives: tuple[str, ...] = ()
    nodeflib: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """An open ELF file of `length` bytes, and the structures of its class and byte order."""

    stream: BinaryIO
    length: int
    structs: ELFStructs
    header: Any

    @classmethod
    def of(cls, stream: BinaryIO) -> _File:
        length = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        ident = stream.read(6)
        if len(ident) < 6 or ident[4] not in (1, 2) or ident[5] not in (1, 2):
            raise ValueError("neither 32 nor 64 bits, or of no byte order")
        structs = _structs(ident[4] * 32, ident[5] == 1)
        return cls(stream, length, structs, struct_parse(structs.Elf_Ehdr, stream, stream_pos=0))


@cache
def _structs(bits: int, little: bool) -> ELFStructs:
    # Made once, for it takes as long as reading a file. What differs by machine are names of sections and
    # relocations, which are not read.
    structs = ELFStructs(little_endian=little, elfclass=bits)
    structs.create_basic_structs()
    structs.create_advanced_structs("ET_DYN", "EM_NONE", "ELFOSABI_SYSV")
    return structs


class _FaultError(Exception):
    """The file contradicts itself."""


def read(stream: BinaryIO) -> Elf:
    """The ELF file in `stream`, which can be sought."""
    try:
        file = _File.of(stream)
    except _MISREAD as error:
        return Elf(fault=f"has no ELF header that can be read ({_said(error)})")
    facts: dict[str, Any] = {
        "machine": str(file.header["e_machine"]).removeprefix("EM_"),
        "bits": file.structs.elfclass,
        "little": file.structs.little_endian,
        "kind": str(file.header["e_type"]).removeprefix("ET_"),
    }
    try:
        return Elf(**facts, **_asked(file))
    except _FaultError as error:
        return Elf(**facts, fault=str(error))
    except _MISREAD as error:
        return Elf(**facts, fault=f"is no whole ELF file ({_said(error)})")


# What pyelftools raises for files that lie: its own, and Python's for numbers and names that there are not.
_MISREAD = (ELFError, ValueError, KeyError, TypeError, AttributeError, OverflowError, AssertionError)


def _said(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]


def _asked(file: _File) -> dict[str, Any]:
    segments = list(_segments(file))
    length = file.length
    loads = [each for each in segments if each["p_type"] == "PT_LOAD"]
    ends = max((each["p_offset"] + each["p_filesz"] for each in loads if each["p_filesz"]), default=0)
    if ends > length:
        raise _FaultError(f"is cut short: {length:,} bytes of at least {ends:,}")
    facts: dict[str, Any] = {}
    for each in segments:
        if each["p_type"] == "PT_INTERP":
            facts["interpreter"] = _text(file, each["p_offset"])
    dynamic = next((each for each in segments if each["p_type"] == "PT_DYNAMIC"), None)
    if dynamic is not None and dynamic["p_filesz"]:
        facts |= _dynamic(file, dynamic, loads)
    return facts


def _segments(file: _File) -> Iterator[Any]:
    header = file.header
    if header["e_phnum"] > _SEGMENTS:
        raise _FaultError(f"has {header['e_phnum']:,} segments, more than any program")
    for number in range(header["e_phnum"]):
        place = header["e_phoff"] + number * header["e_phentsize"]
        yield _parse(file, file.structs.Elf_Phdr, place)


def _dynamic(file: _File, segment: Any, loads: list[Any]) -> dict[str, Any]:
    tags: dict[str, list[int]] = {}
    step = file.structs.Elf_Dyn.sizeof()
    for number in range(min(segment["p_filesz"] // step, _TAGS)):
        tag = _parse(file, file.structs.Elf_Dyn, segment["p_offset"] + number * step)
        if tag["d_tag"] == "DT_NULL":
            break
        tags.setdefault(str(tag["d_tag"]), []).append(tag["d_val"])

    def offset(address: int) -> int:
        for each in loads:
            if each["p_vaddr"] <= address < each["p_vaddr"] + each["p_filesz"]:
                return int(address - each["p_vaddr"] + each["p_offset"])
        raise _FaultError("names a table that lies outside of it")

    if "DT_STRTAB" not in tags:
        return {}
    texts = offset(tags["DT_STRTAB"][0])

    def text(place: int) -> str:
        return _text(file, texts + place)

    facts: dict[str, Any] = {
        "needed": tuple(dict.fromkeys(map(text, tags.get("DT_NEEDED", [])))),
        "nodeflib": bool(tags.get("DT_FLAGS_1", [0])[0] & _NODEFLIB),
    }
    for name in ("soname", "rpath", "runpath"):
        if places := tags.get(f"DT_{name.upper()}"):
            facts[name] = text(places[0])
    if "DT_VERNEED" in tags:
        wants: dict[str, tuple[str, ...]] = {}
        count = tags.get("DT_VERNEEDNUM", [0])[0]
        for head, parts in _versions(file, offset(tags["DT_VERNEED"][0]), count, "vn"):
            names = [text(part["vna_name"]) for part in parts if not part["vna_flags"] & _WEAK]
            library = text(head["vn_file"])
            wants[library] = tuple(sorted({*wants.get(library, ()), *names}))
        facts["wants"] = wants
    if "DT_VERDEF" in tags:
        count = tags.get("DT_VERDEFNUM", [0])[0]
        table = _versions(file, offset(tags["DT_VERDEF"][0]), count, "vd")
        # The first name of a definition is its own; further ones are those that it inherits from.
        facts["gives"] = tuple(sorted({text(parts[0]["vda_name"]) for _, parts in table if parts}))
    return facts


def _versions(file: _File, place: int, count: int, prefix: str) -> Iterator[tuple[Any, list[Any]]]:
    """The entries of a version table (gABI has none; LSB, "Symbol Versioning"), each with its parts."""
    forms = {
        "vn": (file.structs.Elf_Verneed, file.structs.Elf_Vernaux),
        "vd": (file.structs.Elf_Verdef, file.structs.Elf_Verdaux),
    }
    (head_form, part_form), left = forms[prefix], _VERSIONS
    for _ in range(count):
        head = _parse(file, head_form, place)
        parts, at = [], place + head[f"{prefix}_aux"]
        for _ in range(head[f"{prefix}_cnt"]):
            left -= 1
            if left < 0:
                raise _FaultError(f"has more than {_VERSIONS:,} symbol versions")
            parts.append(_parse(file, part_form, at))
            at += parts[-1][f"{prefix}a_next"]
        yield head, parts
        left -= 1
        if left < 0:
            raise _FaultError(f"has more than {_VERSIONS:,} symbol versions")
        if not head[f"{prefix}_next"]:
            return
        place += head[f"{prefix}_next"]


def _parse(file: _File, form: Any, place: int) -> Any:
    return struct_parse(form, file.stream, stream_pos=_inside(file, place))


def _inside(file: _File, place: int) -> int:
    if not 0 <= place <= file.length:
        raise _FaultError("names a place that lies outside of it")
    return place


def _text(file: _File, place: int) -> str:
    file.stream.seek(_inside(file, place))
    found, end, _ = file.stream.read(_TEXT).partition(b"\0")
    if not end:
        raise _FaultError("holds a name that does not end")
    return str(found.decode("utf-8", "surrogateescape"))
