"""A layer of files from disk, streamed: the model, the client, the runtime."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from publisher.domain import FileSet
from publisher.errors import ArtifactError
from publisher.oci.layer import LayerWriter
from publisher.progress import Report


def write(writer: LayerWriter, fileset: FileSet, report: Report) -> None:
    """Write `fileset` with its folders, sorted by path. Links are not followed; raises ArtifactError."""
    destination = fileset.destination.strip("/")
    folders = {str(parent) for file in fileset.files for parent in PurePosixPath(file.path).parents}
    paths = {f"{destination}/{folder}".removesuffix("/.") for folder in folders | {"."}}
    task = f"pack {fileset.name}"
    report.expect(task, fileset.size)
    for folder in sorted(paths):
        writer.directory(folder, owner=fileset.owner)
    for file in sorted(fileset.files):
        path = fileset.root / file.path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise ArtifactError(
                f"{file.path} of the {fileset.name} cannot be read: {error.strerror}"
            ) from error
        with os.fdopen(descriptor, "rb") as stream:
            mode = 0o755 if file.executable else 0o644
            writer.stream(
                f"{destination}/{file.path}",
                file.size,
                stream,
                mode,
                lambda count: report.advance(task, count),
            )
