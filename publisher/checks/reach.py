"""Which files of an image something loads: the rest cannot stop a program from starting.

Programs, Python's extension modules and libraries that are loaded by their plain name (``libxgboost.so``) are where
loading begins. A library with a version in its name (``libcufile_rdma.so.1``) is for others to link against: where
none does, it is one of many ways that its package may take, as transports and drivers are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from publisher.checks import excuses
from publisher.checks.loader import Found
from publisher.checks.tree import File

_VERSIONED = re.compile(r"\.so\.[0-9][0-9.]*$")


def reached(files: Iterable[tuple[str, File, Mapping[str, Found]]]) -> set[int]:
    """The ids of those of `files` (path, file, and what was found of its libraries) that something loads."""
    needs: dict[int, list[File]] = {}
    todo: list[int] = []
    for path, file, libraries in files:
        found = [each.file or each.importers for each in libraries.values()]
        needs[id(file)] = [each for each in found if each]
        program = bool(file.elf and file.elf.interpreter)
        if program or not (_VERSIONED.search(path) or excuses.optional(path)):
            todo.append(id(file))
    seen = set(todo)
    while todo:
        for library in needs.get(todo.pop(), ()):
            if id(library) not in seen:
                seen.add(id(library))
                todo.append(id(library))
    return seen
