"""One run of uv's resolver: a question in, a pylock.toml (PEP 751) or its refusal out."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import uv

from publisher.domain import Platform
from publisher.environments.direct import LOCAL
from publisher.errors import EngineError, HostError, IndexUnavailableError, ResolutionError
from publisher.redaction import redacted

_TIMEOUT = 300  # seconds; a resolution that backtracks longer will not end


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `files` are wheels that requirements name as ``./local/<path>``."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    options: tuple[str, ...]
    files: Mapping[str, Path]
    configuration: str = ""  # a uv.toml


@dataclass(frozen=True, slots=True)
class Refusal:
    """That there is no answer, in uv's own words."""

    said: str

    @property
    def without_wheels(self) -> tuple[str, ...]:
        """Packages that are there, but as source alone."""
        return tuple(dict.fromkeys(re.findall(r"Wheels are required for `([^`]+)`", self.said)))

    @property
    def untimed(self) -> tuple[str, ...]:
        """Packages whose index does not tell when they were uploaded."""
        flat = " ".join(self.said.split())
        named = re.findall(r"`([A-Za-z0-9._]+)-[^`\s]*` is missing an upload date", flat)
        named += re.findall(r"([A-Za-z0-9._-]+?)(?:[=<>!~][^ ]*)? (?:has|have) no publish time", flat)
        return tuple(dict.fromkeys(re.sub(r"[-_.]+", "-", name).lower() for name in named))

    def wanted(self, name: str) -> str:
        """The versions of a package that uv names as wanted and without wheels, as a PEP 440 specifier."""
        flat = " ".join(self.said.split())
        version = r"((?:(?:===?|[<>!~]=?)[\w.*+!]+,?)+)"
        found = re.findall(rf"(?:depends on|require) {re.escape(name)}{version}", flat)
        found += re.findall(rf"\b{re.escape(name)}{version} (?:has|have) no usable wheels", flat)
        return ",".join(dict.fromkeys(each.strip(",") for each in found))

    def error(self, platform: Platform) -> ResolutionError | IndexUnavailableError | HostError:
        """The same for a user. A fault of the index, of our account there or of this host is none of the version."""
        text = re.sub(r"://[^/@\s]*@", "://", self.said.strip())
        flat = re.sub(r"[^!-~]+", " ", text)
        if os.strerror(errno.ENOSPC) in flat:
            return HostError(
                "uv finds no room on the disk",
                hint="Free space, or choose another cache_folder, and UV_CACHE_DIR",
                detail=text,
            )
        if refused := re.search(r"An index URL \((\S+)\) .*?\((40[13] \w+)\)", flat):
            return IndexUnavailableError(
                f"the package index {refused[1]} answers {refused[2]}",
                hint="Give publisher an account there: UV_INDEX_<NAME>_USERNAME and _PASSWORD, or netrc.",
                detail=text,
            )
        # uv's words for a failed request; its resolver's own words begin with "No solution found".
        if "No solution found" not in text and re.search(
            r"Failed to fetch|error sending request|dns error|Failed to download|Failed to read metadata",
            flat,
        ):
            return IndexUnavailableError(
                "the package index cannot be reached",
                hint="Is UV_INDEX_URL right, and the proxy?",
                detail=text,
            )
        reason = re.sub(r"[^!-~]+", " ", text.partition("hint:")[0])
        reason = re.sub(r"warning: .*? is missing an upload date, but user provided: \S+ ?", "", reason)
        reason = re.sub(r"^.*?No solution found when resolving dependencies:?( cause:)?", "", reason).strip()
        return ResolutionError(f"no set of packages fits {platform}: {redacted(reason)[:700]}", detail=text)


def solve(question: Question, environment: Mapping[str, str], platform: Platform, own: Path) -> str | Refusal:
    """uv's pylock.toml for `platform`, from wheels alone, made in a folder below `own`.

    Raises ResolutionError after 300 s, EngineError.
    """
    with tempfile.TemporaryDirectory(dir=own) as name:
        folder = Path(name)
        # uv takes the nearest uv.toml or pyproject.toml above, which in a shared /tmp may be anybody's.
        (folder / "uv.toml").write_text(question.configuration)
        for path, source in question.files.items():
            place = folder / LOCAL / path
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)
        (folder / "requirements.in").write_text("\n".join(question.requirements) + "\n")
        (folder / "constraints.txt").write_text("\n".join(question.constraints) + "\n")
        command = [uv.find_uv_bin(), "pip", "compile", "requirements.in", "--format", "pylock.toml"]
        command += ["--only-binary", ":all:", "--no-header", "--no-progress", "--color", "never"]
        # Looking for an interpreter of its own costs uv a second where pyenv's shims are on the path.
        command += ["--python", sys.executable, "--output-file", "pylock.toml", *question.options]
        command += ["--constraints", "constraints.txt"]
        # One more --constraints would replace those of the variable, which uv reads for want of the option.
        for path in environment.get("UV_CONSTRAINT", "").split():
            command += ["--constraints", path]
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=dict(environment),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ResolutionError(
                f"the requirements were not resolved for {platform} in {_TIMEOUT} s"
            ) from error
        except OSError as error:
            raise EngineError(f"uv cannot be started: {error}") from error
        return Refusal(done.stderr) if done.returncode else (folder / "pylock.toml").read_text()
