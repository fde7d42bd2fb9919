"""A file that tells whether the polls go on, for a probe that reads it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from publisher.domain import Outcome
from publisher.progress import Silent
from publisher.quantities import shown
from publisher.redaction import redacted


@dataclass(slots=True)
class Health(Silent):
    """Writes the file as polls and versions are done. Never raises: a probe that finds it old says enough."""

    path: Path
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _said: dict[str, object] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def polled(self, counts: Mapping[str, int], seconds: float) -> None:
        self._write(polled=self._stamp(), seconds=round(seconds, 3), outcomes=dict(counts), fault="")

    def done(self, outcome: Outcome) -> None:
        """A long poll goes on."""
        self._write(at_work=self._stamp())

    def skipped(self, fault: str) -> None:
        """A poll could not be done."""
        self._write(fault=redacted(fault))

    def _stamp(self) -> str:
        return self.now().isoformat(timespec="seconds")

    def _write(self, **said: object) -> None:
        with self._lock, suppress(OSError):
            self._said |= {"process": os.getpid(), **said}
            part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
            part.write_text(json.dumps(self._said) + "\n")
            part.replace(self.path)


def check(path: Path, longest: timedelta, now: datetime) -> str:
    """Why the polls do not go on as they should; empty where they do: a good poll, or work within one, in time."""
    try:
        said = json.loads(path.read_text())
        stamps = [datetime.fromisoformat(said[key]) for key in ("polled", "at_work") if said.get(key)]
        last = max(stamps, default=None)
        age = now - last if last else None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except (ValueError, TypeError, AttributeError):
        return f"{path} is not what `publisher poll --health` writes"
    fault = f"; {said['fault']}" if said.get("fault") else ""
    if age is None:
        return f"no good poll yet{fault}"
    if age > longest:
        return f"the last good poll was {shown(age)} ago{fault}"
    return ""
