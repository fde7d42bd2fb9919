"""A model version, its files and its locks become an ImageSpec: where things lie, and what starts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from publisher import runtime
from publisher.checks import profiles
from publisher.domain import (
    BaseImage,
    Context,
    FileSet,
    ImageSpec,
    Lock,
    ModelVersion,
    Platform,
    SourceFile,
    Target,
)
from publisher.errors import ArtifactError
from publisher.sources.base import Fetched, VersionTags

# Where the documents' Dockerfile puts things, so that a client written for it finds them.
WORKDIR = "/app"
MODEL = f"{WORKDIR}/model"
CLIENT = f"{WORKDIR}/client"
RUNTIME = "/opt/publisher"
PORT = 8080
_UNKNOWN = BaseImage("", "", "", "", (0, 0))
LABEL = "io.github.model-publisher"


def served(tags: VersionTags) -> bool:
    """True when the image serves the model itself; a client of the model's own runs otherwise."""
    return tags.execute_path is None


def describe(
    version: ModelVersion,
    target: Target,
    fetched: Fetched,
    base: BaseImage,
    locks: Mapping[Platform, Lock],
    *,
    conda: bool = False,
) -> ImageSpec:
    """The image of `version` for `target`. Raises ArtifactError where its tags name no program.

    `conda`: its environment is made by conda, and not of the locks.
    """
    tags = VersionTags.read(version)
    serves = served(tags)
    filesets = [_files("model", fetched.model, MODEL)]
    if fetched.client:
        filesets.append(_files("client", fetched.client, CLIENT))
    if serves:
        filesets.insert(0, _files("runtime", Path(next(iter(runtime.__path__))), RUNTIME))
        entrypoint, command = ["python"], [f"{RUNTIME}/serve.py", MODEL]
    else:
        entrypoint = _words(version, "MODEL_ENTRY_POINT", tags.entry_point)
        command = _words(version, "MODEL_EXECUTE_PATH", tags.execute_path or "")
    profile = profiles.named(target.profile)
    if profile.arguments:
        # They take the command's place, so the entrypoint has to be the whole program.
        entrypoint, command = [*entrypoint, *command], []
    return ImageSpec(
        base=base,
        locks=locks,
        files=tuple(filesets),
        entrypoint=tuple(entrypoint),
        command=tuple(command),
        environment=_environment(version),
        labels=_labels(version, base),
        created=version.created.replace(microsecond=0),
        user=target.user,
        workdir=WORKDIR,
        ports=(PORT,) if serves else (),
        bytecode=target.bytecode,
        conda=conda,
        form=profile.form,
    )


def by_dockerfile(version: ModelVersion, target: Target, context: Context) -> ImageSpec:
    """The image that the version's own Dockerfile makes: what is in it, that alone knows."""
    return ImageSpec(
        base=_UNKNOWN,
        locks={platform: Lock(platform, "", ()) for platform in target.platforms},
        files=(),
        entrypoint=(),
        command=(),
        environment=(),
        labels=_labels(version, None),
        created=version.created.replace(microsecond=0),
        user="",
        workdir="",
        context=context,
        form=profiles.named(target.profile).form,
    )


def _words(version: ModelVersion, tag: str, text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ArtifactError(f"the tag {tag} of {version} cannot be read: {error}") from error
    if not words:
        raise ArtifactError(f"the tag {tag} of {version} is empty", hint="Name a program, or delete the tag.")
    return words


def _environment(version: ModelVersion) -> tuple[tuple[str, str], ...]:
    if "\0" in version.name:
        # runc refuses such a variable, so the image could be pushed and never run.
        raise ArtifactError(
            f"the name of the model {version.name!r} holds a NUL character, which no variable can",
            hint="Register the model under another name.",
        )
    return (
        ("HOME", "/tmp"),  # noqa: S108 - the user is a number without a home, and libraries look for one
        ("LOG_LEVEL", "INFO"),
        ("MODEL_NAME", version.name),
        ("MODEL_PATH", WORKDIR),
        ("MODEL_VERSION", f"v{version.version}"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONUNBUFFERED", "true"),
    )


def _labels(version: ModelVersion, base: BaseImage | None) -> tuple[tuple[str, str], ...]:
    """Pre-defined annotation keys (image-spec, "annotations.md"), and ours."""
    labels = {
        "org.opencontainers.image.title": version.name,
        "org.opencontainers.image.version": f"v{version.version}",
        "org.opencontainers.image.source": f"models:/{version.name}/{version.version}",
        "org.opencontainers.image.created": version.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        f"{LABEL}.model": version.name,
        f"{LABEL}.version": version.version,
    }
    if base:
        labels["org.opencontainers.image.base.name"] = base.name
        labels["org.opencontainers.image.base.digest"] = base.digest
    if version.run_id:
        labels["org.opencontainers.image.revision"] = version.run_id
        labels[f"{LABEL}.run"] = version.run_id
    return tuple(sorted(labels.items()))


def _files(name: str, root: Path, destination: str) -> FileSet:
    """Every regular file below `root`, sorted; caches of the host's own Python are no part of it."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or "__pycache__" in path.parts:
            continue
        size, executable = path.stat().st_size, bool(path.stat().st_mode & 0o111)
        found.append(SourceFile(path.relative_to(root).as_posix(), size, executable))
    return FileSet(name, root, destination, tuple(found))
