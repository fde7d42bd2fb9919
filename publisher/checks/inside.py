"""What a profile asks of an image's files: programs that its platform needs, and as whom and how it starts the image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, replace

from publisher.checks import machines
from publisher.checks.profiles import Profile
from publisher.checks.program import Program, Start
from publisher.checks.tree import File, Tree
from publisher.checks.users import User
from publisher.checks.verdict import Finding
from publisher.domain import Platform

_STRANGER = "1000650000:0"  # as a platform with ids of its own choice may start it
_INTERPRETERS = ("python", "sh", "bash", "dash")


@dataclass(slots=True)
class Inside:
    """What its files tell."""

    profile: Profile
    platform: Platform
    start: Start
    entrypoint: tuple[str, ...]
    tree: Tree

    def findings(self) -> Iterator[Finding]:
        yield from self._files()
        yield from self._arguments()
        if self.profile.any_user:
            yield from self._stranger()

    def notes(self) -> Iterator[Finding]:
        if self.profile.any_user and not self._writes_home():
            home = self.start.variables.get("HOME", "")
            text = "is HOME, and a user of the group 0 may not write there" if home else "HOME is not set"
            yield Finding(home, "", f"{text}: a library that keeps a cache there may fail")

    def _files(self) -> Iterator[Finding]:
        user = User.of(self.start.user, self.tree)
        for path in self.profile.files:
            found = self.tree.find(path)
            if found is None or not isinstance(found[1], File):
                text = f"{path} is not in the image, and the profile {self.profile.name} needs it"
                yield Finding("", "", text, "Take a base image that has it.")
            elif found[1].mode & 0o111 and user and not user.executes(self.tree, found[0], found[1]):
                text = (
                    f"is needed by the profile {self.profile.name}, and the image's user may not execute it"
                )
                yield Finding(path, found[1].layer, text, "Let all execute it (chmod a+x).")
        for name in self.profile.programs:
            if not self._in_path(name):
                text = f"{name} is not in the image's PATH, and the profile {self.profile.name} needs it"
                yield Finding("", "", text, "Take a base image that has it.")

    def _in_path(self, name: str) -> bool:
        files = (self.tree.file(f"{folder}/{name}", self.start.workdir) for folder in self.start.path)
        return any(file and file.mode & 0o111 for file in files)

    def _arguments(self) -> Iterator[Finding]:
        """The platform puts its own arguments in the command's place."""
        arguments = self.profile.arguments
        if not arguments:
            return
        shown = " ".join(arguments)
        remedy = f"Put all of the program into ENTRYPOINT, so that it takes {shown!r} as an argument."
        said = f"the profile {self.profile.name} starts it with {shown!r} in place of its command"
        alone = len(self.entrypoint) == 1 and posixpath.basename(self.entrypoint[0]).startswith(_INTERPRETERS)
        if alone and self.tree.file(arguments[0], self.start.workdir) is None:
            text = f"{said}, and {self.entrypoint[0]} would look for a script of that name"
            yield Finding("", "", text, remedy)
            return
        yield from (
            replace(each, text=f"{said}: {each.text}", remedy=remedy)
            for each in self._program(replace(self.start, arguments=(*self.entrypoint, *arguments)))
        )

    def _program(self, start: Start) -> list[Finding]:
        machine = machines.of(self.platform)
        if machine is None:
            return []
        program = Program(self.tree, machine, start)
        program.follow()
        return program.findings

    def _stranger(self) -> Iterator[Finding]:
        """What its own user may do, a user of the platform's choice must be able to do by the group 0."""
        own, stranger = User.of(self.start.user, self.tree), User.of(_STRANGER, self.tree)
        if own is None or stranger is None:
            return  # the check of what it starts tells
        remedy = "Give it to the group 0, with its owner's permissions: chgrp -R 0 and chmod -R g=u."
        known = self._program(self.start)
        as_stranger = self._program(replace(self.start, user=_STRANGER))
        yield from (replace(each, remedy=remedy) for each in as_stranger if each not in known)
        below = posixpath.normpath(self.start.workdir).rstrip("/") + "/"
        for path, file in self.tree.files() if below != "/" else ():
            lost = path.startswith(below) and not stranger.reads(self.tree, path, file)
            if lost and own.reads(self.tree, path, file):
                text = f"may be read by the user {own.name}, and not by another of the group 0"
                yield Finding(path, file.layer, text, remedy)

    def _writes_home(self) -> bool:
        home = self.tree.folder(self.start.variables.get("HOME", "/nowhere"))
        return home is not None and bool(home.mode & (0o022 if home.gid == 0 else 0o002))
