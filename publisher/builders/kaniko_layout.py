"""The OCI layout that kaniko leaves in a folder whose owner was the Dockerfile."""

from __future__ import annotations

import os
import re
from pathlib import Path

from publisher.errors import EngineError

_FILE = re.compile(r"oci-layout|index\.json|blobs/sha256/[0-9a-f]{64}")
_FOLDERS = ("", "blobs", "blobs/sha256")


def taken(source: Path, folder: Path) -> Path:
    """Move the layout at `source` to the new `folder` of the same file system, and return it.

    Nobody may write to `source` any more. Raises EngineError where it has what no layout has, such as a link.
    """
    for part in _FOLDERS:
        place = source / part
        if place.is_symlink() or not place.is_dir():
            raise EngineError(f"kaniko built no OCI layout: {place.name} is no folder")
        (folder / part).mkdir()
        with os.scandir(place) as found:
            for entry in found:
                name = str(Path(part) / entry.name)
                if name in _FOLDERS:
                    continue
                if not entry.is_file(follow_symlinks=False) or not _FILE.fullmatch(name):
                    raise EngineError(f"what kaniko built is no OCI layout: it holds {name[:100]!r}")
                (place / entry.name).rename(folder / name)
    return folder
