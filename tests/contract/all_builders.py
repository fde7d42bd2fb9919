"""One image for all builders: what is asked of each, and what of an image can be compared."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from publisher.builders.base import Builder
from publisher.builders.bases import Bases
from publisher.builders.command import of_tools
from publisher.builders.dockerfile import DockerfileBuilder, Engine
from publisher.builders.layers.build import LayerBuilder
from publisher.builders.layers.cache import Cache
from publisher.contexts import Contexts, Wanted
from publisher.domain import (
    Context,
    Environment,
    FileSet,
    ImageSpec,
    Lock,
    ModelVersion,
    Platform,
    SourceFile,
    Target,
)
from publisher.oci import layout as layouts
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.layout import Layout
from publisher.oci.registry import Registries
from publisher.progress import Report, Silent
from publisher.sources.base import Fetched
from tests import wheels
from tests.engines.hub import TAGS, Hub

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
MACHINES = {AMD64: "x86_64", ARM64: "aarch64"}
MODEL_NAME = """it's "quoted", $HOME and \\ too"""
MAIN = b"""import os
from contract_native import part
def main():
    print(part.x, os.getuid(), os.getcwd(), os.environ["MODEL_NAME"], open("/app/model/MLmodel").read(), sep="|")
if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Entry:
    """What is the same of a file or folder, whoever put it into an image."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    link: str
    content: str


@dataclass
class Workshop:
    """The spec, and each builder as a machine would have it. No package index is asked, and pip is told so by a secret."""

    folder: Path
    hub: Hub
    spec: ImageSpec = field(init=False)
    images: Images = field(init=False)
    bases: Bases = field(init=False)

    def __post_init__(self) -> None:
        self.images = Images(Registries(Credentials()), {"docker.io": self.hub.host})
        self.bases = Bases(self.images, self.folder / "cache")
        self.spec = self._spec()

    def layers(self) -> Builder:
        return LayerBuilder(self.images, self.bases, Cache(self.folder / "cache"))

    def by_dockerfile(self, engine: Engine, environ: Mapping[str, str] = os.environ) -> Builder:
        return DockerfileBuilder(engine, of_tools(environ), lambda _: {}, self.folder / "logs")

    def build(self, builder: Builder) -> Layout:
        spec = self.spec
        assert builder.check(spec) == ""
        if builder.by_dockerfile:
            spec = replace(spec, context=self._context(builder.name))
        work = self.folder / f"work-{builder.name}"
        work.mkdir()
        return builder.build(
            spec, work, [], Report(Silent(), builder.name), lambda _digest, _size, _blob: None
        ).layout

    def _context(self, name: str) -> Context:
        folder = self.folder / f"context-{name}"
        folder.mkdir()

        def secrets(_target: Target, place: Path, _accounts: bool) -> Mapping[str, Path]:
            place.mkdir()
            (place / "pip.conf").write_text("[global]\nno-index = true\n")
            return {"pip.conf": place / "pip.conf"}

        version = ModelVersion("m", "1", "models:/m-1", self.spec.created)
        target = Target("T", "TAG", "registry.test", self.spec.platforms, self.spec.base.name)
        model = self.spec.files[0].root
        wanted = Wanted(
            version, target, "registry.test/m:v1", Fetched(model.parent, model, None, None, 3_000_012)
        )
        environment = Environment(("contract-pure",), self.spec.base.python)
        return Contexts(1 << 30, secrets).ours(wanted, self.spec, environment, folder)

    def _spec(self) -> ImageSpec:
        base = self.bases.resolve(f"docker.io/library/python:{TAGS[0]}", [AMD64, ARM64], [])
        made = self.folder / "wheels"
        made.mkdir()
        digits = base.python_minor.replace(".", "")
        pure = wheels.make(
            made,
            "contract_pure",
            {"contract_pure/__init__.py": b"", "contract_pure/__main__.py": MAIN},
            entry_points="[console_scripts]\npure-run = contract_pure.__main__:main\n",
        )
        native = {
            platform: wheels.make(
                made,
                "contract_native",
                {
                    "contract_native/__init__.py": b"",
                    "contract_native/part.py": b"x = 'ran'\n",
                    f"contract_native/lib.{machine}.so": machine.encode() * 50,
                },
                tag=f"cp{digits}-cp{digits}-manylinux_2_17_{machine}",
            )
            for platform, machine in MACHINES.items()
        }
        model = self.folder / "files" / "model"
        (model / "deep").mkdir(parents=True)
        (model / "MLmodel").write_text("flavors: {}\n")
        (model / "deep" / "weights").write_bytes(b"w" * 3_000_000)
        (model / "deep" / "run.sh").write_text("#!/bin/sh\n")
        (model / "deep" / "run.sh").chmod(0o700)
        files = (
            SourceFile("MLmodel", 12),
            SourceFile("deep/run.sh", 10, executable=True),
            SourceFile("deep/weights", 3_000_000),
        )
        locks = {
            platform: Lock(
                platform,
                base.python_minor,
                (wheels.locked(native[platform]), wheels.locked(pure)),
                ("contract-pure",),
            )
            for platform in MACHINES
        }
        return ImageSpec(
            base=base,
            locks=locks,
            files=(FileSet("model", model, "/app/model", files),),
            entrypoint=("python",),
            command=("-m", "contract_pure"),
            environment=(("MODEL_NAME", MODEL_NAME), ("MODEL_VERSION", "v1")),
            labels=(("org.opencontainers.image.version", "v1"), ("own", 'it\'s "$x"')),
            created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            user="10001:10001",
            workdir="/app",
            ports=(8080,),
        )


def manifest_of(layout: Layout, platform: Platform) -> str:
    return next(child.digest for place, child in layouts.platforms(layout) if place == platform)


class Trees:
    """What lies in the environment and in /app of images. A layer is read once; its digests and size are checked then."""

    def __init__(self) -> None:
        self._layers: dict[tuple[str, str], dict[str, Entry]] = {}

    def of(self, layout: Layout, platform: Platform) -> dict[str, Entry]:
        digest = manifest_of(layout, platform)
        diff_ids = layout.config(digest)["rootfs"]["diff_ids"]
        found: dict[str, Entry] = {}
        for layer, diff_id in zip(layout.layers(digest), diff_ids, strict=True):
            key = (layer.digest, diff_id)
            if key not in self._layers:
                with layout.blobs[layer.digest].open() as stream:
                    data = stream.read()
                assert (layouts.digest_of(data), len(data)) == (layer.digest, layer.size)
                plain = gzip.decompress(data)
                assert layouts.digest_of(plain) == diff_id
                self._layers[key] = _entries(plain)
            found |= self._layers[key]
        return found


def _entries(plain: bytes) -> dict[str, Entry]:
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return {
            each.name.strip("/"): _entry(archive, each)
            for each in archive
            if each.name.strip("/").startswith(("opt/venv/", "app/"))
        }


def _entry(archive: tarfile.TarFile, each: tarfile.TarInfo) -> Entry:
    file = archive.extractfile(each) if each.isfile() else None
    content = hashlib.sha256(file.read()).hexdigest() if file else ""
    return Entry(each.type, each.mode & 0o7777, (each.uid, each.gid), each.linkname, content)
