"""What an image starts: whether it is there, for this processor, and its user may execute it. Nothing is executed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from publisher.checks.machines import Machine
from publisher.checks.tree import File, Folder, Tree
from publisher.checks.users import User
from publisher.checks.verdict import Finding

# What engines set where the config says nothing.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SCRIPTS = 4  # an interpreter may be a script itself; the kernel follows four
_ANOTHER = "Set the entrypoint to a program that is in the image, or take a base image that has it."


@dataclass(frozen=True, slots=True)
class Start:
    """An image config's part about starting. Raises TypeError and the like where it is no config: see `of`."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    workdir: str
    user: str

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Start:
        inner = config.get("config") or {}
        arguments = [*(inner.get("Entrypoint") or []), *(inner.get("Cmd") or [])]
        variables = dict(str(entry).partition("=")[::2] for entry in inner.get("Env") or [])
        workdir = str(inner.get("WorkingDir") or "/")
        return cls(tuple(map(str, arguments)), variables, workdir, str(inner.get("User") or ""))

    @property
    def path(self) -> list[str]:
        """The folders in which a program without a path is looked for."""
        return [each for each in self.variables.get("PATH", _PATH).split(":") if each]


@dataclass(slots=True)
class Program:
    """Follows an image's entrypoint to the ELF file that the kernel starts: `file`, at the path `path`."""

    tree: Tree
    machine: Machine
    start: Start
    findings: list[Finding] = field(default_factory=list)
    file: File | None = None
    path: str = ""
    _user: User | None = None

    def follow(self) -> None:
        """Fill in `file` and `findings`."""
        self._user = User.of(self.start.user, self.tree)
        if self._user is None:
            text = f"the image's user {self.start.user!r} is not in its /etc/passwd or /etc/group"
            self._fault("", "", text, "Name the user by numbers, such as 10001:10001.")
        if self.start.arguments:
            self._follow(self.start.arguments[0], _SCRIPTS)
            self._script(self.start.arguments)

    def _follow(self, name: str, left: int) -> None:
        found = self._find(name)
        if found is None:
            where = "in the image" if "/" in name else f"in the image's PATH ({':'.join(self.start.path)})"
            self._fault("", "", f"the program {name} is not {where}", _ANOTHER)
            return
        path, node = found
        if not isinstance(node, File) or not node.regular:
            layer = node.layer if isinstance(node, File | Folder) else ""
            self._fault(path, layer, "is what the image starts, and is no file", _ANOTHER)
            return
        if self._user and not self._user.executes(self.tree, path, node):
            text = f"is what the image starts, and its user {self._user.name} may not execute it"
            self._fault(
                path, node.layer, text, "Give it and its folders execute permission for all (chmod a+x)."
            )
        if node.elf:
            self._elf(path, node)
        elif node.line and left:
            self._interpreted(path, node, left)
        else:
            text = "is what the image starts, and is neither a program nor a script that says what runs it"
            self._fault(path, node.layer, text, "Let its first line be #! and the path of its interpreter.")

    def _elf(self, path: str, node: File) -> None:
        elf = node.elf
        if elf is None or elf.fault or not self.machine.runs(elf):
            return  # the check of all ELF files tells
        self.file, self.path = node, path
        if elf.interpreter:
            found = self.tree.find(elf.interpreter)
            loader = found[1] if found else None
            if found is None or not isinstance(loader, File):
                text = f"is what the image starts, and its loader {elf.interpreter} is not in the image"
                self._fault(
                    path, node.layer, text, "Take a base image with the C library that it was made for."
                )
            elif self._user and not self._user.executes(self.tree, found[0], loader):
                text = f"is the loader of what the image starts, and its user {self._user.name} may not execute it"
                self._fault(found[0], loader.layer, text, "Make it executable for all (chmod a+x).")

    def _interpreted(self, path: str, node: File, left: int) -> None:
        words = node.line.split()
        if not words or not words[0].startswith("/"):
            self._fault(
                path, node.layer, f"starts with #!{node.line}, which names no path", "Write the whole path."
            )
            return
        if self._find(words[0]) is None:
            text = f"is a script for {words[0]}, which is not in the image"
            self._fault(path, node.layer, text, _ANOTHER)
            return
        name = words[0]
        if posixpath.basename(name) == "env":
            asked = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
            name = asked[0] if asked else name
            if self._find(name) is None:
                text = (
                    f"is a script for {name}, which is not in the image's PATH ({':'.join(self.start.path)})"
                )
                self._fault(path, node.layer, text, _ANOTHER)
                return
        self._follow(name, left - 1)

    def _script(self, arguments: Sequence[str]) -> None:
        """What a Python is given to run, where that is a file by its name."""
        named = posixpath.basename(arguments[0]).startswith("python") and len(arguments) > 1
        if named and arguments[1].endswith(".py") and not arguments[1].startswith("-"):
            path = posixpath.join(self.start.workdir, arguments[1])
            found = self.tree.find(path)
            node = found[1] if found else None
            if found is None or not isinstance(node, File):
                self._fault("", "", f"the program {path} is not in the image", _ANOTHER)
            elif self._user and not self._user.reads(self.tree, found[0], node):
                text = f"is what the image starts, and its user {self._user.name} may not read it"
                self._fault(found[0], node.layer, text, "Let all read it (chmod a+r), and its folders.")

    def _find(self, name: str) -> tuple[str, Any] | None:
        if "/" in name:
            return self.tree.find(name, self.start.workdir)
        for folder in self.start.path:
            found = self.tree.find(f"{folder}/{name}", self.start.workdir)
            # A shell's own search: what may not be executed is passed over.
            if found and isinstance(found[1], File) and found[1].mode & 0o111:
                return found
        return None

    def _fault(self, path: str, layer: str, text: str, remedy: str) -> None:
        self.findings.append(Finding(path, layer, text, remedy))
