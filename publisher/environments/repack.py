"""The same wheel with the same bytes on every machine: one order, one time, two modes, no compression.

Uncompressed because zlib's output differs between its builds, and a layer copies what a wheel holds.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

_LIMIT = 1 << 30  # bytes of all files
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can tell


def repack(wheel: Path, to: Path) -> None:
    """Write `wheel` anew as `to`. Its RECORD stays true: the files' contents are untouched.

    Raises BadZipFile for what is none, or too large.
    """
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(to, "w", zipfile.ZIP_STORED) as sink:
        members = [info for info in source.infolist() if not info.is_dir()]
        if sum(info.file_size for info in members) > _LIMIT:
            raise zipfile.BadZipFile(f"it unpacks to more than {_LIMIT >> 20} MiB")
        # RECORD last, as the format wants it (packaging.python.org, "Binary distribution format").
        for info in sorted(
            members, key=lambda info: (info.filename.endswith(".dist-info/RECORD"), info.filename)
        ):
            member = zipfile.ZipInfo(info.filename, _TIME)
            member.create_system = 3  # Unix, whose modes these are
            executable = (info.external_attr >> 16) & 0o111
            member.external_attr = (0o100755 if executable else 0o100644) << 16
            sink.writestr(member, source.read(info))
