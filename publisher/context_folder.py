"""`publisher render`: a version's whole build context in a folder, to look at or to build by hand."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from publisher import scratch
from publisher.domain import ModelVersion, SourceFile, Target
from publisher.errors import HostError, SettingsError
from publisher.naming import image_name
from publisher.preparing import Preparation
from publisher.progress import Report, subject_of
from publisher.running import Watch
from publisher.stages import Clock, Stages

SCRIPT = "create_docker_image.sh"
Author = Literal["version", "site", "builtin"]


@dataclass(frozen=True, slots=True)
class RenderedContext:
    """What `bring` wrote: `files` below `folder`, sorted; `author` of the Dockerfile; the images it is built from."""

    version: ModelVersion
    target: Target
    image: str
    folder: Path
    author: Author
    files: tuple[SourceFile, ...]
    bases: tuple[str, ...]

    @property
    def command(self) -> Sequence[str]:
        """What builds it by hand, to be run in the folder."""
        if any(file.path == SCRIPT for file in self.files):
            return [f"./{SCRIPT}"]
        platforms = ",".join(map(str, self.target.platforms))
        tag = self.image.rpartition("/")[2] if self.target.layout_folder else self.image
        return ["docker", "buildx", "build", "--platform", platforms, "--tag", tag, "."]


def bring(
    version: ModelVersion, target: Target, stages: Stages, folder: Path, *, force: bool
) -> RenderedContext:
    """Bring the build context that a Dockerfile engine would be given for `version` into `folder`.

    With `force`, what `folder` has under the names that the context needs is replaced, and nothing else of it.
    Writes no status and asks the target's registry for nothing but the base image. Raises PublisherError.
    """
    _check(folder, force=force)
    image = image_name(target, version)
    watch = Watch(stages.running, target.deadline or stages.deadline)
    clock = Clock(Report(stages.progress, subject_of(version, target.name), watch.check), watch)
    with stages.holding(), tempfile.TemporaryDirectory(dir=scratch.below(stages.work_folder).folder) as own:
        work = Preparation(version, target, image, Path(own), stages, clock)
        context = work.context([stages.memory])
        author: Author = "version" if not context.own else "site" if target.has_templates else "builtin"
        _move(context.folder, folder)
    files = [
        SourceFile(
            path.relative_to(folder).as_posix(), path.stat().st_size, bool(path.stat().st_mode & 0o100)
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return RenderedContext(version, target, image, folder, author, tuple(files), context.bases)


def _check(folder: Path, *, force: bool) -> None:
    try:
        if folder.exists() and not folder.is_dir():
            raise SettingsError([f"{folder} is no folder"], hint="Name one that is empty, or not there yet.")
        if folder.is_dir() and any(folder.iterdir()) and not force:
            raise SettingsError(
                [f"the folder {folder} is not empty"],
                hint="Name another one, or say --force: what has the same name as a part of the context is replaced.",
            )
    except OSError as error:
        raise HostError(f"the folder {folder} cannot be read: {error.strerror}") from error


def _move(source: Path, folder: Path) -> None:
    """Each entry of `source` into `folder`, in the place of what has its name there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            place = folder / entry.name
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            shutil.move(entry, place)
    except OSError as error:
        raise HostError(f"the build context cannot be written to {folder}: {error.strerror}") from error
