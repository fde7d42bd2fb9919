"""What becomes of one version for one target, written on the version: the claim first, then how it ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from publisher import __version__, status
from publisher.decide import next_try
from publisher.domain import ModelVersion, State, Status, Target
from publisher.errors import ModelRegistryError, PublisherError, StoppedError
from publisher.progress import subject_of
from publisher.redaction import redacted
from publisher.running import Running
from publisher.sources.base import Source


@dataclass(slots=True)
class Record:
    """`note` hears what could not be written. Only `claim` and `published` raise: ModelRegistryError."""

    version: ModelVersion
    target: Target
    source: Source
    running: Running
    now: Callable[[], datetime]
    note: Callable[[str], None]
    image: str = ""
    _attempts: int = 0  # those before this one

    def __post_init__(self) -> None:
        before = status.read(self.version.tags, self.target.name)
        self._attempts = before.attempts if before else 0

    def claim(self, image: str, process: str) -> None:
        """Say that a publisher is at it: this `process`, as scratch.py names it."""
        self.image = image
        self.running.claims[self._subject] = self.release
        self._write(self._status("publishing", "a publisher is at it", claim=process))

    def published(self, digest: str, proof: str, also: Callable[[Status], Status]) -> None:
        """Say so, and what was proven of it, with what `also` adds."""
        self._write(also(replace(self._status("published", digest=digest), proof=redacted(proof))))
        self._settled()

    def failed(self, fault: PublisherError) -> None:
        """Write the failure, unless it is none of the version's or its registry's: then the claim is given up."""
        away = isinstance(fault, ModelRegistryError) and fault.away
        self.running.away |= away
        if away or isinstance(fault, StoppedError):
            self.release(fault.line)
            return
        if self._is_published():
            self.note("another publisher has published it meanwhile: its status stays")
            self._settled()
            return
        due = next_try(self._attempts + 1, self.now(), fault.retryable, of=self._subject)
        self._attempt(self._status("failed", fault.line, next_try=due))

    def release(self, reason: str = "the publisher was asked to end") -> None:
        """Give up the claim, so that whoever polls next takes the version up at once."""
        self._attempt(self._status("stopped", reason))

    def _attempt(self, now: Status) -> None:
        try:
            self._write(now)
        except PublisherError as error:
            self.note(f"not recorded: {error.line}")
        finally:
            self._settled()

    def _is_published(self) -> bool:
        """Whether the status, which our claim replaced, says published again: somebody else came to the end."""
        try:
            found = self.source.get(self.version.name, self.version.version)
        except PublisherError:
            return False
        known = status.read(found.tags, self.target.name)
        same = known and known.fingerprint == status.fingerprint(found, self.target)
        return bool(known and same and known.state == "published" and self.image)

    def _settled(self) -> None:
        self.running.claims.pop(self._subject, None)

    def _status(
        self,
        state: State,
        reason: str = "",
        *,
        digest: str = "",
        claim: str = "",
        next_try: datetime | None = None,
    ) -> Status:
        counted = {"publishing": self._attempts + 1, "failed": self._attempts + 1, "stopped": self._attempts}
        return Status(
            state=state,
            reason=redacted(reason),
            image=self.image,
            digest=digest,
            fingerprint=status.fingerprint(self.version, self.target),
            attempts=counted.get(state, 0),
            claim=claim,
            updated=self.now(),
            next_try=next_try,
            release=__version__,
        )

    def _write(self, now: Status) -> None:
        tags = status.to_tags(now, self.target.name)
        gone = status.stale(self.version.tags, now, self.target.name)
        self.source.record(self.version, tags, gone)
        kept = {key: value for key, value in self.version.tags.items() if key not in gone}
        self.version = replace(self.version, tags={**kept, **tags})

    @property
    def _subject(self) -> str:
        return subject_of(self.version, self.target.name)
