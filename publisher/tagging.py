"""Extra tags to where they belong: what is there is compared first, what must move moves, and nothing is deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from publisher import status
from publisher.decide import next_try
from publisher.destinations.base import Destination
from publisher.domain import ModelVersion, Outcome, Status, Target
from publisher.errors import PublisherError, TagConflictError, UnknownVersionError
from publisher.extra_tags import ExtraTag, wanted
from publisher.faults import as_ours
from publisher.naming import image_name
from publisher.progress import subject_of
from publisher.redaction import redacted
from publisher.sources.base import Source


@dataclass(frozen=True, slots=True)
class Tagged:
    """`held`: the extra tags that the image has now; `moved`: those of them that it did not have before.
    `notes`: why it has others not. `wanted`: the fingerprint of what was brought up to date; empty where it was
    not, and then `fault` says why and `due` when it is tried again."""

    held: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    wanted: str = ""
    fault: PublisherError | None = None
    due: datetime | None = None

    @property
    def reason(self) -> str:
        """What a person should know, on one line; empty where all is as it was asked for."""
        return redacted("; ".join(self.notes))

    def on(self, known: Status, now: datetime) -> Status:
        """What is published, with its extra tags as they are now."""
        return replace(
            known,
            state="published",
            reason=self.reason,
            tags=self.held,
            tagging=self.wanted,
            attempts=known.attempts + 1 if self.due else 0,
            next_try=self.due,
            updated=now,
        )


@dataclass(frozen=True, slots=True)
class Tagger:
    """The extra tags of one target."""

    target: Target
    source: Source
    destination: Destination
    now: Callable[[], datetime]

    def bring(self, version: ModelVersion, image: str, digest: str, *, force: bool = False) -> Tagged:
        """Give `image`, which is there as `digest`, the extra tags of its version. Raises nothing.

        `force`: also those that hold something else than an image of this model.
        """
        try:
            # An alias may have moved while the image was built.
            fresh = self.source.get(version.name, version.version)
            return self._bring(fresh, image, digest, force=force)
        except Exception as error:
            return self._failed(version, error)

    def again(self, version: ModelVersion) -> Outcome:
        """Bring the extra tags of a version that is published already up to date, and record it. Raises nothing."""
        known, image = None, ""
        try:
            # Aliases and status may have changed while this poll went over other versions.
            version = self.source.get(version.name, version.version)
            known = status.read(version.tags, self.target.name)
            image = image_name(self.target, version)
            if known is None or known.state != "published":
                why = f"its status has changed since the search: {known.state if known else 'none'}"
                return Outcome(version, self.target.name, "skipped", why, image)
            standing = self.destination.existing(image)
            if (known.image, known.digest) != (image, standing):
                raise TagConflictError(
                    f"{image} is {standing or 'not there'}, and was published as {known.image}@{known.digest}",
                    hint=f"`publisher publish {version.name} {version.version}` looks at it.",
                )
            done = self._bring(version, image, known.digest)
        except Exception as error:
            done = self._failed(version, error)
        if known:
            done = self._recorded(version, done.on(known, self.now()), done)
        return self._outcome(version, image, known.digest if known else "", done)

    def _failed(self, version: ModelVersion, error: Exception) -> Tagged:
        fault, known = as_ours(error), status.read(version.tags, self.target.name)
        due = next_try(
            (known.attempts if known else 0) + 1,
            self.now(),
            fault.retryable,
            of=subject_of(version, self.target.name),
        )
        # What cannot succeed later is not tried at each poll, but when something else is wanted.
        settled = "" if due else wanted(version, self.target).fingerprint
        said = (f"its further tags are not up to date: {fault.line}",)
        return Tagged(known.tags if known else (), (), said, settled, fault, due)

    def _recorded(self, version: ModelVersion, now: Status, done: Tagged) -> Tagged:
        try:
            self._record(version, now)
        except PublisherError as error:
            return replace(done, fault=error, notes=(*done.notes, f"not recorded: {error.line}"))
        return done

    def _outcome(self, version: ModelVersion, image: str, digest: str, done: Tagged) -> Outcome:
        said = f"now also {', '.join(done.moved)}" if done.moved else "no tag had to move"
        return Outcome(
            version,
            self.target.name,
            "failed" if done.fault else "tagged",
            done.reason if done.fault else "; ".join(filter(None, (said, done.reason))),
            image,
            digest,
            exit_code=done.fault.exit_code if done.fault else 0,
            tags=done.held,
        )

    def _bring(self, version: ModelVersion, image: str, digest: str, *, force: bool = False) -> Tagged:
        asked, known = wanted(version, self.target), status.read(version.tags, self.target.name)
        held, moved, notes = [], [], list(asked.refused)
        for tag in asked.tags:
            name = _beside(image, tag.name)
            standing = self.destination.existing(name)
            if standing != digest:
                origin = _Origin.read(
                    version, self.destination.annotations(name, standing) if standing else {}
                )
                if standing and not origin.ours and not force:
                    notes.append(
                        f"{tag.name} stays: it is {standing[:19]}…, no image of this model (--force moves it)"
                    )
                    continue
                if origin.above(tag, version):
                    continue
                self._forget(version, origin, tag.name)
                self.destination.also(image, digest, name)
                moved.append(tag.name)
            held.append(tag.name)
        # No longer asked for, and still there until another version takes it: publisher deletes no tag.
        left = set(known.tags if known else ()) - {tag.name for tag in asked.tags}
        held += [name for name in left if self.destination.existing(_beside(image, name)) == digest]
        return Tagged(tuple(sorted(held)), tuple(moved), tuple(notes), asked.fingerprint)

    def _forget(self, version: ModelVersion, origin: _Origin, tag: str) -> None:
        """Take the tag out of the status of the version that has it until now."""
        if not origin.ours or origin.version == version.version:
            return
        try:
            other = self.source.get(version.name, origin.version)
        except UnknownVersionError:
            return
        known = status.read(other.tags, self.target.name)
        if known and tag in known.tags:
            self._record(other, replace(known, tags=tuple(each for each in known.tags if each != tag)))

    def _record(self, version: ModelVersion, now: Status) -> None:
        name = self.target.name
        self.source.record(version, status.to_tags(now, name), status.stale(version.tags, now, name))


_SOURCE = "org.opencontainers.image.source"


@dataclass(frozen=True, slots=True)
class _Origin:
    """Which version of the model an image says that it was made from; empty for another's image."""

    version: str = ""

    @classmethod
    def read(cls, version: ModelVersion, annotations: Mapping[str, str]) -> _Origin:
        prefix, source = f"models:/{version.name}/", annotations.get(_SOURCE, "")
        number = source.removeprefix(prefix) if source.startswith(prefix) else ""
        return cls(number if re.fullmatch(r"[0-9]{1,18}", number) else "")

    @property
    def ours(self) -> bool:
        return bool(self.version)

    def above(self, tag: ExtraTag, version: ModelVersion) -> bool:
        """Whether the tag stays with the version that has it: of two that want it the higher one does."""
        return not tag.follows and self.ours and int(self.version) > int(version.version)


def _beside(image: str, tag: str) -> str:
    """Another tag in the same repository."""
    return f"{image.rpartition(':')[0]}:{tag}"
