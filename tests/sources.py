"""Small source distributions made on the spot, with a build backend of their own that needs nothing."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

# PEP 517 in a few lines: writes the wheel that `tests.wheels` would, after `extra` has run.
_BACKEND = """\
import os, zipfile

{extra}

def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "{name}-1.0-{tag}.whl"
    info = "{name}-1.0.dist-info"
    files = {{
        "{name}/__init__.py": "made = 1\\n",
        info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: {tag}\\n",
    }}
    files[info + "/RECORD"] = "".join(path + ",,\\n" for path in files)
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name
"""


def make(
    folder: Path,
    name: str,
    *,
    extra: str = "",
    tag: str = "py3-none-any",
    requires: str = "[]",
    more: str = "",
) -> Path:
    """A source of version 1.0. `extra` is code that its author runs at build time; `more` names one more file."""
    backend = _BACKEND.format(name=name, extra=extra, tag=tag)
    files = {
        "pyproject.toml": f'[build-system]\nrequires = {requires}\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": backend,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    if more:
        files[more] = "int main(void) { return 0; }\n"
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            info = tarfile.TarInfo(f"{name}-1.0/{member}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path
