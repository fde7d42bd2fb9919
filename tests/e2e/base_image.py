"""What the tests of the base image ask of it: its entries, and programs that run inside it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from publisher.domain import Platform
from publisher.oci import layout, layout_folder

# The library that servers import. `cached` names modules that did not come from their bytecode.
LIBRARY = """
import bz2, ctypes.util, curses, dbm.ndbm, decimal, hashlib, lzma, multiprocessing, readline, sqlite3, ssl, uuid, zlib
import asyncio, http.server, logging.config, unittest, venv, xml.etree.ElementTree, zoneinfo
import _zoneinfo, importlib.util, json, pwd, socket, sys
multiprocessing.Lock()  # needs /dev/shm and a libc with semaphores
sqlite3.connect(":memory:").execute("create table t (a)")
if sys.version_info < (3, 12):
    import distutils.util
print(json.dumps({
    "python": sys.version.split()[0],
    "executable": sys.executable,
    "authorities": len(ssl.create_default_context().get_ca_certs()),
    "offset": str(__import__("datetime").datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Zurich")).utcoffset()),
    "https": socket.getservbyname("https"),
    "user": pwd.getpwuid(10001).pw_name,
    "encoding": sys.getfilesystemencoding(),
    "libc": ctypes.util.find_library("c"),
    "cached": [m.__name__ for m in list(sys.modules.values())
               if getattr(m, "__file__", None) and m.__file__.endswith(".py") and m.__name__ != "__main__"
               and not getattr(m, "__cached__", "/usr/lib/python").startswith("/usr/lib/python")],
    "loaded": json.decoder.JSONDecoder.decode.__code__.co_filename,
}))
"""
# Every program and library of the image, and what its own loader says of the libraries that each needs.
UNRESOLVED = """
import os, subprocess
loader = os.path.realpath("/usr/bin/ld.so")
for top in ("/usr/bin", "/usr/sbin", "/usr/lib"):
    for folder, _, names in os.walk(top):
        for path in (os.path.join(folder, name) for name in names):
            if os.path.islink(path) or open(path, "rb").read(4) != b"\\x7fELF" or "/gconv/" in path:
                continue
            said = subprocess.run([loader, "--list", path], capture_output=True, text=True)
            if "not found" in said.stdout + said.stderr:
                print(path, said.stdout, said.stderr)
"""
PREDICTIONS = """
import lightgbm, numpy, onnxruntime, sklearn.linear_model
x = numpy.arange(40.0).reshape(20, 2)
y = x.sum(axis=1)
print(round(float(sklearn.linear_model.LinearRegression().fit(x, y).predict([[1.0, 2.0]])[0]), 6))
print(lightgbm.LGBMRegressor(n_estimators=2, min_child_samples=2, verbose=-1).fit(x, y).predict(x).shape)
print(onnxruntime.get_available_providers()[-1])
"""


@dataclass(frozen=True, slots=True)
class Made:
    """The image in a folder: what the command leaves behind."""

    folder: Path
    digest: str

    @property
    def image(self) -> layout.Layout:
        return layout_folder.read(self.folder, "latest")

    def manifest(self, platform: Platform) -> str:
        return dict(layout.platforms(self.image))[platform].digest

    def entries(self, platform: Platform) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Every entry of every layer, in order."""
        for layer in self.image.layers(self.manifest(platform)):
            with self.image.blobs[layer.digest].open() as stream, tarfile.open(fileobj=stream) as archive:
                for info in archive:
                    content = archive.extractfile(info) if info.isreg() else None
                    yield info, content.read() if content else b""


def leads(name: str, entries: dict[str, tarfile.TarInfo], depth: int = 0) -> bool:
    """Whether a path exists once the links on its way are followed."""
    walked: list[str] = []
    parts = name.split("/")
    for index, part in enumerate(parts):
        if part == "..":
            walked = walked[:-1]
            continue
        if part in ("", "."):
            continue
        walked.append(part)
        entry = entries.get("/".join(walked))
        if entry is None:
            return False
        if entry.issym():
            rest = "/".join(parts[index + 1 :])
            start = "" if entry.linkname.startswith("/") else "/".join(walked[:-1])
            return depth < 20 and leads(f"{start}/{entry.linkname}/{rest}".strip("/"), entries, depth + 1)
    return True
