"""What the status tags say, what the registry has, and whether the two agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from publisher import status
from publisher.describe import LABEL
from publisher.domain import ModelVersion, Status, Target
from publisher.errors import PublisherError
from publisher.explain.findings import Finding, Level
from publisher.oci import layout as layouts
from publisher.oci.images import Images


@dataclass(frozen=True, slots=True)
class Origin:
    """Which version an image says that it was made from, by its labels; empty where it says nothing."""

    model: str = ""
    version: str = ""
    run: str = ""

    @classmethod
    def read(cls, images: Images, image: str) -> Origin:
        """Of an image that is there. An image that cannot be read was made by somebody else."""
        try:
            found = images.load(image)
            child = next(iter(layouts.platforms(found)))[1]
            labels = (found.config(child.digest).get("config") or {}).get("Labels") or {}
        except (PublisherError, StopIteration, AttributeError):
            return cls()
        return cls(*(str(labels.get(f"{LABEL}.{key}", "")) for key in ("model", "version", "run")))

    def is_of(self, version: ModelVersion) -> bool:
        return (self.model, self.version, self.run) == (version.name, version.version, version.run_id or "")

    def __str__(self) -> str:
        return f"made from {self.model} v{self.version}" if self.model else "not made by publisher"


def of_status(version: ModelVersion, target: Target) -> Finding:
    """What the status tags say, and what that means."""
    known = status.read(version.tags, target.name)
    if known is None:
        said = version.tags.get(status.key(target.name, "state"))
        if said is None:
            return Finding("status", "ok", "none: nothing was recorded for this target yet", {"state": None})
        text = (
            f"its tag {status.key(target.name, 'state')} is {said!r}, which is no state: it counts as absent"
        )
        return Finding("status", "note", text, {"state": None, "said": said})
    same = known.fingerprint == status.fingerprint(version, target)
    facts: dict[str, Any] = {
        "state": known.state,
        "image": known.image,
        "digest": known.digest,
        "reason": known.reason,
        "attempts": known.attempts,
        "updated": known.updated.isoformat(timespec="seconds") if known.updated else None,
        "changed_since": not same,
    }
    level: Level = "problem" if known.state == "failed" else "ok"
    text = _meaning(known)
    if not same:
        level = "note" if level == "ok" else level
        text += "; its tags or the target's settings have changed since"
    return Finding("status", level, text, facts)


def _meaning(known: Status) -> str:
    when = f" on {known.updated:%Y-%m-%d %H:%M:%S %Z}" if known.updated else ""
    match known.state:
        case "published":
            return f"published{when} as {known.image}@{known.digest or '(no digest was recorded)'}"
        case "publishing":
            return f"a publisher began attempt {known.attempts}{when}, and has not said how it ended"
        case "stopped":
            return f"attempt {known.attempts} was begun and given up{when}: {known.reason or 'no reason recorded'}"
        case "withdrawn":
            return f"withdrawn{when}: polls leave it alone"
        case "failed":
            tries = f"{known.attempts} attempts" if known.attempts != 1 else "1 attempt"
            return f"failed{when} after {tries}: {known.reason or 'the reason was not recorded'}"


def of_registry(
    version: ModelVersion, known: Status | None, image: str, there: str, origin: Origin | None
) -> Finding:
    """What is at `image` (`there`: its digest, or empty) beside what the status says of it."""
    command = f"publisher publish {version.name} {version.version}"
    facts: dict[str, Any] = {"image": image, "digest": there or None}
    ours = known.digest if known and known.state in ("published", "withdrawn") else ""
    if known and known.state == "published" and known.image in ("", image):
        facts["agrees"] = bool(there) and there == known.digest
        if not there:
            text = (
                f"the status says published, and the registry has no {image}: polls ask the status alone and "
                f"leave it so; `{command}` brings it back"
            )
            return Finding("registry", "problem", text, facts)
        if there != known.digest:
            text = (
                f"the status says {known.digest or 'no digest'}, and the registry has {there}, {origin}: somebody "
                f"replaced it; `{command} --force` puts ours back"
            )
            return Finding("registry", "problem", text, facts)
        return Finding("registry", "ok", f"{image} is there as {there}, as the status says", facts)
    if not there:
        return Finding("registry", "ok", f"there is no {image} yet", facts)
    if there == ours or (origin and origin.is_of(version)):
        text = f"{image} is there as {there}, made from this version: a publication that comes to another digest stops"
        return Finding("registry", "note", text, facts)
    text = f"{image} is there already as {there}, {origin}: a publication would not replace it; `{command} --force` does"
    return Finding("registry", "problem", text, facts, stops=True)
