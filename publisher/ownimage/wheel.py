"""This installation of publisher as a wheel: the same files make the same bytes, on every machine.

A checkout, a virtual environment and the publisher's own image all have what is needed, and none has the wheel that
it came from.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from publisher.errors import EngineError
from publisher.naming import OWN

PACKAGE = Path(__file__).parents[1]
# Where a wheel has what lies beside the package in a checkout; pyproject.toml says the same to hatchling.
OUTSIDE = {
    "download_models.py": "publisher/ownimage/app/download_models.py",
    "publish_models.py": "publisher/ownimage/app/publish_models.py",
    "templates": "publisher/templates",
}
_METADATA = ("METADATA", "entry_points.txt", "licenses/LICENSE")
_WHEEL = "Wheel-Version: 1.0\nGenerator: model-publisher\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def scripts() -> Path:
    """The folder of ./download_models.py and ./publish_models.py: in an installed package, else in the checkout."""
    installed = PACKAGE / "ownimage" / "app"
    return installed if installed.is_dir() else PACKAGE.parent


def packed(folder: Path) -> Path:
    """Write the wheel into `folder`. Raises EngineError where this publisher was not installed as a package."""
    try:
        installed = distribution(OWN)
    except PackageNotFoundError:
        raise EngineError(
            "publisher is not installed here as a package, so it cannot put itself into an image",
            hint="Install it: pip install model-publisher, or pip install -e . in a checkout.",
        ) from None
    info = f"model_publisher-{installed.version}.dist-info"
    files = {**_modules(), **{f"{info}/{name}": content for name, content in _metadata(installed).items()}}
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    path = folder / f"model_publisher-{installed.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # of 1980, the earliest that a zip file can tell
            entry.external_attr = 0o100644 << 16
            # Stored: the layer's own compressor gives the same bytes everywhere, and zlib's versions do not.
            archive.writestr(entry, content)
    return path


def _modules() -> dict[str, bytes]:
    found = _below(PACKAGE, PACKAGE.name)
    for name, place in OUTSIDE.items():
        outside = PACKAGE.parent / name
        if not (PACKAGE.parent / place).exists():
            found |= _below(outside, place) if outside.is_dir() else {place: outside.read_bytes()}
    return found


def _below(folder: Path, place: str) -> dict[str, bytes]:
    return {
        f"{place}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _metadata(installed: Distribution) -> dict[str, bytes]:
    told = {name: installed.read_text(name) for name in _METADATA}
    return {"WHEEL": _WHEEL.encode(), **{name: text.encode() for name, text in told.items() if text}}


def _record(files: dict[str, bytes], own: str) -> bytes:
    lines = []
    for name, content in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}\n")
    return "".join([*lines, f"{own},,\n"]).encode()
