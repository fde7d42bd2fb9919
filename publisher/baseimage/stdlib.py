"""Bytecode of the standard library, made once for all architectures by the image's own interpreter.

Debian compiles it when the package is installed, which here never happens: without bytecode each start of a
container compiles what it imports, each time anew where the file system is read-only or the user is not root.
The interpreter runs from mmdebstrap's unpacked tree, through the tree's own loader and libraries.
"""

from __future__ import annotations

import json
import os
import platform as host
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from publisher.baseimage.tree import Tree
from publisher.domain import MACHINES, Platform
from publisher.errors import EngineError

# Runs in the image's Python. marshal's version 2 writes no reference flags: those depend on how often an object
# happens to be referred to while it is written. A frozenset's order is fixed by PYTHONHASHSEED. The name of the
# file is interned so that it is loaded once for all functions of a module.
_COMPILE = """
import importlib.util, json, marshal, sys
job = json.load(sys.stdin)
for name in job["names"]:
    with open(f"{job['root']}/{name}", "rb") as file:
        source = file.read()
    try:
        code = compile(source, sys.intern("/" + name), "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        continue
    kept = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    with open(f"{job['out']}/{name.replace('/', '!')}", "wb") as file:
        file.write(kept + marshal.dumps(code, 2))
print(sys.implementation.cache_tag)
"""
_HINT = "Build on a Linux machine of one of the image's architectures, with TMPDIR on a file system without noexec."


def runnable() -> Platform:
    """The platform whose programs this machine runs; raises EngineError where that is none of ours."""
    for architecture, machine in MACHINES.items():
        if host.system() == "Linux" and host.machine() == machine:
            return Platform("linux", architecture)
    raise EngineError(
        f"a base image cannot be made on {host.system()} {host.machine()}",
        hint="Use a Linux machine (x86-64 or arm64), or a base image from a registry.",
    )


def modules(trees: Sequence[Tree], folder: str) -> dict[str, bytes]:
    """The modules below `folder` that every tree has with the same bytes: all but what ./configure found.

    That file is left out by its name, so that the result does not depend on which trees there are.
    """
    first, *others = trees
    return {
        path: content
        for path, content in first.files(folder, ".py")
        if "/_sysconfigdata" not in path
        and all(path in tree.entries and tree.content(path) == content for tree in others)
    }


def compiled(sources: Mapping[str, bytes], root: Path, minor: str, scratch: Path) -> Tree:
    """The ``__pycache__`` entries of `sources` (path without leading slash -> bytes).

    `root` is an unpacked tree of this machine's architecture that holds the same sources; `minor` is its
    Python's version, such as 3.11. Files that are no valid Python are left out. Raises EngineError.
    """
    names = sorted(sources)
    shares = [names[start :: max(1, os.cpu_count() or 1)] for start in range(max(1, os.cpu_count() or 1))]
    scratch.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(shares)) as pool:
        tags = list(pool.map(lambda share: _run(root, minor, share, scratch), shares))
    tree = Tree()
    for name in names:
        made = scratch / name.replace("/", "!")
        if made.exists():
            folder, _, file = name.rpartition("/")
            tree.directory(f"{folder}/__pycache__")
            tree.file(f"{folder}/__pycache__/{file.removesuffix('.py')}.{tags[0]}.pyc", made.read_bytes())
    return tree


def _run(root: Path, minor: str, names: list[str], out: Path) -> str:
    """Compile `names` into `out`; gives the interpreter's cache tag, such as cpython-311."""
    machine = host.machine()
    folders = [root / base / f"{machine}-linux-gnu" for base in ("lib", "usr/lib")]
    loaders = [loader for folder in folders for loader in sorted(folder.glob("ld-linux*.so.*"))]
    if not loaders:
        raise EngineError(f"the packages hold no loader for {machine}", hint=_HINT)
    command = [
        *(str(loaders[0]), "--library-path", ":".join(map(str, folders))),
        *(str(root / f"usr/bin/python{minor}"), "-s", "-S", "-B", "-c", _COMPILE),
    ]
    environment = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    job = json.dumps({"root": str(root), "out": str(out), "names": names})
    try:
        done = subprocess.run(
            command, input=job, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise EngineError(f"the image's Python cannot be run here: {error}", hint=_HINT) from error
    if done.returncode:
        raise EngineError(
            "the image's Python cannot compile its library", hint=_HINT, detail=done.stderr[-2000:]
        )
    return done.stdout.strip()
