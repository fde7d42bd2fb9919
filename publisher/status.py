"""The status of a target on a model version, as tags ``publisher.<target>.<field>``.

Tags are no lock and no proof: anybody may write them. What cannot be read counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, cast, get_args

from publisher.domain import ModelVersion, State, Status, Target

FIELDS = (
    "reason",
    "image",
    "digest",
    "fingerprint",
    "attempts",
    "claim",
    "updated",
    "next_try",
    "release",
    "tags",
    "tagging",
    "proof",
    "state",
)
_PROOF = 500  # characters: what every store of MLflow takes as a tag's value
_FIRST = ("registry", "image", "platforms", "base", "builder", "python", "resolve", "user", "bytecode")
# How a target is chosen, what else points to an image, and how its registry is reached.
_NO_IMAGE = frozenset(
    {"deadline", "name", "tag", "cache", "insecure", "tags"}
    | {"ca_file", "token_realms", "chunk_size", "api_path", "engine_cache", "job_template"}
)
_LATER = tuple(
    (field.name, field.default) for field in fields(Target) if field.name not in _NO_IMAGE.union(_FIRST)
)


def read(tags: Mapping[str, str], target_name: str) -> Status | None:
    """The status that `tags` tell of the target; None where they tell none."""
    values = {field: tags.get(key(target_name, field), "").strip() for field in FIELDS}
    if values["state"] not in get_args(State):
        return None
    attempts = values["attempts"]
    digest = values["digest"]
    return Status(
        state=cast(State, values["state"]),
        reason=values["reason"],
        image=values["image"],
        digest=digest if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else "",
        fingerprint=values["fingerprint"],
        attempts=int(attempts) if re.fullmatch(r"[0-9]{1,6}", attempts) else 0,
        claim=values["claim"],
        updated=_time(values["updated"]),
        next_try=_time(values["next_try"]),
        release=values["release"],
        tags=tuple(re.findall(r"(?<!\S)[A-Za-z0-9._-]{1,128}(?!\S)", values["tags"])),
        tagging=values["tagging"],
        proof=values["proof"],
    )


def to_tags(status: Status, target_name: str) -> dict[str, str]:
    """The tags that say it, ``state`` last: whoever writes them in order leaves no half status behind."""
    values = {
        "reason": " ".join(status.reason.split()),
        "image": status.image,
        "digest": status.digest,
        "fingerprint": status.fingerprint,
        "attempts": str(status.attempts) if status.attempts else "",
        "claim": status.claim,
        "updated": _text(status.updated),
        "next_try": _text(status.next_try),
        "release": status.release,
        "tags": " ".join(status.tags),
        "tagging": status.tagging,
        "proof": " ".join(status.proof.split())[:_PROOF],
        "state": status.state,
    }
    return {key(target_name, field): values[field] for field in FIELDS if values[field]}


def stale(tags: Mapping[str, str], status: Status, target_name: str) -> list[str]:
    """The keys in `tags` that say something of the target which `status` no longer says.

    What was published before keeps its extra tags while another attempt is under way, or has failed.
    """
    said = to_tags(status, target_name)
    if status.state in ("publishing", "failed", "stopped"):
        said |= {key(target_name, field): "" for field in ("tags", "tagging")}
    return [k for field in FIELDS if (k := key(target_name, field)) in tags and k not in said]


def key(target_name: str, field: str) -> str:
    return f"publisher.{target_name}.{field}"


def fingerprint(version: ModelVersion, target: Target) -> str:
    """16 hex digits over all that is known before anything is fetched and that decides what is published.

    Not in it: the credentials, the cache, and how the registry is reached, for they change no image. A setting of
    the target is in it unless it is named here, and one that came later counts where it is not at its default: so
    a new release of publisher does not make everything look changed.
    """
    content: dict[str, Any] = {
        "version": [version.name, version.version, version.source, version.run_id],
        "tags": sorted(item for item in version.effective_tags.items() if item[0].startswith("MODEL_")),
        "target": [_plain(getattr(target, name)) for name in _FIRST],
    }
    later = {name: _plain(value) for name, default in _LATER if (value := getattr(target, name)) != default}
    if later:
        content["later"] = later
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    """A setting's value as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool | int | None) else str(value)


def _text(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else ""


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None
