"""What every builder owes: the files, environment, user, command and labels of the spec, on every platform."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher.builders.base import Build
from publisher.builders.bases import Bases, host_platform
from publisher.builders.layers.build import LayerBuilder
from publisher.builders.layers.cache import Cache
from publisher.domain import FileSet, ImageSpec, Lock, Platform, SourceFile, Wheel
from publisher.errors import BuildError, TransferError
from publisher.oci import layout as layouts
from publisher.oci import layout_folder
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images, select
from publisher.oci.layout import Layout
from publisher.oci.registry import Registries
from publisher.progress import Report, Silent
from tests import wheels

pytestmark = pytest.mark.engine("mmdebstrap")
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
REPORT = Report(Silent(), "test")


class House:
    """A builder with a cache of its own: one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        images = Images(Registries(Credentials()))
        self.bases = Bases(images, folder / "cache")
        self.cache = Cache(folder / "cache")
        self.builder = LayerBuilder(images, self.bases, self.cache)
        self.ready: list[str] = []

    def build(self, spec: ImageSpec) -> Build:
        work = self.folder / f"work{len(list(self.folder.iterdir()))}"
        work.mkdir()
        return self.builder.build(
            spec, work, [self.cache], REPORT, lambda digest, *_: self.ready.append(digest)
        )


@pytest.fixture
def house(tmp_path: Path) -> Callable[[str], House]:
    def make(name: str) -> House:
        (tmp_path / name).mkdir()
        return House(tmp_path / name)

    return make


@pytest.fixture
def spec(tmp_path: Path, base_layout: Path) -> ImageSpec:
    """Two platforms: a pure wheel that both share, one with machine code for each, a model of two files."""
    made = tmp_path / "wheels"
    made.mkdir()
    pure = wheels.make(
        made,
        "pure",
        {"pure/__init__.py": b"from native import part\n\ndef main():\n    print('ran', part.x)\n"},
        entry_points="[console_scripts]\npure-run = pure:main\n",
    )
    native = {}
    for platform, machine in ((AMD64, "x86_64"), (ARM64, "aarch64")):
        files = {
            "native/__init__.py": b"import sys\n",
            "native/part.py": b"x = 1\n",
            "native/config.py": f"machine = {machine!r}\n".encode(),
            f"native/lib.{machine}.so": machine.encode() * 50,
        }
        native[platform] = wheels.make(made, "native", files, tag=f"cp311-cp311-manylinux_2_17_{machine}")
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "deep" / "weights").write_bytes(b"w" * 3_000_000)
    files = (SourceFile("MLmodel", 12), SourceFile("deep/weights", 3_000_000))
    bases = Bases(Images(Registries(Credentials())), tmp_path / "base-cache")
    base = bases.resolve(f"oci:{base_layout}", [AMD64, ARM64], [])

    def lock(platform: Platform) -> Lock:
        found = (wheels.locked(native[platform]), wheels.locked(pure))
        return Lock(platform, base.python_minor, found, ("pure",))

    return ImageSpec(
        base=base,
        locks={platform: lock(platform) for platform in (AMD64, ARM64)},
        files=(FileSet("model", model, "/app/model", files),),
        entrypoint=("python",),
        command=("-m", "pure"),
        environment=(("MODEL_NAME", "m\nRUN evil"),),
        labels=(("org.opencontainers.image.version", "v1"), ("own", "yes")),
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        user="10001:10001",
        workdir="/app",
        ports=(8080,),
    )


def manifest_of(layout: Layout, platform: Platform) -> str:
    return next(child.digest for place, child in layouts.platforms(layout) if place == platform)


def tree(layout: Layout, platform: Platform, above: int = 0) -> dict[str, tarfile.TarInfo]:
    """The entries of all layers from number `above`, upper layers over lower ones; diff_ids are checked."""
    found: dict[str, tarfile.TarInfo] = {}
    digest = manifest_of(layout, platform)
    diff_ids = layout.config(digest)["rootfs"]["diff_ids"]
    for number, layer in enumerate(layout.layers(digest)):
        with layout.blobs[layer.digest].open() as stream:
            data = stream.read()
        assert layouts.digest_of(data) == layer.digest
        assert len(data) == layer.size
        plain = gzip.decompress(data)
        assert layouts.digest_of(plain) == diff_ids[number]
        if number >= above:
            with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
                found |= {entry.name: entry for entry in archive}
    return found


