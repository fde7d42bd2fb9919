"""What of a wheel a slim image leaves out: files that nobody needs who only serves a model.

A rule is a pattern of paths in the wheel. No rule counts for what the wheel itself needs at run time: a folder of
tests from which a module outside of it imports stays whole, and so do the stubs of packages that read them.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

# Raised when the rules, and so the bytes of slim layers, change.
RULES_VERSION = 1
_MODULE = 2 << 20  # bytes of a module that are looked at; those that people write are smaller
_FOLDERS = r"tests?|_precompute|docs?|examples?|benchmarks?"
# Some compile at run time, by a compiler that they bring along or load: what looks like leftovers feeds it.
_COMPILING = (
    r"(?i:nvidia|cuda|cupy|triton|numba|pycuda|pyopencl|warp|taichi|tilelang|jax|pytensor|pythran|ziglang)"
)
# lazy_loader reads the stub beside a module to know what the package has (scikit-image, librosa).
_STUBS_ARE_READ = rb"attach_stub"


@dataclass(frozen=True, slots=True)
class Rule:
    """`paths` match whole paths of a wheel, without its data folder; not for wheels whose names begin as `unless`
    says, nor for those of which a module holds `read`."""

    what: str
    paths: re.Pattern[str]
    unless: re.Pattern[str] | None = None
    read: bytes = b""


RULES = (
    # Below a package only: a wheel whose one package is called tests means it.
    Rule("tests, documents, examples, scripts that made tables", re.compile(rf"[^/]+/(.*/)?({_FOLDERS})/.*")),
    Rule(
        "caches of the author's machine",
        re.compile(r"(.*/)?(__pycache__|\.(pytest|mypy|ruff)_cache|\.hypothesis|\.ipynb_checkpoints)/.*"),
    ),
    Rule(
        "headers, for compilers",
        re.compile(r".*\.(h|hh|hpp|hxx|inl|cuh|tcc)|(.*/)?(share/cmake|cmake|pkgconfig)/.*\.(cmake|pc|in)"),
        re.compile(_COMPILING),
    ),
    Rule("static libraries, for linkers", re.compile(r".*\.(a|la|lib)"), re.compile(_COMPILING)),
    Rule(
        "what extension modules were compiled from",
        re.compile(r".*(\.(pyx|pxd|pxi)(\.(in|tp))?|\.(c|cc|cpp|cxx|f|f90)|/meson\.build)"),
        re.compile(_COMPILING),
    ),
    Rule("types for type checkers", re.compile(r".*\.pyi"), read=_STUBS_ARE_READ),
    Rule(
        "pages of manuals, parts of notebook editors", re.compile(r"(share/(doc|man|jupyter)|etc/jupyter)/.*")
    ),
    Rule("the web pages of MLflow's tracking server", re.compile(r"mlflow/server/js/.*")),
    Rule("matplotlib's data for its own examples", re.compile(r"matplotlib/mpl-data/sample_data/.*")),
)

_FOLDER = re.compile(rf"(?:{_FOLDERS})")
# ``from a.b import c, d``, over lines in brackets, and ``import a.b, c.d``.
_IMPORT = re.compile(
    rb"^[ \t]*(?:from[ \t]+(?P<of>[.\w]+)[ \t]+import[ \t]*(?P<some>\([^)]{0,4000}\)|[^\n#;]*)|import[ \t]+(?P<all>[^\n#;]*))",
    re.MULTILINE,
)
_OBJECT = re.compile(r"^[^\[\n=]+=\s*([\w.]+)", re.MULTILINE)  # a line of entry_points.txt
_IN_DATA = re.compile(r"[^/]+\.data/(?:purelib|platlib|data)/")


def left_out(archive: zipfile.ZipFile, project: str) -> frozenset[str]:
    """The names of the members of an open wheel that a slim image lacks; `project` is the wheel's name."""
    members = [member for member in archive.infolist() if not member.is_dir()]
    placed = {member.filename: _IN_DATA.sub("", member.filename, count=1) for member in members}
    rules = [rule for rule in RULES if not (rule.unless and rule.unless.match(project))]
    found = {
        name: rule
        for name, path in placed.items()
        if (rule := next((rule for rule in rules if rule.paths.fullmatch(path)), None))
        and not re.match(r"[^/]+(\.dist-info|\.data/scripts)/", name)
    }
    if not found:
        return frozenset()
    contents = {placed[name]: name for name in placed if name.endswith((".py", "/entry_points.txt"))}
    out = {placed[name] for name in found}
    folders = {folder for path in out for folder in _folders(path)}
    todo = [path for path in contents if path not in out]
    read: set[bytes] = set()
    words = [name.encode() for name in {folder.rpartition("/")[2] for folder in folders}]
    while todo:
        path = todo.pop()
        content = _content(archive, contents[path])
        read.update(rule.read for rule in rules if rule.read and rule.read in content)
        if not any(
            word in content for word in words
        ):  # which is ten times faster than to look at its imports
            continue
        for folder in folders.intersection(_imported(path, content)):
            folders.remove(folder)
            kept = {each for each in out if each.startswith(f"{folder}/")}
            out -= kept
            todo += [each for each in kept if each in contents]
    return frozenset(name for name, rule in found.items() if placed[name] in out and rule.read not in read)


def _folders(path: str) -> Iterator[str]:
    """``a/tests`` and ``a/tests/b/tests`` of ``a/tests/b/tests/c.py``."""
    parts = path.split("/")
    return ("/".join(parts[: n + 1]) for n in range(1, len(parts) - 1) if _FOLDER.fullmatch(parts[n]))


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as stream:
        return stream.read(_MODULE)


def _imported(path: str, content: bytes) -> Iterator[str]:
    """The folders that rules know which a module, or entry_points.txt, imports from."""
    if path.endswith(".txt"):
        for match in _OBJECT.finditer(content.decode("utf-8", "replace")):
            yield from _named(match[1].split("."))
        return
    package = path.split("/")[:-1]
    for found in _IMPORT.finditer(content):
        members = re.findall(r"[\w.]+", (found["some"] or found["all"] or b"").decode("utf-8", "replace"))
        base = (found["of"] or b"").decode("utf-8", "replace")
        level = len(base) - len(base.lstrip("."))
        above = package[: len(package) - level + 1] if level else []
        start = [*above, *filter(None, base.strip(".").split("."))]
        yield from _named(start)
        for member in members:
            yield from _named([*start, *member.split(".")])


def _named(parts: list[str]) -> Iterator[str]:
    return ("/".join(parts[: n + 1]) for n in range(1, len(parts)) if _FOLDER.fullmatch(parts[n]))
