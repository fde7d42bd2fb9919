"""What people change by hand: a failure is cleared, an image is withdrawn. All else is the poll's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from publisher import status
from publisher.domain import ModelVersion, Status, Target
from publisher.faults import as_ours
from publisher.naming import image_name
from publisher.stages import Stages


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one version for one target. "failed": it was not done, or not wholly."""

    version: ModelVersion
    target: str
    state: Literal["due", "withdrawn", "unchanged", "failed"]
    reason: str
    image: str = ""
    digest: str = ""
    exit_code: int = 0


def retry(version: ModelVersion, target: Target, stages: Stages) -> Change:
    """Let the next poll try again what failed, was withdrawn, or is claimed by a publisher that may be gone.

    What failed keeps its reason until then, for people to read. Raises ModelRegistryError.
    """
    known = status.read(version.tags, target.name)
    if known is None or known.state == "published":
        what = f"it is published as {known.image}@{known.digest}" if known else "nothing was tried yet"
        return Change(version, target.name, "unchanged", f"{what}: there is nothing to try again")
    if known.state == "failed":
        _record(version, target, replace(known, attempts=0, next_try=stages.now()), stages)
        reason = "its failure is cleared"
    else:
        gone = [key for field in status.FIELDS if (key := status.key(target.name, field)) in version.tags]
        stages.source.record(version, {}, gone)
        reason = "it is no longer withdrawn" if known.state == "withdrawn" else "its claim is taken off"
    return Change(version, target.name, "due", f"{reason}: the next poll tries it, if its tag asks for it")


def withdraw(version: ModelVersion, target: Target, stages: Stages) -> Change:
    """Take an image away from those who pull it, and keep polls from publishing it again.

    The status comes first, because a poll in between would bring the image back. What the registry has under
    the image's name goes only where it is what we published. Raises ModelRegistryError.
    """
    known = status.read(version.tags, target.name)
    # Not the name that the status tags say: whoever may write tags could have any image removed by it.
    image = image_name(target, version)
    digest = known.digest if known else ""
    now = Status(
        state="withdrawn",
        image=image,
        digest=digest,
        fingerprint=status.fingerprint(version, target),
        updated=stages.now(),
    )
    _record(version, target, now, stages)
    done = Change(version, target.name, "withdrawn", "", image, digest)
    try:
        reason = _remove(image, digest, known.tags if known else (), target, stages)
    except Exception as error:
        fault = as_ours(error)
        kept = f"polls leave it alone from now on, and its image was not removed: {fault.line}"
        return replace(done, state="failed", reason=kept, exit_code=fault.exit_code)
    if known and known.state == "publishing":
        reason += "; if another publisher is still at it, withdraw it again when that has ended"
    return replace(done, reason=reason)


def _remove(image: str, digest: str, extra: Sequence[str], target: Target, stages: Stages) -> str:
    destination = stages.destination(target)
    standing = destination.existing(image)
    if not standing:
        return f"there is no {image}"
    if standing != digest:
        whose = f"not the {digest} that was published" if digest else "and nothing of ours was recorded there"
        return f"{image} stays: it is {standing}, {whose}"
    destination.remove(image, digest, extra)
    return f"{image} is removed"


def _record(version: ModelVersion, target: Target, now: Status, stages: Stages) -> None:
    stages.source.record(
        version, status.to_tags(now, target.name), status.stale(version.tags, now, target.name)
    )
