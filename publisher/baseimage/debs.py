"""Debian packages as they are on disk: an ar archive of two tars (deb(5)). Nothing is unpacked or run."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from publisher.errors import EngineError

_INFLATE: Mapping[str, Callable[[bytes], bytes]] = {
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    "": bytes,
}


@dataclass(frozen=True, slots=True)
class Package:
    """A .deb file and its control paragraph."""

    path: Path
    control: str  # as in the package, without a last newline
    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def version(self) -> str:
        return self.fields["Version"]

    @property
    def upstream(self) -> str:
        """The version that the software's authors gave: ``3.11.2`` of ``3.11.2-6+deb12u9``."""
        match = re.match(r"(?:\d+:)?([0-9]+(?:\.[0-9]+)*)", self.version)
        return match[1] if match else self.version

    def needs(self) -> list[list[str]]:
        """The package's dependencies: for each, the names of which any one satisfies it."""
        clauses = [self.fields.get(key, "") for key in ("Pre-Depends", "Depends")]
        return [
            [_bare(choice) for choice in clause.split("|")]
            for clause in ",".join(clauses).split(",")
            if clause.strip()
        ]

    def provides(self) -> list[str]:
        return [
            self.name,
            *(_bare(name) for name in self.fields.get("Provides", "").split(",") if name.strip()),
        ]

    def members(self) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """The entries of the package's file tree, in its order, with the bytes of regular files."""
        with _tar(self.path, "data.tar") as archive:
            for info in archive:
                stream = archive.extractfile(info) if info.isreg() else None
                yield info, stream.read() if stream else b""


def read(path: Path) -> Package:
    """Read a package's control paragraph; raises EngineError where the file is no .deb of a known form."""
    with _tar(path, "control.tar") as archive:
        member = next((info for info in archive if info.name.lstrip("./") == "control"), None)
        stream = archive.extractfile(member) if member else None
        if stream is None:
            raise EngineError(f"{path.name} holds no control file", hint="Is the mirror's copy whole?")
        control = stream.read().decode("utf-8").strip("\n")
    fields: dict[str, str] = {}
    key = ""
    for line in control.splitlines():
        if line[:1].isspace():
            fields[key] += "\n" + line
        else:
            key, _, value = line.partition(":")
            fields[key] = value.strip()
    return Package(path, control, fields)


def _bare(dependency: str) -> str:
    """``libc6`` of ``libc6:any (>= 2.36)``."""
    return dependency.strip().partition(" ")[0].partition("(")[0].partition(":")[0]


def _tar(path: Path, stem: str) -> tarfile.TarFile:
    with path.open("rb") as stream:
        if stream.read(8) != b"!<arch>\n":
            raise EngineError(f"{path.name} is not a Debian package", hint="Is the mirror's copy whole?")
        while len(header := stream.read(60)) == 60:
            name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
            if name.startswith(stem):
                inflate = _INFLATE.get(name.removeprefix(stem))
                if inflate is None:
                    raise EngineError(
                        f"{path.name} is packed as {name}, which cannot be read here",
                        hint="Name a Debian suite (bookworm, trixie): its packages are packed with xz.",
                    )
                return tarfile.open(fileobj=io.BytesIO(inflate(stream.read(size))))
            stream.seek(size + size % 2, io.SEEK_CUR)
    raise EngineError(f"{path.name} holds no {stem}", hint="Is the mirror's copy whole?")
