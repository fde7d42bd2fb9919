"""As whom an image's program runs, and what that user may do with a file of the image."""

from __future__ import annotations

from dataclasses import dataclass

from publisher.checks.tree import File, Folder, Tree

_READ, _EXECUTE = 4, 1


@dataclass(frozen=True, slots=True)
class User:
    """`name` as the config writes it. Root may do everything, but execute what nobody may."""

    name: str
    uid: int
    groups: frozenset[int]

    @classmethod
    def of(cls, text: str, tree: Tree) -> User | None:
        """By `User` of an image's config (image-spec, "config.md"); None where it names one that the image lacks."""
        name, _, group = text.partition(":")
        lines = [line.split(":") for line in tree.text("/etc/passwd").splitlines()]
        users = [line for line in lines if len(line) > 3 and line[2].isdigit() and line[3].isdigit()]
        lines = [line.split(":") for line in tree.text("/etc/group").splitlines()]
        groups = [line for line in lines if len(line) > 3 and line[2].isdigit()]
        known = next((line for line in users if name in (line[0], line[2])), None)
        if not name:
            known, name = None, "0"
        if known is None and not _is_number(name):
            return None
        uid = int(known[2]) if known else int(name)
        belongs = {int(line[2]) for line in groups if known and known[0] in line[3].split(",")}
        if not group:
            belongs.add(int(known[3]) if known else 0)
        elif found := next((line for line in groups if group in (line[0], line[2])), None):
            belongs.add(int(found[2]))
        elif _is_number(group):
            belongs.add(int(group))
        else:
            return None
        return cls(text or "root", uid, frozenset(belongs))

    def reads(self, tree: Tree, path: str, file: File) -> bool:
        """Whether this user may open the file at the real path `path`."""
        return self._may(_READ, file) and self._reaches(tree, path)

    def executes(self, tree: Tree, path: str, file: File) -> bool:
        """Whether the kernel would start it for this user."""
        return self._may(_EXECUTE, file) and self._reaches(tree, path)

    def _reaches(self, tree: Tree, path: str) -> bool:
        here: Folder = tree.root
        for part in path.strip("/").split("/")[:-1]:
            node = here.inside.get(part)
            if not isinstance(node, Folder) or not self._may(_EXECUTE, node):
                return False
            here = node
        return True

    def _may(self, what: int, node: File | Folder) -> bool:
        if self.uid == 0:
            return what == _READ or isinstance(node, Folder) or bool(node.mode & 0o111)
        if node.uid == self.uid:
            return bool(node.mode >> 6 & what)
        return bool(node.mode >> (3 if node.gid in self.groups else 0) & what)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10
