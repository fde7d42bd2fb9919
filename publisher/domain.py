"""The nouns, frozen. Nothing here does I/O, and nothing here knows of MLflow, Docker or HTTP."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

# OCI architecture -> the machine name of wheel tags (PEP 600) and of uv's --python-platform.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An OCI platform, written ``os/architecture[/variant]`` (image-spec, "image index")."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``linux/arm64``; raises ValueError with the accepted form."""
        parts = text.strip().lower().split("/")
        if len(parts) not in (2, 3) or not all(re.fullmatch(r"[a-z0-9_.]+", part) for part in parts):
            raise ValueError(f"{text!r} is not a platform such as linux/amd64 or linux/arm64")
        if parts[:2] == ["linux", "arm64"] and parts[2:] == ["v8"]:
            parts.pop()  # arm64 is v8: image indexes in the wild write both
        return cls(*parts)

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


Registration = Literal["ready", "pending", "failed"]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version in MLflow's model registry. `created` is its registration time, in UTC.

    `tags` are its own; `defaults` are those of its registered model that stand for a tag which it lacks.
    Status tags are never defaults.
    """

    name: str
    version: str
    source: str
    created: datetime
    run_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    registration: Registration = "ready"
    aliases: tuple[str, ...] = ()  # where they were asked for: a search of MLflow's does not tell them

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def effective_tags(self) -> Mapping[str, str]:
        """What selects the version and says how its image is made: its own tags before its model's."""
        return {**self.defaults, **self.tags} if self.defaults else self.tags

    def carrier(self, tag: str) -> str:
        """Who has the tag, for people: the version, or the model that lends it."""
        return str(self) if tag in self.tags or tag not in self.defaults else f"the model {self.name}"


@dataclass(frozen=True, slots=True)
class Target:
    """A named place that images go to, and how they are made for it. A tag can only select one of these."""

    name: str
    tag: str
    registry: str  # host[:port][/prefix], or oci:DIR for a layout on disk
    platforms: tuple[Platform, ...]
    # An image reference, or oci:DIR, in which {python} becomes the minor version; or one for each minor version.
    base: str | Mapping[str, str]
    builder: str = "auto"
    image: str = "{registry}/{model}:v{version}"
    tags: tuple[str, ...] = ()  # templates of further tags of the same image (extra_tags.py)
    cache: str = "{registry}/publisher-cache"
    python: str | None = None
    resolve: Literal["registered", "latest"] = "registered"
    user: str = "10001:10001"
    bytecode: bool = True
    insecure: bool = False
    ca_file: Path | None = None  # authorities that are trusted beside the usual ones
    token_realms: tuple[str, ...] = ()  # hosts of token services, beside the registry's own
    chunk_size: int | None = None  # bytes of a blob in one request; None for all
    api_path: str = ""  # before /v2/, such as /hub
    deadline: timedelta | None = None
    index: tuple[
        str, ...
    ] = ()  # package indexes, [NAME=]URL, the first that has a package gives it; (): uv's own
    constraints: tuple[str, ...] = ()  # PEP 508, on top of the model's own
    sdist: Literal["isolated", "build", "refuse"] = "isolated"
    conda: Literal["refuse", "pip", "conda"] = "refuse"
    # Whose Dockerfile makes the image: "version": the version's own where it has one; "builtin": never that; or a
    # folder of the site's own templates, which count for every version.
    templates: str = "version"
    engine_cache: bool = False  # whether Dockerfile engines may keep their layers in `cache`
    trust_dockerfiles: bool = (
        False  # whether the commands of versions' authors may see accounts of package indexes
    )
    # What must be proven of an image before it goes out: "required": by every check; "possible": what can be looked at.
    proof: Literal["required", "possible", "off"] = "possible"
    emulate: bool = False  # whether predictions for other processors are replayed by emulation
    profile: str = "default"  # what the place that runs the image accepts: a name, or the path of a file
    slim: bool = False  # whether what serving never needs is left out
    job_template: str = "publisher-build"  # the CronJob by which Jobs are made that build for this target

    def base_for(self, minor: str) -> str | None:
        """The name of the base image for Python `minor` ("": the model does not say); None: there is none."""
        name = self.base if isinstance(self.base, str) else self.base.get(minor, "{python}")
        if not minor or name == "{python}":
            return None if "{python}" in name else name
        return name.replace("{python}", minor)

    @property
    def has_templates(self) -> bool:
        """Whether templates of the site count, for every version."""
        return self.templates not in ("version", "builtin")

    @property
    def layout_folder(self) -> Path | None:
        """The folder of an ``oci:DIR`` target, else None."""
        return Path(self.registry[4:]) if self.registry.startswith("oci:") else None


@dataclass(frozen=True, slots=True)
class RecordedLock:
    """A lock that a model brings along: a valid document of PEP 751, made of the file `name` in `folder`."""

    name: str
    document: Mapping[str, Any]
    folder: Path

    def versions(self) -> dict[str, set[str]]:
        """All versions that it has of each package, by normalised name."""
        found: dict[str, set[str]] = {}
        for package in self.document["packages"]:
            versions = found.setdefault(package["name"], set())
            if "version" in package:
                versions.add(package["version"])
        return found


