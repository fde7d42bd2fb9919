"""Act or not, and why. Pure: what is known goes in, an action with its reason comes out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Set
from datetime import datetime, timedelta

from packaging.version import Version

from publisher import __version__
from publisher.domain import Decision, ModelVersion, Status, Target
from publisher.extra_tags import wanted
from publisher.status import fingerprint, read

YES = ("true", "1", "yes", "on")
NO = ("false", "0", "no", "off")
UNFINISHED = {
    "pending": "MLflow has not finished its registration: the next poll looks again",
    "failed": "its registration in MLflow failed: register the model again",
}
CLAIM = timedelta(hours=1)  # how long a publisher that says "publishing" is believed to be at it
LONGEST_WAIT = timedelta(minutes=60)


def is_yes(value: str | None) -> bool | None:
    """What the value of a target's tag says, in any case: yes, no, or None where it says neither."""
    word = (value or "").strip().lower()
    return True if word in YES else False if word in NO else None


def why_not_asked(version: ModelVersion, target: Target) -> str:
    """Why the version's tags, or its model's, do not ask for this target; empty where they do."""
    value = version.effective_tags.get(target.tag)
    if is_yes(value):
        return ""
    if value is None:
        return f"it has no tag {target.tag}: not asked for"
    whose = f"its tag {target.tag}" if target.tag in version.tags else f"the tag {target.tag} of its model"
    if is_yes(value) is False:
        return f"{whose} is {value.strip()!r}: not asked for"
    shown = repr(value if len(value) <= 40 else f"{value[:39]}…") if value.strip() else "empty"
    return f"{whose} is {shown}, neither true-like ({', '.join(YES)}) nor false-like ({', '.join(NO)}): write true"


def decide(
    version: ModelVersion,
    target: Target,
    status: Status | None,
    now: datetime,
    *,
    abandoned: bool = False,
    explicit: bool = False,
    force: bool = False,
    release: str = __version__,
    twice: bool = False,
) -> Decision:
    """Whether to publish `version` to `target`.

    `explicit`: a person asked for this version by name. Then it is always looked at: what is published already
    is found to be so in the container registry, and comes to the same digest. `force`: replace what is there.
    `abandoned`: the process of the status' claim is known to be gone. `now` has a time zone. `release`: publisher's
    own. `twice`: see `told_twice`.
    """
    if force or explicit:
        return Decision("publish", "asked for with --force" if force else "asked for by name")
    why_not = why_not_asked(version, target) or UNFINISHED.get(version.registration)
    if why_not or status is None:
        return Decision("skip", why_not) if why_not else Decision("publish", "never published")
    same = status.fingerprint == fingerprint(version, target)
    if status.state == "published":
        return _published(version, target, status, same, now, twice=twice)
    if status.state == "withdrawn":
        return _withdrawn(version, status)
    if status.state in ("publishing", "stopped"):
        return _begun(status, now, abandoned)
    return _failed(status, same, now, release)


def next_try(attempts: int, now: datetime, retryable: bool, *, of: str) -> datetime | None:
    """When to try again after `attempts` failures (1, 2, …): 1, 2, 4 … 60 minutes on; None: not at all.

    Up to a fifth sooner, by a share that `of` and the attempt decide: what failed together, because a registry
    was away, does not come back together.
    """
    if not retryable:
        return None
    longest = min(timedelta(minutes=2 ** min(max(attempts, 1) - 1, 10)), LONGEST_WAIT)
    share = int.from_bytes(hashlib.sha256(f"{of}/{attempts}".encode()).digest()[:4]) / 2**32
    return now + longest * (1 - share / 5)


def told_twice(versions: Iterable[ModelVersion], target: Target) -> Set[tuple[str, str]]:
    """Name and number of each version whose status tells of an extra tag that another version's tells of as well.

    Two publishers that wrote the tag at the same moment leave that behind, and the registry knows who has it.
    """
    told: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for version in versions if target.tags else ():
        known = read(version.tags, target.name)
        for tag in known.tags if known else ():
            told.setdefault((version.name, tag), []).append((version.name, version.version))
    return {each for who in told.values() if len(who) > 1 for each in who}


def _published(
    version: ModelVersion, target: Target, status: Status, same: bool, now: datetime, *, twice: bool
) -> Decision:
    if not status.digest:
        return Decision("publish", "its status says published, but not as which digest")
    name = f"published as {status.image}@{status.digest}"
    asked = wanted(version, target)
    if twice or asked.fingerprint != status.tagging:
        if status.next_try is not None and now < status.next_try:
            return Decision(
                "skip", f"{name}; its further tags: next try at {_shown(status.next_try)}: {status.reason}"
            )
        return Decision("tag", f"{name}; its further tags are to be {asked or 'none'}")
    if same:
        return Decision("skip", name)
    return Decision(
        "skip",
        f"{name}; its tags or the target's settings have changed since: "
        f"'publisher publish {version.name} {version.version} --force' replaces it",
    )


def _begun(status: Status, now: datetime, abandoned: bool) -> Decision:
    if status.state == "stopped":
        return Decision("publish", f"begun and given up: {status.reason or 'the reason was not recorded'}")
    if not abandoned and status.updated is not None and abs(now - status.updated) < CLAIM:
        return Decision("skip", f"another publisher is at it since {_shown(status.updated)}")
    return Decision("publish", "a publisher stopped in the middle")


def _withdrawn(version: ModelVersion, status: Status) -> Decision:
    since = f" since {_shown(status.updated)}" if status.updated else ""
    name = f"{version.name} {version.version}"
    return Decision("skip", f"withdrawn{since}: 'publisher retry {name}' lets the next poll publish it again")


def _failed(status: Status, same: bool, now: datetime, release: str) -> Decision:
    reason = status.reason or "the reason was not recorded"
    if not same:
        return Decision("publish", "it failed, and its tags or the target's settings have changed since")
    if status.next_try is None and _newer(release, status.release):
        return Decision(
            "publish", f"it failed with publisher {status.release or 'of old'}, and this is {release}"
        )
    if status.next_try is None:
        return Decision(
            "skip",
            "failed and will not be tried again until its tags, its files or the target's settings change: "
            f"{reason}",
        )
    if now < status.next_try:
        return Decision("skip", f"next try at {_shown(status.next_try)}: {reason}")
    return Decision("publish", f"attempt {status.attempts + 1}")


def _newer(release: str, than: str) -> bool:
    """Not merely another: of two publishers side by side only one tries again, and only once."""
    try:
        return Version(release) > Version(than)
    except ValueError:  # anybody may write a tag
        return not than


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"
