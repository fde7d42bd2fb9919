"""The image's own Python, run out of the image's layers, shut in, without a container engine."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from publisher import bubblewrap, machine
from publisher.checks import enclosure, machines, trees
from publisher.checks.enclosure import MAPPED, Enclosed, Way
from publisher.checks.loader import Loader
from publisher.checks.machines import Machine
from publisher.checks.program import Start
from publisher.checks.supervised import Ran
from publisher.checks.surveys import Surveys
from publisher.checks.tree import File, Folder, Tree
from publisher.checks.users import User
from publisher.domain import Platform
from publisher.errors import BuildError
from publisher.oci import layout as layouts
from publisher.oci.layout import READABLE_LAYERS, Layout

__all__ = ["Ran", "Root", "Roots"]
_PYTHONS = ("python3", "python")
_FOLDERS = ("/usr/local/bin", "/usr/bin")
_SCRIPT = (128 << 10) - 1  # bytes of one argument, as the kernel takes them
_LEAST = 4 << 30  # bytes of memory; an image of many GB, whose model is loaded whole, gets more


@dataclass(frozen=True, slots=True)
class _Python:
    """`path`: as the image names it, links and all; `real`: the file itself."""

    path: str
    real: str
    file: File


@dataclass(frozen=True, slots=True)
class Root:
    """An image of one platform, unpacked, with its own Python. See `Roots.open`."""

    tree: Tree
    start: Start
    enclosed: Enclosed
    python: _Python
    machine: Machine

    @property
    def isolation(self) -> str:
        """For people and the status: how what runs here is shut in."""
        return self.enclosed.told()

    @property
    def shut_in(self) -> bool:
        """Whether it sees neither files of this machine nor a network."""
        return self.enclosed.way != "limits"

    @property
    def mapped(self) -> bool:
        """Whether the image's files lie at other paths than in the image; then one that a program names is missing."""
        return self.enclosed.way in MAPPED

    def path(self, inside: str) -> str:
        """How a program that runs here calls the absolute path `inside` of the image."""
        if not self.mapped:
            return inside
        found = self.tree.find(inside)
        return f"{self.enclosed.root}{found[0] if found else inside}"

    def run(
        self, script: bytes, arguments: Sequence[str], *, environment: Mapping[str, str], seconds: float
    ) -> Ran:
        """Run `script` (128 KB at most) with the image's Python, as ``python -c``, for so many seconds at most.

        `arguments` are ``sys.argv[1:]``. Its variables are those of the image's config, and `environment` over them;
        its folder is the image's working directory. What it writes to the descriptor 3 is the answer. Raises
        HostError where it cannot be started.
        """
        if len(script) > _SCRIPT:
            raise ValueError(f"a script has {_SCRIPT:,} bytes at most")
        variables = {**self._variables(), **environment}
        command = [*self._python(), "-c", script.decode(), *arguments]
        found = self.tree.find(self.start.workdir)
        there = found is not None and isinstance(found[1], Folder)
        return self.enclosed.run(command, variables, self.path(self.start.workdir if there else "/"), seconds)

    def _variables(self) -> dict[str, str]:
        place = f"{self.enclosed.root}/tmp" if self.mapped else "/tmp"  # noqa: S108
        own = {"HOME": place, "TMPDIR": place, "PYTHONDONTWRITEBYTECODE": "1"}
        if not self.mapped:
            return {**own, **self.start.variables, "PYTHONDONTWRITEBYTECODE": "1"}
        mapped = {name: self._mapped(value) for name, value in self.start.variables.items()}
        home = self.python.real.rpartition("/")[0].rpartition("/")[0]
        # This machine's own would be found first, and may be forbidden.
        files = {"PYTHONTZPATH": "/usr/share/zoneinfo", "OPENSSL_CONF": "/etc/ssl/openssl.cnf"}
        named = {name: self.path(path) for name, path in files.items()}
        return {**named, **mapped, **own, "PYTHONHOME": self.path(home or "/")}

    def _mapped(self, value: str) -> str:
        """Paths of the image, one or several with colons, as they are on this machine."""
        parts = value.split(":")
        return ":".join(
            self.path(part) if part.startswith("/") and self.tree.find(part) else part for part in parts
        )

    def _python(self) -> list[str]:
        if not self.mapped:
            return [self.python.path]
        # Its own loader is told where libraries are: what it would look for by itself are this machine's.
        elf = self.python.file.elf
        found = self.tree.find(elf.interpreter) if elf and elf.interpreter else None
        if elf is None or found is None:
            raise BuildError(f"{self.python.path} of the image has no loader, so it is not run outside of it")
        folders = Loader(self.tree, self.machine, self.start.variables).search(self.python.real, elf)
        known = [self.path(folder) for folder in folders if self.tree.folder(folder)]
        return [
            self.path(found[0]),
            "--library-path",
            ":".join(known),
            f"{self.enclosed.root}{self.python.path}",
        ]


