"""buildah: no daemon, and not root where the machine lets a user have user namespaces (docs/engines.md)."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publisher.builders import emulation, registries_conf
from publisher.builders.buildah_storage import BUILD, Storage
from publisher.builders.command import ask, program
from publisher.builders.dockerfile import Job
from publisher.builders.failures import CACHE_NOT_WRITTEN
from publisher.builders.reach import Reach
from publisher.domain import Platform
from publisher.errors import EngineError, HostError, RegistryError
from publisher.oci import layout_folder
from publisher.oci.layout import Descriptor, digest_of

_MISSING = "buildah is not installed: apt-get install buildah"
# RUN gets the machine's own /proc and may leave programs behind: in a process namespace of the build's own it sees
# nobody else's processes, and all that it started ends with it.
_ALONE = ("--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True, slots=True)
class Buildah:
    """See builders/dockerfile.py. `environment`: of the tools."""

    environment: Mapping[str, str]
    reach: Reach
    name: str = "buildah"

    def check(self, platforms: Sequence[Platform]) -> str:
        """See builders/dockerfile.py."""
        found = program(self.environment, "buildah")
        if found is None:
            return _MISSING
        if ask([found, "--version"], self.environment) is None:
            return f"{found} does not run: try {found} --version"
        return emulation.why_not(platforms)

    def build(self, job: Job) -> Path:
        """See builders/dockerfile.py."""
        found = program(self.environment, "buildah")
        if found is None:
            raise EngineError(_MISSING)
        context = job.context
        registries = job.folder / "registries.conf"
        needed = [*context.bases, *([context.cache] if context.cache else [])]
        registries.write_text(registries_conf.merged(self.reach, needed, job.commands.environment))
        environment = {
            **job.commands.environment,
            "CONTAINERS_REGISTRIES_CONF": str(registries),
            "REGISTRY_AUTH_FILE": str(job.accounts / "config.json"),
        }
        storage = Storage.of(found, environment)
        image = f"{BUILD}:{uuid.uuid4().hex}"
        with storage.in_use(job.commands.report.check):
            try:
                self._run(job, storage, image)
                job.commands.run(
                    [*storage.program, "push", "--quiet", image, f"dir:{job.folder / 'image'}"],
                    what=f"the export of the image for {job.platform}",
                    environment=storage.environment,
                )
                storage.keep(image, context.bases)
            finally:
                storage.remove(image)
        return _layout(job.folder / "image", job.folder / "layout")

    def _run(self, job: Job, storage: Storage, image: str) -> None:
        words, cache = _build(job, image), job.context.cache
        alone = [*_alone(storage.program[0], storage.environment), *storage.program]
        what, environment = job.what, storage.environment
        try:
            cached = ["--cache-from", cache, "--cache-to", cache] if cache else []
            job.commands.run(
                [*alone, "build", *cached, *words], what=what, environment=environment, tool=self.name
            )
        except RegistryError as error:
            if not cache or CACHE_NOT_WRITTEN not in error.detail:
                raise
            job.commands.report.note(f"the cache {cache} cannot be written: the build goes on without it")
            job.commands.run([*alone, "build", *words], what=what, environment=environment, tool=self.name)


def _alone(buildah: str, environment: Mapping[str, str]) -> list[str]:
    """What a process namespace of its own takes; nothing where that is not allowed."""
    user = [] if os.geteuid() == 0 else [buildah, "unshare", "--"]  # who is root in there may
    words = [*user, "unshare", *_ALONE]
    return words if ask([*words, "true"], environment) is not None else []


def _build(job: Job, image: str) -> list[str]:
    context = job.context
    words = ["--isolation", "chroot", "--platform", str(job.platform), "--layers", "--tag", image]
    words += ["--format", "docker"]  # the other one has no HEALTHCHECK and no SHELL
    words += ["--identity-label=false"]
    words += ["--cap-drop", "CAP_SYS_CHROOT"]  # with it, root leaves a chroot
    words += [f"--file={context.folder / context.dockerfile}"]
    words += [f"--secret=id={name},src={path}" for name, path in context.secrets.items()]
    return [*words, "--", str(context.folder)]


def _layout(image: Path, folder: Path) -> Path:
    """The ``dir:`` of a push as an OCI layout: written as one, it would lose its HEALTHCHECK on the way."""
    try:
        (folder / "blobs").mkdir(parents=True)
        manifest = (image / "manifest.json").read_bytes()
        blobs = folder / "blobs" / "sha256"
        shutil.move(image, blobs)
        (blobs / "manifest.json").rename(layout_folder.blob_path(folder, digest_of(manifest)))
        (blobs / "version").unlink(missing_ok=True)
        document: dict[str, Any] = json.loads(manifest)
        top = Descriptor.of(document["mediaType"], manifest)
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top.json()]}))
    except OSError as error:
        raise HostError(f"an image cannot be written into {folder}: {error.strerror}") from error
    return folder
