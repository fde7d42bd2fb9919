"""Runs inside the image's own Python, with nothing but its standard library: modules to bytecode.

Reads a job from standard input (JSON: archives, modules, seeds, out, workers), follows imports at module level
from the seeds, compiles each module found straight out of its wheel, and writes pyc bytes to `out`.N and an
index to standard output. Nothing of the modules is executed.

A source can be made to exhaust a compiler: nested so deeply that it crashes, or so large that it takes all memory
or time. So work is done by processes with limits, and a module that ends one has no bytecode.

The bytes must not depend on the run. marshal's version 2 writes no object references, whose presence
depends on reference counts; the hash seed is fixed by the caller; the files are checked against no time stamp
(PEP 552, unchecked hash), so a read-only image with zero times never compiles again.
"""

import importlib.util
import json
import marshal
import os
import resource
import select
import struct
import sys
import types
import warnings
import zlib
from opcode import hasjabs, opmap, opname

IMPORT = opmap["IMPORT_NAME"]
EXTENDED = opmap["EXTENDED_ARG"]
CONSTANT = opmap["LOAD_CONST"]
SMALL = opmap.get("LOAD_SMALL_INT", -1)
# How far an argument is shifted before it is an index of co_names (CPython's bytecode of 3.11 and 3.12).
NAMES = {
    opmap["LOAD_NAME"]: 0,
    opmap["LOAD_GLOBAL"]: int(sys.version_info >= (3, 11)),
    opmap["LOAD_ATTR"]: int(sys.version_info >= (3, 12)),
}
UNLESS = {op for op, name in enumerate(opname) if name.startswith("POP_JUMP") and name.endswith("IF_FALSE")}
CACHES = {op for op, name in enumerate(opname) if name in ("CACHE", "TO_BOOL")}
FUNCTION = 0x2  # CO_NEWLOCALS: a body that runs later, unlike a class body
# A module of a native wheel that tells how it was built (numpy/__config__.py) names its machine: left out, so
# that the bytecode of all architectures is the same layer.
BUILD = ("config", "build", "version")
MACHINES = (b"x86_64", b"aarch64")
HEADER = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little")
BATCH = 12
SOURCE = 8 << 20  # bytes; the largest modules that people write have one or two million
MEMORY = 2 << 30  # bytes of address space of one process
SECONDS = 60  # of processor time for one batch
DEATHS = 40  # of processes, after which the wheels are not worth more time


def imports(code, name, package):
    """Names imported when the module runs, and whether it loads submodules lazily (PEP 562)."""
    found, stack, lazy = set(), [code], False
    while stack:
        body = stack.pop()
        raw, extended, constants = body.co_code, 0, []
        typing, skip = False, 0
        for k in range(0, len(raw), 2) if IMPORT in raw[::2] else ():
            op, arg = raw[k], raw[k + 1] | extended
            extended = arg << 8 if op == EXTENDED else 0
            if k < skip or op in CACHES:
                continue
            if typing and op in UNLESS:  # what only type checkers import
                skip = arg * 2 if op in hasjabs else k + 2 + arg * 2
            typing = op in NAMES and body.co_names[arg >> NAMES[op]] == "TYPE_CHECKING"
            if op == CONSTANT:
                constants.append(body.co_consts[arg])
            elif op == SMALL:
                constants.append(arg)
            elif op == IMPORT and len(constants) >= 2:
                level, members = constants[-2], constants[-1]
                target = body.co_names[arg]
                if isinstance(level, int) and level:
                    base = name if package else name.rpartition(".")[0]
                    for _ in range(level - 1):
                        base = base.rpartition(".")[0]
                    target = base + "." + target if target else base
                parts = target.split(".")
                found.update(".".join(parts[: n + 1]) for n in range(len(parts)))
                if isinstance(members, tuple):
                    found.update(target + "." + member for member in members)
        for constant in body.co_consts:
            if isinstance(constant, types.CodeType):
                if body is code and constant.co_name == "__getattr__":
                    lazy = True
                    stack.append(constant)
                elif not constant.co_flags & FUNCTION:
                    stack.append(constant)
    return found, lazy


def tells_its_build(path, source):
    leaf = path.rpartition("/")[2]
    return any(word in leaf for word in BUILD) and any(machine in source for machine in MACHINES)


def read(archive, offset, size, method):
    """A member's bytes, at most one more than SOURCE; `offset` is that of its local header."""
    archive.seek(offset)
    name, extra = struct.unpack("<HH", archive.read(30)[26:30])
    archive.seek(name + extra, 1)
    content = archive.read(min(size, SOURCE + 1))
    return zlib.decompressobj(-15).decompress(content, SOURCE + 1) if method == 8 else content


