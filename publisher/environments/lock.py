"""An Environment becomes the wheels of one platform, resolved by uv, written as pylock.toml (PEP 751)."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import uv
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from publisher import scratch
from publisher.domain import MACHINES, BaseImage, Environment, Lock, Platform, Wheel
from publisher.errors import EngineError, IndexUnavailableError, ResolutionError

# The levels that uv knows (`uv pip compile --help`, --python-platform), newest first.
_LEVELS = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)
_TIMEOUT = 300  # seconds; a resolution that backtracks longer will not end
_PASSED = ("PATH", "HOME", "TMPDIR", "LANG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NETRC")
_PASSED_PREFIXES = ("UV_", "SSL_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def moment(registered: datetime) -> datetime:
    """As of when a version is resolved: the end of the UTC day before its registration.

    A whole day, so that versions registered on one day with the same requirements have the same lock.
    """
    return datetime(registered.year, registered.month, registered.day, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Runs uv. `environ` gives it its index settings, proxies and certificates."""

    cache_folder: Path
    environ: Mapping[str, str]

    def lock(
        self, environment: Environment, platform: Platform, base: BaseImage, *, registered: datetime | None
    ) -> Lock:
        """The wheels of `environment` on `platform`, for Python and C library of `base`.

        `registered`: resolve as of then, where the index tells upload times; None takes the latest. A
        requirement that was uploaded on the very day of registration is found by a second try, as of the
        moment of registration itself. Raises ResolutionError with uv's own explanation, before anything is
        downloaded, and IndexUnavailableError.
        """
        if registered is None:
            return self._lock(environment, platform, base, None)
        try:
            return self._lock(environment, platform, base, moment(registered))
        except ResolutionError:
            return self._lock(environment, platform, base, registered + timedelta(seconds=1))

    def _lock(
        self, environment: Environment, platform: Platform, base: BaseImage, as_of: datetime | None
    ) -> Lock:
        machine = MACHINES.get(platform.architecture)
        if platform.os != "linux" or not machine:
            known = ", ".join(f"linux/{architecture}" for architecture in MACHINES)
            raise ResolutionError(f"there is no environment for {platform}", hint=f"Platforms: {known}.")
        level = next((level for level in _LEVELS if (2, level) <= base.glibc), 17)
        options = ["--python-version", base.python, "--python-platform", f"{machine}-manylinux_2_{level}"]
        if as_of:
            options += ["--exclude-newer", as_of.strftime("%Y-%m-%dT%H:%M:%SZ")]
        document = self._cached(environment, options, platform, frozen=as_of is not None)
        supported = {tag: rank for rank, tag in enumerate(_tags(base.python_minor, machine, level))}
        wheels = sorted(_choose(package, supported, platform) for package in document.get("packages", []))
        roots = sorted({canonicalize_name(Requirement(line).name) for line in environment.requirements})
        return Lock(platform, base.python_minor, tuple(wheels), tuple(roots))

    def _cached(
        self, environment: Environment, options: list[str], platform: Platform, *, frozen: bool
    ) -> dict[str, Any]:
        """uv's answer, kept on disk where the question fixes it: an index does not change its past."""
        indexes = sorted((k, v) for k, v in self.environ.items() if k.startswith("UV_") and "INDEX" in k)
        question = [environment.requirements, environment.constraints, options, indexes, 1]
        key = hashlib.sha256(json.dumps(question).encode()).hexdigest()
        path = self.cache_folder / "locks" / f"pylock.{key}.toml"
        if frozen and path.is_file():
            return tomllib.loads(path.read_text())
        own = scratch.below(self.cache_folder).folder
        text = _compile(environment, options, self.environ, platform, own)
        if frozen:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = scratch.below(self.cache_folder).part(path.name)
            part.write_text(text)
            part.replace(path)
        return tomllib.loads(text)


