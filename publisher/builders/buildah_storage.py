"""Our own corner of buildah's storage: what stays there for the next build, and what goes.

It lies in the folder that the site's storage.conf names, has its driver, and holds nothing of anybody else, so
that everything in it which no build needs any more may be removed: what killed builds left, the images of the
other stages of a Dockerfile, and bases that nobody names now. With ``--layers`` an image keeps those that it was
made of, instruction by instruction, and when its last name goes, they go. So after a build a name of ours is given
to what the last RUN made, because that is slow to make; the files that are copied over it later are not kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from publisher.builders.command import ask
from publisher.errors import EngineError, HostError
from publisher.oci.reference import Reference

BUILD = "localhost/publisher/build"
_KEPT = "localhost/publisher/kept"
_MOST = 16  # environments
_DAY = 86400.0  # seconds for what no name keeps: a failed build that is tried again finds what it had
_CACHES = 10 << 30  # bytes of cache mounts
_CACHE = "buildah-cache"
_PARENT = re.compile(rf"FROM (?:{_KEPT}:)?([0-9a-f]{{12,64}})")


@dataclass(frozen=True, slots=True)
class Storage:
    """`program`: buildah with the words that make it use this storage, which is below `folder`."""

    program: Sequence[str]
    folder: Path
    environment: Mapping[str, str]

    @classmethod
    def of(cls, program: str, environment: Mapping[str, str]) -> Storage:
        """The one in the storage that the site has set up. Raises EngineError, HostError."""
        try:
            store = json.loads(ask([program, "info"], environment) or "")["store"]
            folder, run = Path(store["GraphRoot"]) / "publisher", Path(store["RunRoot"]) / "publisher"
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(
                "buildah does not run here: it does not say where its storage is",
                hint="Try: buildah info (docs/engines.md tells what it needs).",
            ) from error
        try:
            for each in (folder / "kept", folder / "tmp"):
                each.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise HostError(f"buildah's storage {folder} cannot be written: {error.strerror}") from error
        words = [program, "--root", str(folder / "storage"), "--runroot", str(run)]
        return cls(words, folder, {**environment, "TMPDIR": str(folder / "tmp")})

    @contextmanager
    def in_use(self, check: Callable[[], None]) -> Iterator[None]:
        """A build is under way: nobody sweeps until the block ends. Then the last one who leaves sweeps."""
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while not _locked(lock, fcntl.LOCK_SH):
                check()
                time.sleep(0.1)
            try:
                yield
            finally:
                if _locked(lock, fcntl.LOCK_EX):
                    self._sweep()
        finally:
            os.close(lock)

    def keep(self, image: str, bases: Sequence[str]) -> None:
        """Give the environment of `image` a name that outlives it, and note that its `bases` are needed, too."""
        made = self._environment_of(image)
        if made:
            ask([*self.program, "tag", made, f"{_KEPT}:{made}"], self.environment)
        names = [name for base in bases for name in _names(base)]
        note = made or f"none-{hashlib.sha256(''.join(names).encode()).hexdigest()[:16]}"
        (self.folder / "kept" / note).write_text("\n".join(names))

    def remove(self, image: str) -> None:
        """Take the name `image` away, and with it what nothing else needs."""
        ask([*self.program, "rmi", image], self.environment)

    def _environment_of(self, image: str) -> str:
        """The identifier of what the last RUN made: what the instruction after it says that it began with."""
        try:
            said = json.loads(
                ask([*self.program, "inspect", "--type", "image", image], self.environment) or ""
            )
            history = said["Docker"]["history"]
            last = max(number for number, each in enumerate(history) if _runs(each))
            if last == len(history) - 1:
                return str(said["FromImageID"])
            found = _PARENT.fullmatch(history[last + 1].get("comment", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return ""
        return found[1] if found else ""

    def _sweep(self) -> None:
        """Nobody builds: remove what no later build is likely to need."""
        ask([*self.program, "rm", "--all"], self.environment)  # of builds that were killed
        wanted = self._wanted()
        try:
            images = json.loads(ask([*self.program, "images", "--json"], self.environment) or "[]")
        except ValueError:
            return
        for image in images or ():
            names = image.get("names") or []
            if not names and time.time() - image.get("created", 0) > _DAY:
                self.remove(image["id"])
            for name in names:
                if name not in wanted:
                    self.remove(name)
        self._sweep_files()

    def _wanted(self) -> set[str]:
        """The names of the environments that were used last, and of their bases; older notes go."""
        notes = sorted((self.folder / "kept").iterdir(), key=lambda note: note.stat().st_mtime, reverse=True)
        for note in notes[_MOST:]:
            note.unlink(missing_ok=True)
        found = {f"{_KEPT}:{note.name}" for note in notes[:_MOST]}
        return found.union(*(note.read_text().split("\n") for note in notes[:_MOST]))

    def _sweep_files(self) -> None:
        for path in (self.folder / "tmp").iterdir():
            if path.name.startswith(_CACHE) and _size(path) <= _CACHES:
                continue
            shutil.rmtree(path, ignore_errors=True)


def _locked(lock: int, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return kind == fcntl.LOCK_SH  # no locks on this file system: build, and sweep nothing
    return True


def _runs(entry: Mapping[str, str]) -> bool:
    """Whether an entry of an image's history is a RUN of buildah's: of the other instructions it says #(nop)."""
    by = entry.get("created_by", "")
    return entry.get("comment", "").startswith("FROM ") and " #(nop) " not in by


def _names(base: str) -> list[str]:
    """What buildah may call an image that a Dockerfile names so."""
    try:
        found = Reference.parse(base)
    except ValueError:
        return []
    by_tag, by_digest = (
        Reference(found.repository, found.tag),
        Reference(found.repository, None, found.digest),
    )
    return [str(each) for each in (found, by_tag, by_digest)]


def _size(folder: Path) -> int:
    """Bytes of the files below `folder`, as far as they may be looked at."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total
