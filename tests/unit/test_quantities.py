"""Durations and sizes as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from publisher.quantities import duration, shown, size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("15m", 900), ("2h", 7200), ("1h30m", 5400), (" 1D ", 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    """Units add up, case and space around do not matter, and what is shown is read as the same."""
    assert duration(text) == timedelta(seconds=seconds)
    assert duration(shown(duration(text))) == duration(text)


@pytest.mark.parametrize(
    "text", ["", "15", "m", "1h 30m", "-5m", "1.5h", "0s", "0h0m", "5 minutes", "1w", "٣m"]
)
def test_what_is_no_duration(text: str) -> None:
    """Everything else is refused with an example of what is expected."""
    with pytest.raises(ValueError, match="expected a duration such as 30s, 15m"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2 * 10**9), ("2Gi", 2 << 30), ("512MiB", 512 << 20), ("1.5 gb", 1_500_000_000), ("1000", 1000)],
)
def test_sizes(text: str, expected: int) -> None:
    """Powers of 1000 and of 1024, as Kubernetes writes them and as people do."""
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "2PB", "-1GB", "1,5GB", "two"])
def test_what_is_no_size(text: str) -> None:
    """Everything else is refused with an example of what is expected."""
    with pytest.raises(ValueError, match="expected a size such as 512MiB"):
        size(text)
