"""A wheel as entries of an image: where each file goes, and how its bytes are had without unpacking.

Installed as PEP 427 and the "binary distribution format" describe: `*.data/` folders to their schemes,
scripts with their shebang, console scripts of entry_points.txt, INSTALLER, and a RECORD that is true.
"""

from __future__ import annotations

import base64
import configparser
import csv
import errno
import hashlib
import io
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from publisher.builders.layers import slim
from publisher.errors import BuildError
from publisher.oci.layer import PIECE, LayerWriter

PREFIX = "opt/venv"
_SCRIPT = """\
#!/{prefix}/bin/python
# -*- coding: utf-8 -*-
import re
import sys
from {module} import {first}
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit({function}())
"""
_MAX_FILES = 200_000
_MAX_BYTES = 16 << 30
_MAX_SCRIPT = 16 << 20  # bytes; scripts with a shebang and entry_points.txt are read whole ...
_MAX_RECORD = 64 << 20  # ... and so is RECORD


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the image: a member of the wheel, or `content` of our own."""

    path: str
    mode: int
    size: int
    member: zipfile.ZipInfo | None = None
    content: bytes = b""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Whatever reading the zip file `path` raises where it contradicts itself becomes a BuildError."""
    broken = (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        ValueError,
        KeyError,
        struct.error,
    )
    try:
        yield
    except (*broken, OSError) as error:
        if (
            isinstance(error, OSError) and error.errno != errno.EINVAL
        ):  # which is a place before the file's start
            raise
        raise BuildError(f"{path.name} is not a zip file that can be read: {error}") from error


def site_packages(python: str) -> str:
    return f"{PREFIX}/lib/python{python}/site-packages"


def entries(archive: zipfile.ZipFile, python: str, *, slimmed: bool = False) -> list[Entry]:
    """Where every file of an open wheel goes in the image, sorted by path.

    `python`: minor version; `slimmed`: without what serving never needs. Raises BuildError for hostile or broken
    wheels: paths that leave their folder, whiteouts, links, encrypted members, a missing RECORD.
    """
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > _MAX_FILES or sum(member.file_size for member in members) > _MAX_BYTES:
        raise BuildError(f"{_name(archive)} holds more than {_MAX_FILES} files or {_MAX_BYTES >> 30} GiB")
    # Members that share their bytes: a file of megabytes that would be terabytes of layer.
    if sum(member.compress_size for member in members) > Path(archive.filename or "").stat().st_size:
        raise BuildError(f"{_name(archive)} is a bomb: its members are larger than itself")
    names = [member.filename for member in members]
    info = next((n.partition("/")[0] for n in names if re.fullmatch(r"[^/]+\.dist-info/RECORD", n)), None)
    if info is None:
        raise BuildError(f"{_name(archive)} is not a wheel: it has no RECORD")
    data, project = info.removesuffix(".dist-info") + ".data", info.partition("-")[0]
    placed: dict[str, Entry] = {}
    moved: dict[str, str] = {}  # name in the wheel -> path in the image
    generated: list[Entry] = []
    record = f"{info}/RECORD"
    for member in members:
        _check(archive, member)
    left_out = slim.left_out(archive, project) if slimmed else frozenset()
    for member in members:
        name = member.filename
        if name in left_out:
            continue
        path = _place(name, data, project, python)
        moved[name] = path
        if name in (record, f"{info}/INSTALLER"):
            continue
        script = name.startswith(f"{data}/scripts/")
        mode = 0o755 if script or (member.external_attr >> 16) & 0o111 else 0o644
        content = _with_shebang(archive, member) if script else None
        if content is None:
            placed[path] = Entry(path, mode, member.file_size, member)
        else:
            placed[path] = Entry(path, mode, len(content), None, content)
            generated.append(placed[path])
    site = site_packages(python)
    generated += [_own(f"{site}/{info}/INSTALLER", b"publisher\n"), *_console_scripts(archive, info, names)]
    placed |= {entry.path: entry for entry in generated}
    record_content = _record(archive, record, moved, generated, site)
    placed[f"{site}/{record}"] = _own(f"{site}/{record}", record_content)
    return [placed[path] for path in sorted(placed)]


def modules(archive: zipfile.ZipFile, python: str) -> Iterator[tuple[str, str, zipfile.ZipInfo]]:
    """The Python modules of an open wheel: dotted name, path in the image, member. Checked by `entries`."""
    site = site_packages(python)
    for member in archive.infolist():
        name = member.filename
        if not name.endswith(".py"):
            continue
        head, _, rest = name.partition("/")
        if head.endswith(".data"):
            scheme, _, name = rest.partition("/")
            if scheme not in ("purelib", "platlib"):
                continue
        yield name[:-3].replace("/", ".").removesuffix(".__init__"), f"{site}/{name}", member


def write(writer: LayerWriter, wheel: Path, archive: zipfile.ZipFile, found: list[Entry]) -> None:
    """Write `found` entries of a wheel; what the wheel holds deflated is copied as it is."""
    # Mapped, since reading each member would cost four calls of the system for each of 20,000 files.
    with wheel.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for entry in found:
            member = entry.member
            if member is None:
                writer.file(entry.path, entry.content, entry.mode)
            elif member.compress_type == zipfile.ZIP_DEFLATED:
                raw = _raw(content, member, wheel)
                writer.deflated(entry.path, entry.size, member.CRC, raw, entry.mode)
            else:
                with archive.open(member) as stream:
                    writer.stream(entry.path, entry.size, stream, entry.mode)  # type: ignore[arg-type]


