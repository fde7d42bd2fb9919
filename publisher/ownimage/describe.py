"""What is in the publisher's own image, and how it starts: the same as `Dockerfile` says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from publisher import __version__
from publisher.domain import BaseImage, Environment, FileSet, ImageSpec, Lock, Platform, SourceFile
from publisher.environments.direct import LOCAL
from publisher.environments.requirements import Listed
from publisher.naming import OWN
from publisher.ownimage.wheel import OUTSIDE, scripts

EXTRAS = ("domino", "kubernetes", "s3")  # `make lock` names the same
USER = 10001
_LOCK = "requirements.txt"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)  # the same publisher makes the same image on any day


def environment(wheel: Path) -> Environment:
    """This publisher and what the lock pins for it, by hashes."""
    listed = Listed()
    listed.read_file(Path(__file__).parent, _LOCK)
    return Environment(
        requirements=(f"{OWN}[{','.join(EXTRAS)}] @ ./{LOCAL}/{wheel.name}",),
        constraints=tuple(sorted(listed.requirements)),
        origin=_LOCK,
        files={wheel.name: wheel},
        hashes={name: tuple(sorted(some)) for name, some in sorted(listed.hashes.items())},
    )


def describe(base: BaseImage, locks: Mapping[Platform, Lock]) -> ImageSpec:
    return ImageSpec(
        base=base,
        locks=locks,
        files=(_scripts(), FileSet("cache", Path(), "/cache", (), owner=USER)),
        entrypoint=("publisher",),
        command=("publish-models",),
        environment=(
            ("GIT_PYTHON_REFRESH", "quiet"),  # MLflow looks for a program that is not there
            ("HOME", "/tmp"),  # noqa: S108 - the user is a number without a home, and libraries look for one
            ("PUBLISHER_HEALTH", "/tmp/publisher.json"),  # noqa: S108 - of the container alone
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTHONUNBUFFERED", "1"),
            ("XDG_CACHE_HOME", "/cache"),  # the resolver's cache lies there, too
        ),
        labels=(
            ("org.opencontainers.image.base.digest", base.digest),
            ("org.opencontainers.image.base.name", base.name),
            (
                "org.opencontainers.image.description",
                "Registered MLflow models become container images, in any registry",
            ),
            ("org.opencontainers.image.licenses", "Apache-2.0"),
            ("org.opencontainers.image.title", OWN),
            ("org.opencontainers.image.version", __version__),
        ),
        created=_EPOCH,
        user=f"{USER}:{USER}",
        workdir="/etc/publisher",
        volumes=("/cache",),
        health=("publisher", "health"),
    )


def _scripts() -> FileSet:
    folder = scripts()
    names = sorted(name for name in OUTSIDE if name.endswith(".py"))
    found = (SourceFile(name, (folder / name).stat().st_size, executable=True) for name in names)
    return FileSet("scripts", folder, "/app", tuple(found))
