"""What --json prints: one document on stdout. Its keys are an interface: scripts read them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from publisher.redaction import redacted


def stamp(moment: datetime | None) -> str:
    """ISO 8601 in seconds; empty for None."""
    return moment.isoformat(timespec="seconds") if moment else ""


def to_json(document: dict[str, Any]) -> str:
    """One document. ASCII only, so that no encoding of a pipe can break it, and control characters are escaped.

    No secret is in it."""
    return redacted(json.dumps(document, indent=2))