def _raw(content: mmap.mmap, member: zipfile.ZipInfo, wheel: Path) -> Iterator[bytes]:
    """The deflate stream of a member, in pieces, found by its local header (APPNOTE 4.3.7)."""
    local = content[member.header_offset : member.header_offset + 30]
    if len(local) != 30 or local[:4] != b"PK\x03\x04":
        raise BuildError(f"{wheel.name} is broken: {member.filename} is not where its directory says")
    name, extra = struct.unpack("<HH", local[26:30])
    start = member.header_offset + 30 + name + extra
    end = start + member.compress_size
    if end > len(content):
        raise BuildError(f"{wheel.name} is cut short in {member.filename}")
    for place in range(start, end, PIECE):
        yield content[place : min(place + PIECE, end)]


# A path of plain names, none longer than file systems take, nor with marks that reorder text. A name may not begin
# with .wh. either: a whiteout deletes files of lower layers.
_NAME = r"(?!\.wh\.)(?!\.{1,2}(?:/|$))[^/\\\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]{1,255}"
_PLAIN = re.compile(rf"{_NAME}(?:/{_NAME})*")


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    name = member.filename
    if len(name) > 2048 or not _PLAIN.fullmatch(name):
        raise BuildError(f"{_name(archive)} holds a file with the hostile name {name[:200]!r}")
    kind = (member.external_attr >> 28) & 0xF
    if kind not in (0, 0o10) or member.flag_bits & 0x1:
        raise BuildError(f"{_name(archive)}: {name} is a link, a device or encrypted")


def _place(name: str, data: str, project: str, python: str) -> str:
    """The install scheme of a virtual environment (sysconfig's `venv`)."""
    if not name.startswith(f"{data}/"):
        return f"{site_packages(python)}/{name}"
    scheme, _, rest = name[len(data) + 1 :].partition("/")
    places = {
        "purelib": site_packages(python),
        "platlib": site_packages(python),
        "scripts": f"{PREFIX}/bin",
        "headers": f"{PREFIX}/include/site/python{python}/{project}",
        "data": PREFIX,
    }
    if scheme not in places or not rest:
        raise BuildError(f"{name} is in no scheme that wheels know")
    return f"{places[scheme]}/{rest}"


def _with_shebang(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | None:
    """A script whose first line is ``#!python`` gets the environment's own; others stay as they are."""
    with archive.open(member) as stream:
        first = stream.readline(4096)
        if not first.startswith(b"#!python"):
            return None
        if member.file_size > _MAX_SCRIPT:
            raise BuildError(f"{_name(archive)}: the script {member.filename} is larger than 16 MiB")
        rest = stream.read()
    arguments = first[2:].strip().partition(b" ")[2]
    return b"#!/%s/bin/python%s\n" % (PREFIX.encode(), b" " + arguments if arguments else b"") + rest


def _console_scripts(archive: zipfile.ZipFile, info: str, names: list[str]) -> Iterator[Entry]:
    if f"{info}/entry_points.txt" not in names:
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(_text(archive, f"{info}/entry_points.txt", _MAX_SCRIPT).decode("utf-8-sig"))
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BuildError(f"{_name(archive)}: entry_points.txt cannot be read: {error}") from error
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            match = re.fullmatch(r"\s*([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_]\w*)([\w.]*)\s*(\[.*\])?\s*", value)
            if not match or not re.fullmatch(r"[\w][\w .+-]*", name):
                raise BuildError(f"{_name(archive)}: {name[:80]!r} in entry_points.txt is not a script")
            module, first, more, _ = match.groups()
            text = _SCRIPT.format(prefix=PREFIX, module=module, first=first, function=first + more)
            yield Entry(f"{PREFIX}/bin/{name}", 0o755, len(text.encode()), None, text.encode())


def _record(
    archive: zipfile.ZipFile, record: str, moved: dict[str, str], generated: list[Entry], site: str
) -> bytes:
    """RECORD as an installer writes it: paths relative to site-packages, our own files with their hashes."""
    ours = {entry.path: entry for entry in generated}
    rows: dict[str, tuple[str, str, str]] = {}
    try:
        listed = list(csv.reader(io.StringIO(_text(archive, record, _MAX_RECORD).decode("utf-8"))))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BuildError(f"{_name(archive)}: RECORD cannot be read: {error}") from error
    for row in listed:
        path = moved.get(row[0]) if row else None
        if path and path not in ours:
            relative = _relative(path, site)
            hashed, size = [*row[1:3], "", ""][:2]
            rows[relative] = (relative, hashed, size)
    for entry in generated:
        digest = base64.urlsafe_b64encode(hashlib.sha256(entry.content).digest()).rstrip(b"=").decode()
        relative = _relative(entry.path, site)
        rows[relative] = (relative, f"sha256={digest}", str(entry.size))
    rows[record] = (record, "", "")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows[key] for key in sorted(rows))
    return text.getvalue().encode()


def _text(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    if archive.getinfo(name).file_size > limit:
        raise BuildError(f"{_name(archive)}: {name} is larger than {limit >> 20} MiB")
    return archive.read(name)


def _relative(path: str, site: str) -> str:
    if path.startswith(site + "/"):
        return path[len(site) + 1 :]
    return "../../../" + path[len(PREFIX) + 1 :]


def _own(path: str, content: bytes) -> Entry:
    return Entry(path, 0o644, len(content), None, content)


def _name(archive: zipfile.ZipFile) -> str:
    return Path(archive.filename or "a wheel").name