@dataclass(frozen=True, slots=True)
class Roots:
    """Unpacks images, the layers that versions have in common once. `folder`: the cache folder; None keeps nothing.

    `way`: how programs are shut in; None: the best that this machine allows.
    """

    folder: Path | None = None
    surveys: Surveys = field(default_factory=Surveys)
    way: Way | None = None

    def why_not(self, platform: Platform, *, emulate: bool) -> str:
        """Why programs for `platform` cannot be run on this machine; empty where they can."""
        if machines.of(platform) is None:
            return f"nothing is known of programs for {platform}"
        if sys.platform != "linux":
            return "programs of images run on Linux alone"
        if platform.architecture == machines.here():
            return ""
        if not emulate:
            return f"programs for {platform} run here only when asked for: emulate = true"
        if not enclosure.emulator(platform):
            return f"programs for {platform} do not run here: install emulation (apt-get install qemu-user-static)"
        return ""

    @contextmanager
    def open(self, layout: Layout, platform: Platform, manifest: str, *, emulate: bool) -> Iterator[Root]:
        """The image whose manifest has the digest `manifest`, for `platform`, of which `why_not` says nothing.

        Raises BuildError where it cannot be unpacked or has no Python: another check tells the fault, this one
        cannot look. HostError where this machine has no room.
        """
        processor = machines.of(platform)
        if processor is None or (why := self.why_not(platform, emulate=emulate)):
            raise BuildError(why if processor else f"nothing is known of programs for {platform}")
        layers = layout.layers(manifest)
        for layer in layers:
            if not layer.media_type.endswith(READABLE_LAYERS):
                raise BuildError(f"a layer is of the type {layer.media_type}, which is not read here")
        with layouts.readable(f"the config of {manifest}"):
            start = Start.of(layout.config(manifest))
        surveys = self.surveys.of(layout, layers)
        tree = Tree(surveys)
        python = _find(tree, start, processor)
        way = self.way or enclosure.best()
        user = User.of(start.user, tree)
        # Where no namespace of its own makes it harmless, it is not root, and nobody of this machine either.
        nobody = way in ("namespaces", "chroot") and (way == "chroot" or user is None or not user.uid)
        uid = bubblewrap.NOBODY if nobody or user is None else user.uid
        gid = bubblewrap.NOBODY if nobody or user is None else min(user.groups, default=uid)
        size = sum(file.size for _, file in tree.files())
        with trees.unpack(self.folder, layout, layers, surveys, tree, way=way) as unpacked:
            emulator = "" if platform.architecture == machines.here() else enclosure.emulator(platform)
            memory = min(machine.memory() * 3 // 4, _LEAST + 2 * size)
            enclosed = Enclosed(way, unpacked.root, unpacked.joints, uid, gid, memory, emulator)
            yield Root(tree, start, enclosed, python, processor)


def _find(tree: Tree, start: Start, processor: Machine) -> _Python:
    """The Python that the image starts, else the first in its PATH."""
    first = start.arguments[0] if start.arguments else ""
    named = [first] if first.rpartition("/")[2].startswith("python") else []
    paths = [name for name in named if name.startswith("/")]
    paths += [f"{folder}/{name}" for name in (*named, *_PYTHONS) for folder in (*start.path, *_FOLDERS)]
    for path in paths:
        found = tree.find(path, start.workdir)
        if found and isinstance(found[1], File) and found[1].elf and processor.runs(found[1].elf):
            return _Python(path, found[0], found[1])
    raise BuildError("the image has no Python that could be run")
