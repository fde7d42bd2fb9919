"""The build contexts of Dockerfile engines: what a version brings itself, or what our own templates make of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from publisher.domain import (
    MACHINES,
    BaseImage,
    Context,
    Environment,
    FileSet,
    ImageSpec,
    Lock,
    ModelVersion,
    Target,
)
from publisher.errors import BuildError, HostError, TemplateError
from publisher.oci.reference import Reference
from publisher.rendering import dockerfile
from publisher.rendering.context import ENVIRONMENT_FILES, Facts, context
from publisher.rendering.render import Rendered, render, write
from publisher.sources.base import Fetched, VersionTags

DOCKERFILE = "Dockerfile"
_FILES = {
    "requirements_file": "requirements.txt",
    "conda_file": "conda.yaml",
    "python_env_file": "python_env.yaml",
}
assert tuple(_FILES) == ENVIRONMENT_FILES  # noqa: S101


def builtin() -> Path:
    """The folder of our own templates: in an installed package, else in the checkout."""
    package = Path(__file__).parent
    return next(place for place in (package / "templates", package.parent / "templates") if place.is_dir())


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a context is for: `image` is the whole name of what will be built of `fetched`."""

    version: ModelVersion
    target: Target
    image: str
    fetched: Fetched


@dataclass(frozen=True, slots=True)
class Contexts:
    """`limit`: bytes of a context. `secrets`: the build secrets of a target's package indexes, written to a folder."""

    limit: int
    secrets: Callable[[Target, Path], Mapping[str, Path]] = lambda _target, _folder: {}

    def of_version(self, wanted: Wanted, base: str, python: str) -> Context | None:
        """Render the version's own templates beside its files, and make a context of those where one of them is a
        Dockerfile; None where none is, or where the target's templates count.

        `base`: name of the target's base image for the version, `python`: its version; each "" where not known.
        Raises TemplateError, BuildError.
        """
        target, fetched = wanted.target, wanted.fetched
        if target.templates != "version" or fetched.templates is None:
            return None
        facts = _facts(wanted, base, python)
        rendered = render(fetched.templates, context(facts))
        write(rendered, fetched.root)
        return self._context(target, rendered, fetched.root, own=False)

    def ours(self, wanted: Wanted, spec: ImageSpec, environment: Environment, folder: Path) -> Context:
        """Write a whole build context for `spec` into `folder`, by the site's templates or by our own.

        Raises TemplateError, BuildError, HostError.
        """
        for fileset in spec.files:
            _copy(fileset, folder / fileset.name)
        wheels = [_environment(lock, folder / "environment") for lock in spec.locks.values()]
        facts = _facts(wanted, _pinned(spec.base), environment.python or "")
        own = {
            "files": [{"folder": each.name, "destination": each.destination} for each in spec.files],
            "local_wheels": any(wheels),
        }
        target = wanted.target
        place = builtin() if target.templates in ("version", "builtin") else Path(target.templates)
        rendered = render(place, context(facts, spec) | own)
        write(rendered, folder)
        found = self._context(target, rendered, folder, own=True)
        if found is None:
            raise TemplateError(
                f"{place} has no {DOCKERFILE}.j2 and no {DOCKERFILE}.template",
                hint="Add one, or set `templates` of the target to builtin.",
            )
        return found

    def _context(
        self, target: Target, rendered: list[Rendered], folder: Path, *, own: bool
    ) -> Context | None:
        text = next((each.text for each in rendered if each.path == DOCKERFILE), None)
        if text is None:
            return None
        outside = folder.with_name(f"{folder.name}-secrets")
        return Context(
            folder=folder,
            own=own,
            digest=_digest(folder, self.limit),
            bases=dockerfile.images(text),
            secrets=self.secrets(target, outside),
            cache=target.cache.format(registry=target.registry) if target.engine_cache else "",
        )


def _facts(wanted: Wanted, base: str, python: str) -> Facts:
    version, fetched = wanted.version, wanted.fetched
    tags = VersionTags.read(version)
    model = fetched.model.relative_to(fetched.root).as_posix()
    client = fetched.client.relative_to(fetched.root).as_posix() if fetched.client else ""
    files = {name: f"{model}/{file}" for name, file in _FILES.items() if (fetched.model / file).is_file()}
    return Facts(
        version=version,
        target=wanted.target,
        image=wanted.image,
        model_folder=model,
        client_folder=client,
        entry_point=tags.entry_point,
        command_line=tags.execute_path or "",
        base_image=base,
        python_version=python,
        files=files,
        labels={},
    )


def _pinned(base: BaseImage) -> str:
    """The base as a FROM names it: by digest and without tag, for not every engine takes both."""
    if base.name.startswith("oci:"):
        raise BuildError(
            f"the base image {base.name} is a folder, and a Dockerfile can only name one in a registry",
            hint="Push it to a registry and name it there, or let the embedded builder build: builder = "
            '"layers".',
        )
    return f"{Reference.parse(base.name).repository}@{base.digest}"


def _copy(fileset: FileSet, folder: Path) -> None:
    """The files of `fileset` below `folder`: as further names of the same files where the disk allows that."""
    try:
        for file in fileset.files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(fileset.root / file.path, path)
            except OSError:
                shutil.copyfile(fileset.root / file.path, path)
                path.chmod(0o755 if file.executable else 0o644)
    except OSError as error:
        raise HostError(f"the build context cannot be written: {error.strerror}") from error


def _environment(lock: Lock, folder: Path) -> bool:
    """The lock as pip reads it, and beside it the wheels that no index has. Returns whether there are such wheels."""
    folder.mkdir(exist_ok=True)
    local = False
    lines = []
    for wheel in lock.wheels:
        lines.append(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}")
        if wheel.url.startswith("file:"):
            (folder / "wheels").mkdir(exist_ok=True)
            with suppress(FileExistsError):
                shutil.copyfile(unquote(urlsplit(wheel.url).path), folder / "wheels" / wheel.filename)
            local = True
    machine = MACHINES[lock.platform.architecture]
    (folder / f"requirements-{machine}.txt").write_text("".join(f"{line}\n" for line in lines))
    return local


def _digest(folder: Path, limit: int) -> str:
    """Hex SHA-256 over the paths, run bits and contents of all files. Raises BuildError beyond `limit` bytes."""
    seen, size = hashlib.sha256(), 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        size += path.stat().st_size
        if size > limit:
            raise BuildError(
                f"the build context is larger than {limit / 2**30:.1f} GiB",
                hint="Raise `context_limit`, or log fewer files with the model.",
            )
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        runs = bool(path.stat().st_mode & 0o100)
        seen.update(f"{path.relative_to(folder).as_posix()}\0{runs}\0{content}\n".encode("utf-8", "replace"))
    return seen.hexdigest()
