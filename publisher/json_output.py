"""What --json prints: one document on stdout. Its keys are an interface: scripts read them."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from publisher.domain import ModelVersion, Outcome

if TYPE_CHECKING:
    from publisher.wiring import StatusRow


def stamp(moment: datetime | None) -> str:
    """ISO 8601 in seconds; empty for None."""
    return moment.isoformat(timespec="seconds") if moment else ""


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "model": outcome.version.name,
        "version": outcome.version.version,
        "target": outcome.target,
        "state": outcome.state,
        "reason": outcome.reason,
        "image": outcome.image,
        "digest": outcome.digest,
        "seconds": {stage: round(seconds, 3) for stage, seconds in outcome.seconds.items()},
        "sent": outcome.sent,
        "downloaded": outcome.downloaded,
        "exit_code": outcome.exit_code,
    }


def status_json(row: StatusRow) -> dict[str, Any]:
    status = row.status
    return {
        "model": row.version.name,
        "version": row.version.version,
        "target": row.target,
        "state": status.state if status else None,
        "image": status.image if status else "",
        "digest": status.digest if status else "",
        "reason": status.reason if status else "",
        "attempts": status.attempts if status else 0,
        "updated": stamp(status.updated) or None if status else None,
        "next_try": stamp(status.next_try) or None if status else None,
        "decision": {"action": row.decision.action, "reason": row.decision.reason},
    }


def download_json(version: ModelVersion, folder: Path) -> dict[str, Any]:
    return {"model": version.name, "version": version.version, "folder": str(folder)}


def to_json(document: dict[str, Any]) -> str:
    """One document. ASCII only, so that no encoding of a pipe can break it, and control characters are escaped."""
    return json.dumps(document, indent=2)