def test_files_and_config_are_the_spec_s(
    house: Callable[[str], House], spec: ImageSpec, base_layout: Path
) -> None:
    """Each platform has its own machine code, and the same model, command, user, variables and labels."""
    layout = house("one").build(spec).layout
    below = len(layout_folder.read(base_layout).layers(manifest_of(layout_folder.read(base_layout), AMD64)))
    site = f"opt/venv/lib/python{spec.base.python_minor}/site-packages"
    for platform, machine in ((AMD64, "x86_64"), (ARM64, "aarch64")):
        entries = tree(layout, platform)
        assert f"{site}/native/lib.{machine}.so" in entries
        assert entries["app/model/deep/weights"].size == 3_000_000
        assert entries["opt/venv/bin/python"].linkname == spec.base.executable
        assert entries["opt/venv/bin/pure-run"].mode == 0o755
        assert len([name for name in entries if name.endswith(".so") and "native" in name]) == 1
        config = layout.config(manifest_of(layout, platform))
        assert (config["os"], config["architecture"]) == (platform.os, platform.architecture)
        inner = config["config"]
        assert (inner["Entrypoint"], inner["Cmd"]) == (["python"], ["-m", "pure"])
        assert (inner["User"], inner["WorkingDir"]) == ("10001:10001", "/app")
        assert inner["ExposedPorts"] == {"8080/tcp": {}}
        assert inner["Labels"]["own"] == "yes"
        assert "MODEL_NAME=m\nRUN evil" in inner["Env"]
        assert next(e for e in inner["Env"] if e.startswith("PATH=")).startswith("PATH=/opt/venv/bin:")
        assert config["created"] == "2026-01-02T03:04:05Z"
        assert len(config["rootfs"]["diff_ids"]) == len(layout.layers(manifest_of(layout, platform)))
        own = tree(layout, platform, above=below)
        assert {(e.uid, e.gid, e.mtime) for e in own.values()} == {(0, 0, 0)}
    index = layout.json(layout.top.digest)
    assert index["annotations"] == {"org.opencontainers.image.version": "v1"}


def test_bytecode_is_shared_and_holds_what_is_imported(
    house: Callable[[str], House], spec: ImageSpec
) -> None:
    """One bytecode layer serves both architectures; a module that names its machine is not in it."""
    layout = house("one").build(spec).layout
    both = [{layer.digest for layer in layout.layers(manifest_of(layout, p))} for p in (AMD64, ARM64)]
    names = set(tree(layout, AMD64))
    tag = f"cpython-{spec.base.python_minor.replace('.', '')}"
    site = f"opt/venv/lib/python{spec.base.python_minor}/site-packages"
    assert f"{site}/pure/__pycache__/__init__.{tag}.pyc" in names
    assert f"{site}/native/__pycache__/part.{tag}.pyc" in names
    assert f"{site}/native/__pycache__/config.{tag}.pyc" not in names
    own = [layer.digest for layer in layout.layers(manifest_of(layout, AMD64))][-5:]
    assert sum(digest not in both[1] for digest in own) == 1  # the machine code alone


def test_two_machines_make_one_digest(house: Callable[[str], House], spec: ImageSpec) -> None:
    """Two caches, one digest; and a platform on its own has the manifest that it has beside others."""
    first, second = house("one").build(spec).layout, house("two").build(spec).layout
    assert first.top == second.top
    alone = replace(spec, locks={ARM64: spec.locks[ARM64]})
    assert manifest_of(house("three").build(alone).layout, ARM64) == manifest_of(first, ARM64)


