"""Where a base image goes: an OCI layout on disk, or a repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from publisher.errors import SettingsError
from publisher.oci.reference import Reference, Repository, is_tag

_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Destination:
    """A folder for a layout, or else a repository. `name` is the image's tag in either."""

    folder: Path | None
    repository: Repository
    name: str

    def __str__(self) -> str:
        return f"oci:{self.folder}:{self.name}" if self.folder else f"{self.repository}:{self.name}"


def parse(text: str, python: str) -> Destination:
    """Read ``oci:DIR[:TAG]`` or ``host/repository[:tag]``, with ``{python}`` replaced by the minor version.

    Raises SettingsError.
    """
    unknown = sorted(set(_FIELD.findall(text)) - {"python"})
    if unknown:
        raise SettingsError([f"the destination {text!r} has the unknown field {{{unknown[0]}}}"], hint=_HINT)
    filled = text.replace("{python}", python)
    if filled.startswith("oci:"):
        folder, colon, tag = filled[4:].rpartition(":")
        if not colon or not is_tag(tag):  # a slash after the last colon: it belongs to the folder's name
            folder, tag = filled[4:], "latest"
        if not folder:
            raise SettingsError([f"{text!r} names no folder"], hint=_HINT)
        return Destination(Path(folder), Repository("", ""), tag)
    try:
        reference = Reference.parse(filled)
    except ValueError as error:
        raise SettingsError([str(error)], hint=_HINT) from error
    if reference.digest or not reference.tag:
        raise SettingsError([f"{text!r} names a digest; a new image is named by a tag"], hint=_HINT)
    return Destination(None, reference.repository, reference.tag)


_HINT = "Write oci:DIR, oci:DIR:TAG, or registry.example.org/bases/python:{python}."
