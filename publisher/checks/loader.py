"""Where the image's loader looks for a library, by its own rules (ld.so(8); musl: "Environment variables", INSTALL).

glibc's order: RPATH of the file where it has no RUNPATH, and of those that it is loaded for; LD_LIBRARY_PATH;
RUNPATH; the folders of ld.so.conf, which it knows through ld.so.cache; its own. A file for another processor is
passed over. Its folders for single processor models (glibc-hwcaps) are left out: what is only there is not there
for all.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from publisher.checks.elf import Elf
from publisher.checks.machines import Machine
from publisher.checks.tree import File, Folder, Tree
from publisher.errors import BuildError

_INCLUDES = 100  # files of ld.so.conf; one may include itself
_FOLDERS = 1000  # that it names
_LOOKS = 5_000_000  # into a folder, for one image; a scikit-learn model's takes 20,000
_ABOVE = 50  # files for which one is loaded, whose RPATH counts too
_TOKEN = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM))")
_LIBRARY_FOLDERS = ("lib64", "lib")
# musl is one library, and takes these names for itself.
_MUSL_ITSELF = re.compile(r"lib(c|pthread|rt|m|dl|util|xnet)\.")


@dataclass(slots=True)
class Found:
    """`file` is None where nothing is there that loads; `foreign`: what has the name, for another processor;
    `importers`: what is found by other ways than the loader's."""

    file: File | None = None
    path: str = ""
    foreign: File | None = None
    importers: File | None = None


@dataclass(slots=True)
class Loader:
    """`variables`: the environment of the image's config."""

    tree: Tree
    machine: Machine
    variables: Mapping[str, str]
    musl: bool = False
    _configured: list[str] = field(default_factory=list)
    _folders: dict[str, tuple[str, Folder] | None] = field(default_factory=dict)
    _looks: int = 0
    _users: dict[int, list[tuple[str, File]]] = field(default_factory=dict)  # by id of the library

    def __post_init__(self) -> None:
        self.musl = _is_musl(self.tree, self.machine)
        self._configured = self._system()

    def search(self, path: str, elf: Elf) -> list[str]:
        """The folders in which libraries of the file `elf`, which lies at `path`, are looked for, in order."""
        folders: list[str] = []
        if elf.rpath and not elf.runpath:
            folders += self._expanded(elf.rpath, path)
        folders += self._expanded(self.variables.get("LD_LIBRARY_PATH", "").replace(";", ":"), path)
        if elf.runpath:
            folders += self._expanded(elf.runpath, path)
        return folders if elf.nodeflib else folders + self._configured

    def find(self, name: str, folders: Iterable[str]) -> Found:
        """The library `name`, by what `search` gave."""
        if self.musl and _MUSL_ITSELF.match(name):
            return Found(self.tree.file(f"/lib/ld-musl-{self.machine.name}.so.1"))
        if "/" in name:
            file = self.tree.file(name)
            return Found(file, name) if file and self._loads(file) else Found(foreign=file)
        found = Found()
        for folder in folders:
            self._look(folder, name, found)
            if found.file:
                break
        return found

    def find_above(self, name: str, library: File, found: Found) -> None:
        """The same by the RPATH of what `library` is loaded for, of which `loaded` has told."""
        above, seen = list(self._users.get(id(library), [])), {id(library)}
        while above and not found.file and len(seen) < _ABOVE:
            path, file = above.pop(0)
            if id(file) in seen or file.elf is None:
                continue
            seen.add(id(file))
            if not file.elf.runpath:
                for folder in self._expanded(file.elf.rpath, path):
                    self._look(folder, name, found)
            above += self._users.get(id(file), [])

    def loaded(self, library: File, path: str, user: File) -> None:
        """The file `user`, which lies at `path`, loads `library`."""
        if user.elf and (user.elf.rpath or id(user) in self._users):
            self._users.setdefault(id(library), []).append((path, user))

    def _look(self, folder: str, name: str, found: Found) -> None:
        self._looks += 1
        if self._looks > _LOOKS:
            raise BuildError("the files of the image ask for more libraries than any program")
        if folder not in self._folders:
            there = self.tree.find(folder)
            self._folders[folder] = (there[0], there[1]) if there and isinstance(there[1], Folder) else None
        known = self._folders[folder]
        if known is None or name not in known[1].inside:
            return
        there = self.tree.find(f"{known[0]}/{name}")
        file = there[1] if there else None
        if there and isinstance(file, File) and self._loads(file):
            found.file, found.path = file, there[0]
        elif isinstance(file, File) and found.foreign is None:
            found.foreign = file

    def _loads(self, file: File) -> bool:
        return bool(file.elf and not file.elf.fault and self.machine.runs(file.elf))

    def _expanded(self, text: str, path: str) -> Iterable[str]:
        """The folders of a search path, with the loader's variables in it replaced."""
        origin = path.rpartition("/")[0] or "/"
        for part in text.split(":") if text else ():
            if not part.startswith(("/", "$")):
                continue  # of the folder that a program is started in, which nobody knows
            for library in (f"lib/{self.machine.triplet}", *_LIBRARY_FOLDERS):
                values = {"ORIGIN": origin, "LIB": library, "PLATFORM": self.machine.name}
                yield _TOKEN.sub(lambda match, values=values: values[match[1] or match[2]], part)  # type: ignore[misc]
                if "LIB" not in part:
                    break

    def _system(self) -> list[str]:
        if self.musl:
            told = self.tree.text(f"/etc/ld-musl-{self.machine.name}.path")
            return (
                re.split(r"[:\n]", told.strip()) if told.strip() else ["/lib", "/usr/local/lib", "/usr/lib"]
            )
        triplet = self.machine.triplet
        own = [f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"]
        # The loader reads no ld.so.conf: ldconfig does, and writes the cache.
        known = self.tree.file("/etc/ld.so.cache") is not None
        return [*(_configured(self.tree) if known else ()), *own]


def _is_musl(tree: Tree, machine: Machine) -> bool:
    """Whether the image's C library is musl, and not glibc, which may have musl beside it."""
    glibc = any(
        tree.file(f"{folder}/libc.so.6")
        for folder in (f"/lib/{machine.triplet}", f"/usr/lib/{machine.triplet}", "/lib64", "/lib")
    )
    return not glibc and tree.file(f"/lib/ld-musl-{machine.name}.so.1") is not None


def _configured(tree: Tree) -> list[str]:
    """The folders that ld.so.conf names, in its order, with those of its includes."""
    folders: list[str] = []
    seen: set[str] = set()
    todo = ["/etc/ld.so.conf"]
    while todo and len(seen) < _INCLUDES:
        path = todo.pop(0)
        if path in seen:
            continue
        seen.add(path)
        included: list[str] = []
        for line in tree.text(path).splitlines():
            words = re.split(r"[\s,:]+", line.partition("#")[0].strip())
            if words[0] == "include":
                included += [each for pattern in words[1:_INCLUDES] for each in _matching(tree, pattern)]
            elif words[0] != "hwcap":
                folders += [word.partition("=")[0] for word in words if word.startswith("/")]
        todo = included + todo
    return folders[:_FOLDERS]


def _matching(tree: Tree, pattern: str) -> list[str]:
    head, _, leaf = (pattern if pattern.startswith("/") else f"/etc/{pattern}").rpartition("/")
    folder = tree.folder(head)
    return [
        f"{head}/{name}" for name in sorted(folder.inside if folder else ()) if fnmatch.fnmatch(name, leaf)
    ]
