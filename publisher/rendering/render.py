"""A folder of templates becomes files: which form each has, what kind of file it makes, and where that goes."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from publisher.errors import HostError, TemplateError
from publisher.paths import relative
from publisher.rendering import dockerfile, jinja, others
from publisher.rendering.shell import Shell
from publisher.rendering.values import Values, has_marks

OLDER, JINJA = ".template", ".j2"
MAX_BYTES = 1 << 20  # of one template
MAX_FILES = 500
_SHELL = re.compile(r"#!\s*\S*?(env\s+)?(ba|da|k|z)?sh\b")
_TEXT = ("", ".txt", ".md", ".rst", ".csv", ".html")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file of the build context: `path` is relative and POSIX."""

    path: str
    text: str
    executable: bool = False


def render(folder: Path, context: Mapping[str, Any]) -> list[Rendered]:
    """Every template below `folder`, sorted by path; what has neither suffix is no template, and left out, and so is
    one of Jinja2's form that writes nothing.

    Raises TemplateError.
    """
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (OLDER, JINJA) and path.is_file() and not path.is_symlink()
    ]
    if len(found) > MAX_FILES:
        raise TemplateError(f"there are {len(found)} templates: at most {MAX_FILES} are rendered")
    made: dict[str, Rendered] = {}
    for path in found:
        name = path.relative_to(folder).as_posix()
        source = _read(path, name)
        one = render_one(name, source, context)
        if path.suffix == JINJA and source.strip() and not one.text.strip():
            continue  # all of it stands within a condition that does not hold
        if one.path in made:
            raise TemplateError(f"two templates make the file {one.path}", hint="delete one of them")
        made[one.path] = one
    return list(made.values())


def render_one(name: str, source: str, context: Mapping[str, Any]) -> Rendered:
    """One template, by its path in the templates' folder. Raises TemplateError."""
    path, _, form = name.rpartition(".")
    try:
        relative(path)
    except ValueError as fault:
        raise TemplateError(f"the template {name!r} makes no file: {fault}") from None
    if has_marks(source):
        raise TemplateError(
            f"{name} holds private-use characters (U+E000, U+E001), which rendering needs itself"
        )
    values = Values()
    if f".{form}" == JINJA:
        text = jinja.render(name, source, context, values)
    else:
        text = string.Template(source).safe_substitute(_Marked(context, values))
    try:
        return Rendered(path, _fill(path, text, values), path.endswith(".sh"))
    except TemplateError as error:
        raise TemplateError(f"{name}: {error}", hint=error.hint) from None


def write(rendered: Sequence[Rendered], root: Path) -> None:
    """Write the files below `root`, over artifacts of the same name. Raises TemplateError, HostError."""
    for one in rendered:
        path = root / one.path
        if any(parent.is_symlink() for parent in path.parents if root in parent.parents):
            raise TemplateError(f"the template for {one.path} would be written through a link")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with os.fdopen(os.open(path, flags, 0o700 if one.executable else 0o600), "w", newline="") as file:
                file.write(one.text)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            raise TemplateError(
                f"{one.path} cannot be written: an artifact is a file or a folder of that name"
            ) from None
        except OSError as error:
            raise HostError(f"{one.path} cannot be written: {error.strerror}") from error


class _Marked(Mapping[str, str]):
    """The context for the older form: a mark for each value that is used, lists joined by commas."""

    def __init__(self, context: Mapping[str, Any], values: Values) -> None:
        self._known = {
            key: ",".join(map(str, value)) if isinstance(value, list) else value
            for key, value in context.items()
            if isinstance(value, str)
            or (isinstance(value, list) and all(isinstance(item, str | int) for item in value))
        }
        self._values = values

    def __getitem__(self, key: str) -> str:
        value = self._known[key]
        return self._values.mark(key, value) if value else ""

    def __iter__(self) -> Any:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _fill(path: str, text: str, values: Values) -> str:
    name, suffix = PurePosixPath(path).name.lower(), PurePosixPath(path).suffix.lower()
    if name in ("dockerfile", "containerfile") or name.startswith("dockerfile.") or suffix == ".dockerfile":
        return dockerfile.fill(text, values)
    if suffix == ".py":
        return others.python(text, values)
    place: Shell | others.Json | others.Yaml | others.Text | others.Plain
    if suffix in (".sh", ".bash") or _SHELL.match(text):
        place = Shell()
    elif suffix in (".json", ".ipynb"):
        place = others.Json()
    elif suffix in (".yaml", ".yml"):
        place = others.Yaml(text)
    else:
        place = others.Text() if suffix in _TEXT and not text.startswith("#!") else others.Plain()
    return values.fill(text, place.feed, place.encode)


def _read(path: Path, name: str) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise TemplateError(f"the template {name} is larger than {MAX_BYTES >> 10} KiB")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise TemplateError(f"the template {name} is no UTF-8 text") from None
