"""The small layer below an environment: a real virtual environment without packages, as `venv` makes it."""

from __future__ import annotations

from publisher.builders.layers.wheel import PREFIX
from publisher.domain import BaseImage
from publisher.oci.layer import LayerWriter

_ACTIVATE = """\
# Use with "source bin/activate" from bash, zsh or sh.
VIRTUAL_ENV="/{prefix}"
PATH="$VIRTUAL_ENV/bin:$PATH"
export VIRTUAL_ENV PATH
unset PYTHONHOME
"""


def write(writer: LayerWriter, base: BaseImage, workdir: str) -> None:
    """pyvenv.cfg and the links of PEP 405, and the image's working directory."""
    minor = base.python_minor
    folder = base.executable.rpartition("/")[0]
    parts = workdir.strip("/").split("/")
    for number in range(len(parts)):
        writer.directory("/".join(parts[: number + 1]))
    writer.directory("opt")
    for name in ("", "/bin", "/include", "/lib", f"/lib/python{minor}", f"/lib/python{minor}/site-packages"):
        writer.directory(PREFIX + name)
    writer.symlink(f"{PREFIX}/lib64", "lib")
    config = [f"home = {folder}", "include-system-site-packages = false", f"version = {base.python}"]
    config += [f"executable = {base.executable}", f"command = {base.executable} -m venv /{PREFIX}"]
    writer.file(f"{PREFIX}/pyvenv.cfg", ("\n".join(config) + "\n").encode())
    writer.file(f"{PREFIX}/bin/activate", _ACTIVATE.format(prefix=PREFIX).encode())
    writer.symlink(f"{PREFIX}/bin/python", base.executable)
    writer.symlink(f"{PREFIX}/bin/python3", "python")
    writer.symlink(f"{PREFIX}/bin/python{minor}", "python")
