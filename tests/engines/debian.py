"""Base images that `publisher base-image` makes of Debian packages, kept between runs: each is 100 MB of downloads."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import publisher
from tests.engines import require
from tests.engines.docker import unavailable

PLATFORMS = ("linux/amd64", "linux/arm64")
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# The model's Python is the one that trained it, so the base must be the suite that has it.
_SUITES = {"3.11": "bookworm", "3.13": "trixie"}


def suite() -> str:
    """The Debian release that has the running Python's version, or the test is skipped."""
    found = _SUITES.get(MINOR)
    return found or unavailable(f"no Debian release has Python {MINOR}")


def layout(kind: str, include: Sequence[str] = ()) -> Path:
    """A base image for both platforms as an OCI layout; `include` are packages beside the usual ones."""
    require("mmdebstrap", "mmdebstrap")
    # Keyed by what makes it, or a broken base image would hide behind the good one of yesterday.
    seen = hashlib.sha256(",".join(include).encode())
    for source in sorted((Path(publisher.__file__).parent / "baseimage").rglob("*.py")):
        seen.update(source.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "publisher-tests" / kind
    folder = cache / f"{suite()}-{seen.hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one run want the same one at the same time
        if not (folder / "index.json").exists():
            part = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            _make(part, include)
            part.rename(folder)
    return folder


def _make(folder: Path, include: Sequence[str]) -> None:
    command = [str(Path(sys.executable).with_name("publisher")), "base-image", f"oci:{folder}"]
    command += ["--suite", suite()]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    command += [word for name in include for word in ("--include", name)]
    done = subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode:
        raise AssertionError(f"publisher base-image ended with {done.returncode}:\n{done.stderr[-4000:]}")