@dataclass(frozen=True, slots=True)
class Environment:
    """What a model asks for, before anything is resolved: the same for all platforms."""

    requirements: tuple[str, ...]  # PEP 508, sorted
    python: str | None = None  # full version as recorded, e.g. 3.11.7
    constraints: tuple[str, ...] = ()
    origin: str = ""  # the file that its packages were read from, for people
    files: Mapping[str, Path] = field(default_factory=dict)  # wheels of the model: path in it, path on disk
    hashes: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # name: hex SHA-256 that its wheel may have
    indexes: tuple[str, ...] = ()  # URLs of package indexes that the model names, without credentials
    lock: RecordedLock | None = None
    notes: tuple[str, ...] = ()  # where its files disagree and what was taken, for people
    conda: str = ""  # a conda.yaml of which conda makes the environment in the build; then nothing is locked

    @property
    def python_minor(self) -> str | None:
        """``3.11`` of ``3.11.7``."""
        return ".".join(self.python.split(".")[:2]) if self.python else None


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """One locked wheel. `sha256` (hex) is of the file, `size` in bytes (0: the index does not tell)."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    size: int = 0

    @property
    def pure(self) -> bool:
        """True when the wheel holds no machine code by its own tags, so that all architectures share it."""
        return self.filename.endswith("-any.whl")


@dataclass(frozen=True, slots=True)
class Lock:
    """The wheels of one platform, sorted by name."""

    platform: Platform
    python: str  # minor version: 3.11
    wheels: tuple[Wheel, ...]
    roots: tuple[str, ...] = ()  # normalised names of what was asked for directly
    notes: tuple[str, ...] = ()  # what was built of source, for people

    @property
    def digest(self) -> str:
        """Hex SHA-256 over what decides the bytes of the environment's layers."""
        content = [
            str(self.platform),
            self.python,
            list(self.roots),
            [(w.filename, w.sha256, w.size) for w in self.wheels],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True, slots=True, order=True)
class SourceFile:
    """A regular file on disk: `path` is relative and POSIX, `size` in bytes."""

    path: str
    size: int
    executable: bool = False


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files that become one layer: everything of `files` below `root` lands below `destination`."""

    name: str
    root: Path
    destination: str  # absolute path in the image
    files: tuple[SourceFile, ...]
    owner: int = 0  # number of the user and group whose the folders are; files are root's

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True, slots=True)
class BaseImage:
    """What images are built on, pinned: `name` as it was asked for, `digest` of its top manifest."""

    name: str
    digest: str
    python: str  # full version: 3.11.2
    executable: str  # absolute path of the interpreter
    glibc: tuple[int, int]

    @property
    def python_minor(self) -> str:
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, slots=True)
class Context:
    """A build context: a folder, and a Dockerfile in it that says how the image is made.

    `own`: by our templates or the site's; else it is the version's own. `digest`: hex SHA-256 over all files.
    `bases`: the images that its FROM lines name, as written. `secrets`: files by the id under which a
    ``RUN --mount=type=secret`` asks for them; they lie outside of `folder`, and in no layer. `cache`: a repository
    for the engine's own layers, empty for none.
    """

    folder: Path
    own: bool
    digest: str
    bases: tuple[str, ...] = ()
    dockerfile: str = "Dockerfile"
    secrets: Mapping[str, Path] = field(default_factory=dict)
    cache: str = ""


# What an image's tag names: an index of all its platforms; or, of its only platform, a manifest by the media types of
# OCI ("plain") or of Docker.
ManifestForm = Literal["index", "plain", "docker"]


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """All that decides the bytes of an image. It knows nothing of Docker.

    With a `context`, its Dockerfile says what the image is; where that is the version's own, base, locks and files
    say nothing but the platforms, and of the rest only `labels` and `created` count. With `conda`, locks say nothing
    but the platforms, and of `base` name and digest alone are known.
    """

    base: BaseImage
    locks: Mapping[Platform, Lock]
    files: tuple[FileSet, ...]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    labels: tuple[tuple[str, str], ...]
    created: datetime
    user: str
    workdir: str
    ports: tuple[int, ...] = ()
    volumes: tuple[str, ...] = ()  # folders that are writable on a read-only root file system
    health: tuple[str, ...] = ()  # a command that says whether a container is well
    bytecode: bool = True
    slim: bool = False  # whether layers of wheels lack what serving never needs
    conda: bool = False
    context: Context | None = None
    form: ManifestForm = "index"

    @property
    def platforms(self) -> tuple[Platform, ...]:
        return tuple(sorted(self.locks))


Action = Literal["publish", "tag", "skip"]
State = Literal["publishing", "published", "failed", "stopped", "withdrawn"]


@dataclass(frozen=True, slots=True)
class Decision:
    """To act or not, and why. "tag": only the extra tags of what is published. The reason is for people: it is logged, printed and recorded."""

    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """What the status tags of one target on a model version say (see status.py). `claim`: which process is at it;
    `release`: of the publisher that wrote it."""

    state: State
    reason: str = ""
    image: str = ""
    digest: str = ""
    fingerprint: str = ""
    attempts: int = 0
    claim: str = ""
    updated: datetime | None = None
    next_try: datetime | None = None
    release: str = ""
    tags: tuple[str, ...] = ()  # the extra tags that the image has
    tagging: str = ""  # the fingerprint of those that it was to have (extra_tags.Wanted)
    proof: str = ""  # what was proven of the image before it was pushed, and what was not, for people


@dataclass(frozen=True, slots=True)
class Proof:
    """What one check said of the image of one platform (checks/verdict.py)."""

    check: str
    platform: Platform
    state: Literal["ok", "failed", "not looked at"]
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one version for one target. `seconds` tells how long each stage took."""

    version: ModelVersion
    target: str
    state: Literal["published", "tagged", "failed", "skipped", "planned", "stopped"]
    reason: str
    image: str = ""
    digest: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    sent: int = 0  # bytes that went to the registry
    downloaded: int = 0  # bytes of wheels that were fetched from the index
    exit_code: int = 0
    tags: tuple[str, ...] = ()  # the extra tags that the image has now
    detail: str = ""  # of a failure: the last lines that a tool said
    proof: tuple[Proof, ...] = ()  # of what was published in this run
