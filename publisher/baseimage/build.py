"""From the names of packages to an image in a layout or a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from publisher.baseimage import image
from publisher.baseimage.debs import Package
from publisher.baseimage.destination import Destination, parse
from publisher.baseimage.packages import check, fetch
from publisher.baseimage.rootfs import Facts, facts, rootfs
from publisher.baseimage.stdlib import compiled, modules, runnable
from publisher.baseimage.tree import Tree
from publisher.domain import Platform
from publisher.errors import EngineError, SettingsError
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.layer import write_layer
from publisher.oci.layout import Layout
from publisher.oci.layout_folder import write
from publisher.oci.push import push, tag
from publisher.oci.registry import Registries
from publisher.progress import Progress
from publisher.redaction import redacted

SUBJECT = "base image"
_LEVEL = 6  # 5 % smaller than level 1 for a second more, once


def make(
    folder: Path,
    platforms: Sequence[Platform],
    suite: str,
    include: Sequence[str],
    *,
    environ: Mapping[str, str],
    progress: Progress,
) -> tuple[Layout, Facts]:
    """Build the image; its layers are files below `folder`, which must last as long as the layout is used.

    `include` names packages beside the default ones. Raises EngineError, HostError, SettingsError.
    """
    if not platforms:
        raise SettingsError(["a base image needs at least one platform, such as linux/amd64"])
    for platform in platforms:
        check(platform, suite, include)
    here = runnable()
    every = sorted({*platforms, here})  # the interpreter that compiles is this machine's
    with (
        tempfile.TemporaryDirectory(prefix="publisher-base-") as name,
        ThreadPoolExecutor(len(every)) as pool,
    ):
        unpacked = {platform: Path(name) / platform.architecture for platform in every}
        progress.stage(SUBJECT, "packages")

        def packages(platform: Platform) -> list[Package]:
            return fetch(platform, suite, include, environ, unpacked[platform])

        fetched = dict(zip(every, pool.map(packages, every), strict=True))
        known = _agree({platform: facts(found) for platform, found in fetched.items()})
        for platform in platforms:
            progress.note(SUBJECT, f"{platform}: {len(fetched[platform])} packages, Python {known.python}")
        progress.stage(SUBJECT, "layers")
        trees: dict[Platform, Tree] = dict(zip(every, pool.map(rootfs, fetched.values()), strict=True))
        sources = modules(list(trees.values()), f"usr/lib/python{known.minor}")
        bytecode = pool.submit(compiled, sources, unpacked[here], known.minor, Path(name) / "bytecode")
        parts = dict(
            zip(
                platforms,
                pool.map(lambda platform: _part(trees[platform], folder, platform.architecture), platforms),
                strict=True,
            )
        )
        common = _part(bytecode.result(), folder, "bytecode")
    return image.layout({platform: [part, common] for platform, part in parts.items()}, known, suite), known


def _part(tree: Tree, folder: Path, name: str) -> image.Part:
    path = folder / f"{name}.tar.gz"
    what = "bytecode of the standard library" if name == "bytecode" else f"Debian packages for {name}"
    return image.Part(write_layer(path, tree.fill, level=_LEVEL), path, what)


def _agree(known: Mapping[Platform, Facts]) -> Facts:
    """The one Python of all platforms; raises EngineError where the mirror is between two states."""
    if len(set(known.values())) != 1:
        told = ", ".join(f"{p}: Python {f.python}, glibc {f.glibc}" for p, f in known.items())
        raise EngineError(f"the platforms' packages differ ({told})", hint="Try again in an hour.")
    return next(iter(known.values()))


def build(  # noqa: PLR0917 - the order of the command line's options
    destination: str,
    platforms: Sequence[Platform],
    suite: str,
    include: Sequence[str],
    environ: Mapping[str, str],
    progress: Progress,
    *,
    insecure: bool = False,
) -> str:
    """Build the base image and put it at `destination`; gives its name there, with ``@`` and its digest.

    `destination`: ``oci:DIR``, ``oci:DIR:TAG`` or an image reference, in which ``{python}`` stands for the minor
    version that the suite has; what its tag held is replaced. Of `environ` are read: PATH, TMPDIR, proxies,
    PUBLISHER_DEBIAN_MIRROR, and the credentials for a registry. `insecure`: plain HTTP to the registry.
    Raises SettingsError, EngineError, HostError, RegistryError.
    """
    parse(destination, "3")  # a destination that is none must not cost a build
    with tempfile.TemporaryDirectory(prefix="publisher-base-") as folder:
        made, known = make(Path(folder), platforms, suite, include, environ=environ, progress=progress)
        place = parse(destination, known.minor)
        progress.stage(SUBJECT, "push")
        if place.folder is not None:
            write(made, place.folder, [place.name])
        else:
            _push(made, place, environ, progress, insecure)
    return f"{place}@{made.top.digest}"


def _push(
    made: Layout, place: Destination, environ: Mapping[str, str], progress: Progress, insecure: bool
) -> None:
    repository = place.repository
    credentials = Credentials.load(environ, [repository.host], redacted.learn)
    registries = Registries(credentials, {repository.host: Access(insecure=insecure)})
    push(
        made,
        repository,
        registries,
        on_total=lambda total: progress.expect(SUBJECT, "push", total),
        on_bytes=lambda amount: progress.advance(SUBJECT, "push", amount),
    )
    tag(made.top, made.manifests[made.top.digest], repository, place.name, registries)
