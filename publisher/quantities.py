"""Durations and sizes as people write them: ``15m``, ``1h30m``, ``2GB``."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]{1,6})([smhd])")
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)\s*([KMGT]?)(i?)B?", re.IGNORECASE)
DURATION = "a duration such as 30s, 15m, 2h or 1h30m"
SIZE = "a size such as 512MiB or 2GB"


def duration(text: str) -> timedelta:
    """Raises ValueError, which says what is expected, also for a duration of nothing."""
    compact = text.strip().lower()
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"expected {DURATION}, got {text!r}")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    if seconds == 0:
        raise ValueError(f"expected {DURATION}, longer than nothing, got {text!r}")
    return timedelta(seconds=seconds)


def shown(length: timedelta) -> str:
    """The shortest text that `duration` reads as `length`, in whole seconds."""
    left, text = round(length.total_seconds()), ""
    for unit, seconds in reversed(_UNITS.items()):
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def size(text: str) -> int:
    """Bytes: ``2GB`` is 2·10⁹, ``2GiB`` 2·2³⁰, as Kubernetes has it with and without its B. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"expected {SIZE}, got {text!r}")
    number, prefix, binary = match.groups()
    power = " KMGT".index(prefix.upper()) if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)