def limit():
    """Bound this process; what was set lower before stays."""
    for kind, wanted in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def wind_up():
    """Give this process its time for the next batch."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    wanted, hard = int(used.ru_utime + used.ru_stime) + SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]
    if hard == resource.RLIM_INFINITY or wanted <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (wanted, hard))


def work(job, number, orders, answers):
    """One worker: batches of module names in, compiled modules and what they import out."""
    archives = {}  # opened when needed: those of other platforms may still be on their way
    limit()
    with open(f"{job['out']}.{number}", "wb") as out:
        for line in orders:
            batch = []
            wind_up()
            for name in json.loads(line):
                index, offset, size, method, path = job["modules"][name]
                if index not in archives:
                    archives[index] = open(job["archives"][index], "rb")
                try:
                    source = read(archives[index], offset, size, method)
                    code = (
                        compile(source, "/" + path, "exec", dont_inherit=True)
                        if len(source) <= SOURCE
                        else None
                    )
                except (SyntaxError, ValueError, RecursionError, MemoryError, struct.error, zlib.error):
                    code = None
                if code is None:
                    batch.append((name, None, [], False))  # such a module fails when it is imported, too
                    continue
                found, lazy = imports(code, name, path.endswith("/__init__.py"))
                place = None
                if not (job["native"][index] and tells_its_build(path, source)):
                    content = HEADER + importlib.util.source_hash(source) + marshal.dumps(code, 2)
                    place = (number, out.tell(), len(content))
                    out.write(content)
                batch.append((name, place, sorted(found & job["modules"].keys()), lazy))
            try:
                out.flush()  # what is answered is written: a disk that is full is told, and no module's fault
            except OSError as error:
                batch = str(error)
            answers.write(json.dumps(batch) + "\n")
            answers.flush()


def start(job, number):
    order_read, order_write = os.pipe()
    answer_read, answer_write = os.pipe()
    if os.fork() == 0:
        os.close(order_write)
        os.close(answer_read)
        status = 1
        try:
            with os.fdopen(order_read) as orders, os.fdopen(answer_write, "w") as answers:
                work(job, number, orders, answers)
            status = 0
        finally:
            os._exit(status)
    os.close(order_read)
    os.close(answer_write)
    return os.fdopen(order_write, "w"), os.fdopen(answer_read)


def main():
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(20_000)
    job = json.load(sys.stdin)
    children = {}
    for name in job["modules"]:
        parent, _, leaf = name.rpartition(".")
        if leaf not in ("tests", "test", "conftest", "testing"):
            children.setdefault(parent, []).append(name)
    known, result = job["known"], {}
    seen = set()

    def reach(names):
        """What is left to compile of `names` and of what known modules lead to from them."""
        new, names = [], [name for name in names if name not in seen]
        while names:
            name = names.pop()
            if name not in seen:
                seen.add(name)
                if name in known:
                    names.extend(known[name])
                elif name in job["modules"]:
                    new.append(name)
        return sorted(new)

    todo = reach(job["seeds"])
    started = job["workers"]
    pipes = [start(job, number) for number in range(started)]
    idle, busy = list(pipes), {}
    alone = []  # one of these ended a process
    while todo or alone or busy:
        while idle and (todo or alone):
            orders, answers = idle.pop()
            if todo:
                batch, todo = todo[:BATCH], todo[BATCH:]
            else:
                batch = [alone.pop()]
            orders.write(json.dumps(batch) + "\n")
            orders.flush()
            busy[answers] = orders, batch
        for answers in select.select(list(busy), [], [])[0]:
            line = answers.readline()
            orders, batch = busy.pop(answers)
            if not line.endswith("\n"):
                if started - job["workers"] == DEATHS:
                    raise SystemExit("modules that end the compiler, again and again")
                orders.close()
                pipes.remove((orders, answers))
                pipes.append(start(job, started))
                idle.append(pipes[-1])
                started += 1
                if len(batch) > 1:
                    alone += batch
                else:
                    result[batch[0]] = (None, [])
                continue
            idle.append((orders, answers))
            done = json.loads(line)
            if isinstance(done, str):
                raise SystemExit(done)
            for name, place, found, lazy in done:
                edges = sorted({*found, *(children.get(name, ()) if lazy else ())})
                result[name] = (place, edges)
                todo.extend(reach(edges))
    for orders, answers in pipes:
        orders.close()
        answers.close()
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
