"""Small wheels made on the spot, good and hostile."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from publisher.domain import Wheel


def make(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    *,
    tag: str = "py3-none-any",
    entry_points: str = "",
    method: int = zipfile.ZIP_DEFLATED,
    record: bool = True,
    requires: Sequence[str] = (),
) -> Path:
    """A wheel of version 1.0 with `files`; its dist-info and RECORD are added."""
    info = f"{name}-1.0.dist-info"
    everything = {
        **files,
        f"{info}/METADATA": "".join(
            f"{line}\n"
            for line in (
                "Metadata-Version: 2.1",
                f"Name: {name}",
                "Version: 1.0",
                *(f"Requires-Dist: {each}" for each in requires),
            )
        ).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if entry_points:
        everything[f"{info}/entry_points.txt"] = entry_points.encode()
    rows = []
    for path, content in everything.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}")
    if record:
        everything[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name_, content in everything.items():
            member = zipfile.ZipInfo(name_, (2020, 1, 1, 0, 0, 0))
            member.compress_type = method
            member.external_attr = (0o100755 if name_.endswith(".so") else 0o100644) << 16
            archive.writestr(member, content)
    return path


def locked(path: Path) -> Wheel:
    """The lock's entry of a wheel file."""
    name, version = path.name.split("-")[:2]
    content = path.read_bytes()
    return Wheel(name, version, path.name, path.as_uri(), hashlib.sha256(content).hexdigest(), len(content))
