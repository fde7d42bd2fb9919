"""Real images: the base that publisher makes, and an environment of a real wheel on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.builders.bases import Bases
from publisher.builders.layers.build import LayerBuilder
from publisher.builders.layers.cache import Cache
from publisher.domain import Environment, FileSet, ImageSpec, Lock, Platform, SourceFile
from publisher.environments.lock import Resolver
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.layout import Layout
from publisher.oci.registry import Registries
from publisher.progress import Report, Silent
from tests.e2e.conftest import base_image, base_layout

__all__ = ["base_image", "base_layout"]
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
# Small, and of C++: it needs libstdc++ and, by its wheel's tag, an older glibc.
REQUIREMENT = "kiwisolver==1.4.8"
Build = Callable[[Mapping[Platform, Platform]], Layout]


@pytest.fixture(scope="session")
def build(base_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build for platforms, each with the wheels that are for the platform given with it."""
    folder = tmp_path_factory.mktemp("real")
    images = Images(Registries(Credentials()))
    cache, bases = Cache(folder / "cache"), Bases(images, folder / "cache")
    base = bases.resolve(f"oci:{base_layout}", [AMD64, ARM64], [])
    resolver = Resolver.load(folder / "cache", dict(os.environ))
    environment = Environment((REQUIREMENT,), base.python)
    locks = {each: resolver.lock(environment, each, base, registered=None) for each in (AMD64, ARM64)}
    (folder / "model").mkdir()
    (folder / "model" / "MLmodel").write_text("flavors: {}\n")
    model = FileSet("model", folder / "model", "/app/model", (SourceFile("MLmodel", 12),))

    def made(wanted: Mapping[Platform, Platform]) -> Layout:
        spec = ImageSpec(
            base=base,
            locks={to: Lock(to, base.python_minor, locks[of].wheels) for to, of in wanted.items()},
            files=(model,),
            entrypoint=("python",),
            command=("-c", "import kiwisolver"),
            environment=(),
            labels=(),
            created=datetime(2026, 1, 2, tzinfo=UTC),
            user="10001:10001",
            workdir="/app",
            bytecode=False,
        )
        work = folder / f"work{len(list(folder.iterdir()))}"
        work.mkdir()
        builder = LayerBuilder(images, bases, cache)
        return builder.build(spec, work, [cache], Report(Silent(), "test"), lambda *_: None).layout

    return made