def _compile(
    environment: Environment, options: list[str], environ: Mapping[str, str], platform: Platform, own: Path
) -> str:
    with tempfile.TemporaryDirectory(dir=own) as name:
        folder = Path(name)
        # uv takes the nearest uv.toml or pyproject.toml above, which in a shared /tmp may be anybody's.
        (folder / "uv.toml").touch()
        (folder / "requirements.in").write_text("\n".join(environment.requirements) + "\n")
        (folder / "constraints.txt").write_text("\n".join(environment.constraints) + "\n")
        command = [uv.find_uv_bin(), "pip", "compile", "requirements.in", "--format", "pylock.toml"]
        command += ["--only-binary", ":all:", "--no-header", "--no-progress", "--color", "never", "--quiet"]
        # Looking for an interpreter of its own costs uv a second where pyenv's shims are on the path.
        command += [
            "--python",
            sys.executable,
            "--constraints",
            "constraints.txt",
            "--output-file",
            "pylock.toml",
            *options,
        ]
        kept = {k: v for k, v in environ.items() if k in _PASSED or k.upper().startswith(_PASSED_PREFIXES)}
        try:
            done = subprocess.run(
                command, cwd=folder, env=kept, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ResolutionError(
                f"the requirements were not resolved for {platform} in {_TIMEOUT} s"
            ) from error
        except OSError as error:
            raise EngineError(f"uv cannot be started: {error}") from error
        if done.returncode:
            raise _explain(done.stderr, platform)
        return (folder / "pylock.toml").read_text()


def _explain(stderr: str, platform: Platform) -> ResolutionError | IndexUnavailableError:
    text = re.sub(r"://[^/@\s]*@", "://", stderr.strip())
    # uv's words for a failed request; its resolver's own words begin with "No solution found".
    if "No solution found" not in text and re.search(
        r"Failed to fetch|error sending request|dns error", text
    ):
        return IndexUnavailableError(
            "the package index cannot be reached", hint="Is UV_INDEX_URL right, and the proxy?", detail=text
        )
    reason = re.sub(r"[^!-~]+", " ", text.partition("hint:")[0])
    reason = re.sub(r"^.*?No solution found when resolving dependencies:?( cause:)?", "", reason).strip()
    return ResolutionError(f"no set of packages fits {platform}: {reason[:700]}", detail=text)


def _choose(package: dict[str, Any], supported: Mapping[Tag, int], platform: Platform) -> Wheel:
    """The best wheel of a package by the order of tags that pip uses."""
    name = canonicalize_name(str(package["name"]))
    best: tuple[int, tuple[Any, ...], str] | None = None
    chosen: Wheel | None = None
    for entry in package.get("wheels", []):
        filename = entry.get("name") or str(entry["url"]).partition("#")[0].rpartition("/")[2]
        filename = filename.replace("%2B", "+")
        try:
            _, _, build, tags = parse_wheel_filename(filename)
        except InvalidWheelFilename:
            continue
        ranks = [supported[tag] for tag in tags if tag in supported]
        hashes = entry.get("hashes") or {}
        if not ranks or "sha256" not in hashes:
            continue
        order = (min(ranks), tuple(-part if isinstance(part, int) else part for part in build), filename)
        if best is None or order < best:
            best = order
            version, url = str(package.get("version", "")), str(entry["url"])
            chosen = Wheel(name, version, filename, url, str(hashes["sha256"]), int(entry.get("size") or 0))
    if chosen is None:
        raise ResolutionError(
            f"{name} {package.get('version', '')} has no wheel for {platform}",
            hint="Take a version that has one; see the files of the package in its index.",
        )
    return chosen


@cache
def _tags(minor: str, machine: str, level: int) -> tuple[Tag, ...]:
    """Every tag that fits the image, best first (PEP 425, PEP 600)."""
    major, _, rest = minor.partition(".")
    version = (int(major), int(rest))
    platforms = list(_platforms(machine, level))
    abi = f"cp{version[0]}{version[1]}"
    found = [*cpython_tags(version, [abi], platforms), *compatible_tags(version, abi, platforms)]
    return tuple(dict.fromkeys(found))


def _platforms(machine: str, level: int) -> Iterator[str]:
    old = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    for minor in range(level, 4, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in old and (minor == 17 or machine == "x86_64"):
            yield f"{old[minor]}_{machine}"
    yield f"linux_{machine}"