def test_the_model_s_layer_is_pinned(house: Callable[[str], House], spec: ImageSpec) -> None:
    """The layer of these model files never changes: not by machine, nor by release of ours."""
    layout = house("one").build(spec).layout
    own = layout.layers(manifest_of(layout, AMD64))
    with layout.blobs[own[-1].digest].open() as stream:
        assert (
            layouts.digest_of(stream.read())
            == "sha256:5a578f28f71c5164836334bac28bfff357e93540dd469512ef996ab403621b18"
        )


def test_nothing_is_made_twice(house: Callable[[str], House], spec: ImageSpec) -> None:
    """The next build takes the environment from the cache, without the wheels, and downloads nothing."""
    machine = house("one")
    first = machine.build(spec)
    assert first.downloaded > 0
    assert machine.ready
    for path in (machine.folder / "cache" / "wheels").iterdir():
        path.unlink()
    machine.ready.clear()
    again = machine.build(replace(spec, labels=(("own", "other"),)))
    assert (again.downloaded, machine.ready) == (0, [])
    assert set(again.layout.blobs) - set(first.layout.blobs)


def test_a_host_that_cannot_compile_leaves_no_trap(house: Callable[[str], House], spec: ImageSpec) -> None:
    """Without a Python that runs here there is no bytecode, and nothing is remembered that others would take."""
    machine = house("one")
    layout = machine.builder.images.load(spec.base.name)
    child = select(layout, host_platform())
    assert child is not None
    broken = machine.folder / "cache" / "rootfs" / child.digest.partition(":")[2]
    broken.mkdir(parents=True)
    (broken / ".complete").write_text("{}")
    without = machine.build(spec)
    assert without.remember == ()
    assert not [
        name
        for name in tree(without.layout, AMD64)
        if f"{spec.base.python_minor}/site-packages" in name and name.endswith(".pyc")
    ]
    shutil.rmtree(broken)
    assert machine.build(spec).layout.top == house("two").build(spec).layout.top


def test_a_lost_layer_is_made_again(house: Callable[[str], House], spec: ImageSpec) -> None:
    """A cache that lost a blob is no trap: the layer is made anew, with the same digest."""
    machine = house("one")
    first = machine.build(spec).layout
    for path in (machine.folder / "cache" / "blobs" / "sha256").iterdir():
        path.unlink()
    again = machine.build(spec).layout
    assert again.top == first.top
    tree(again, ARM64)


def test_a_wheel_with_another_hash_is_refused(house: Callable[[str], House], spec: ImageSpec) -> None:
    """A file that is not what its lock names ends the build, and is not kept."""
    machine = house("one")
    lock = spec.locks[AMD64]
    wrong: tuple[Wheel, ...] = (replace(lock.wheels[0], sha256="0" * 64), *lock.wheels[1:])
    with pytest.raises(TransferError, match="another hash"):
        machine.build(replace(spec, locks={AMD64: replace(lock, wheels=wrong)}))
    assert not machine.cache.wheel("0" * 64).exists()


def test_a_file_that_is_no_wheel_is_refused(
    house: Callable[[str], House], spec: ImageSpec, tmp_path: Path
) -> None:
    """A broken archive with the right hash is an error with its reason, from the worker process too."""
    path = tmp_path / "broken-1.0-py3-none-any.whl"
    path.write_bytes(b"not a zip")
    lock = replace(spec.locks[AMD64], wheels=(wheels.locked(path),))
    with pytest.raises(BuildError, match="zip"):
        house("one").build(replace(spec, locks={AMD64: lock}, bytecode=False))


def test_the_layout_is_written_whole(house: Callable[[str], House], spec: ImageSpec, tmp_path: Path) -> None:
    """On disk it is an OCI image layout that reads back as the same image."""
    layout = house("one").build(spec).layout
    layout_folder.write(layout, tmp_path / "disk", ["m:v1"])
    back = layout_folder.read(tmp_path / "disk", "m:v1")
    assert back.top.digest == layout.top.digest
    assert set(back.blobs) == set(layout.blobs)
    assert json.loads((tmp_path / "disk" / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
