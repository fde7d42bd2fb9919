"""What a person and a script see: plain lines, a real terminal, JSON."""

from __future__ import annotations

import io
import json
import os
import pty
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pytest

from publisher.cli.download import download_json, print_downloads
from publisher.cli.outcomes import outcome_json, print_outcomes
from publisher.cli.status import print_status, status_json
from publisher.display import TerminalProgress
from publisher.domain import Decision, ModelVersion, Outcome, Status
from publisher.json_output import to_json
from publisher.terminal import amount, plain

THEN = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
HOSTILE = "[red]\x1b]0;pwned\x07\u202eevil\n[/red]"


@pytest.fixture(autouse=True)
def _a_capable_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours and moving lines depend on TERM, which where tests run may be dumb."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def version(name: str = "pltr_model", number: str = "3") -> ModelVersion:
    return ModelVersion(name, number, "models:/m-1", THEN)


PUBLISHED = Outcome(
    version(),
    "DEMO",
    "published",
    "",
    "quay.io/team/pltr_model:v3",
    DIGEST,
    {"lock": 1.5, "push": 2.25},
    sent=201_300_000,
    downloaded=999_960,
)
SKIPPED = Outcome(version(), "DEMO", "skipped", "published as quay.io/team/pltr_model:v3")
FAILED = Outcome(version(number="4"), "DEMO", "failed", "numpy has no wheel for linux/arm64", exit_code=9)
PLANNED = Outcome(version(), "EDGE", "planned", "has no status yet", "quay.io/team/pltr_model:v3")


@dataclass(frozen=True)
class Row:
    """Has the fields of app.StatusRow."""

    version: ModelVersion
    target: str
    status: Status | None
    decision: Decision
    image: str = ""


def printed(*outcomes: Outcome) -> list[str]:
    stream = io.StringIO()
    print_outcomes(outcomes, stream)
    return stream.getvalue().splitlines()


@contextmanager
def terminal() -> Iterator[tuple[TextIO, list[bytes]]]:
    """A real pseudo-terminal: the stream to write to, and what arrived at its other end."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(ours, 65536):
                seen.append(chunk)
        except OSError:  # Linux says EIO when the last writer has closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    stream = os.fdopen(theirs, "w", encoding="utf-8")
    try:
        yield stream, seen
    finally:
        stream.close()
        reader.join(10)
        os.close(ours)


def test_a_second_poll_says_that_there_is_nothing_to_do_and_why() -> None:
    """One line counts the versions, and one line for each version and target gives the reason."""
    assert printed(SKIPPED, Outcome(version(), "EDGE", "skipped", "failed; next try at 9:00")) == [
        "nothing to do: 1 version",
        "pltr_model v3 → DEMO: skipped, published as quay.io/team/pltr_model:v3",
        "pltr_model v3 → EDGE: skipped, failed; next try at 9:00",
    ]


def test_no_tagged_version_is_told_as_such() -> None:
    """An empty poll does not look like a successful one."""
    assert printed() == ["nothing to do: no model version carries the tag of a target"]


def test_each_state_tells_what_matters_of_it() -> None:
    """Published: image, digest, seconds, bytes; failed: the reason; planned: image and reason."""
    assert printed(PUBLISHED, FAILED, PLANNED) == [
        "1 published, 1 failed, 1 planned",
        f"pltr_model v3 → DEMO: published, quay.io/team/pltr_model:v3@{DIGEST}, 3.8 s (lock 1.5, push 2.2), "
        "sent 201.3 MB, downloaded 1.0 MB",
        "pltr_model v4 → DEMO: failed, numpy has no wheel for linux/arm64",
        "pltr_model v3 → EDGE: planned, quay.io/team/pltr_model:v3, has no status yet",
    ]


def test_what_a_tool_said_stands_below_its_failure() -> None:
    """Line by line, and none of them can pass for a result."""
    failed = Outcome(
        version(), "DEMO", "failed", "exit code: 7", detail="cc: not found\nm v1 → X: published\x1b[2K"
    )
    assert printed(failed)[1:] == [
        "pltr_model v3 → DEMO: failed, exit code: 7",
        "  cc: not found",
        "  m v1 → X: published\\x1b[2K",
    ]


def test_status_lines_tell_past_and_next() -> None:
    """Each line has the recorded state, its image (before there is one: its name to be) or reason, its time, and what the next poll would do."""
    rows = [
        Row(
            version(),
            "DEMO",
            Status("published", image="r/m:v3", digest=DIGEST, updated=THEN, tags=("latest", "prod")),
            Decision("skip", "unchanged"),
            "r/new-name:v3",
        ),
        Row(
            version(),
            "EDGE",
            Status("failed", "no wheel", updated=THEN),
            Decision("publish", "its try is due"),
        ),
        Row(version(number="4"), "DEMO", None, Decision("publish", "it has no status yet"), "r/m:v4"),
    ]
    stream = io.StringIO()
    print_status(rows, stream)  # type: ignore[arg-type]
    assert stream.getvalue().splitlines() == [
        f"pltr_model v3 → DEMO: published, r/m:v3@{DIGEST}, also latest, prod, 2026-11-22T08:00:00+00:00, next poll: skip, unchanged",
        "pltr_model v3 → EDGE: failed, no wheel, 2026-11-22T08:00:00+00:00, next poll: publish, its try is due",
        "pltr_model v4 → DEMO: not published, r/m:v4, next poll: publish, it has no status yet",
    ]


def test_downloads_are_listed_with_their_folders() -> None:
    """One line for each version; none at all says why."""
    stream = io.StringIO()
    print_downloads([(version(), Path("/tmp/x y/pltr_model/v3"))], stream)
    print_downloads([], stream)
    assert stream.getvalue().splitlines() == [
        "pltr_model v3: /tmp/x y/pltr_model/v3",
        "nothing to download: no model version carries the tag of a target",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("\x1b[31mred\x9b", "\\x1b[31mred\\x9b"),
        ("a\u202eb\u2028c\ud800", "a\\u202eb\\u2028c\\ud800"),
        ("[bold]ü → 模型[/bold]", "[bold]ü → 模型[/bold]"),
    ],
)
def test_plain_spells_out_what_a_terminal_would_obey(text: str, line: str) -> None:
    """Control, bidirectional and lone surrogate characters are spelled out; letters of all scripts stay."""
    assert plain(text) == line


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (999_960, "1.0 MB"), (2**40, "1.1 TB")]
)
def test_amounts_are_short(size: int, text: str) -> None:
    """Bytes are told in the unit that keeps them below a thousand."""
    assert amount(size) == text


def test_a_terminal_shows_stage_and_bytes_but_obeys_no_name() -> None:
    """On a real terminal the bars show stage and bytes; markup and escapes in names stay text."""
    with terminal() as (stream, seen), TerminalProgress(stream) as progress:
        progress.stage("[red]m[/red] \x1b]0;pwned\x07", "push")
        progress.expect("[red]m[/red] \x1b]0;pwned\x07", "blob", 2_000_000)
        progress.advance("[red]m[/red] \x1b]0;pwned\x07", "blob", 500_000)
        progress.note("m", "[link=file:///etc/passwd]note[/link]")
    text = b"".join(seen).decode()
    assert "[red]m[/red]" in text
    assert "\x1b]0;pwned" not in text
    assert "push" in text
    assert "500.0 kB" in text
    assert "[link=file:///etc/passwd]note[/link]" in text


def test_a_terminal_shows_a_dozen_subjects_at_most() -> None:
    """Hundreds of versions do not make the display taller than the terminal; the newest are shown."""
    with terminal() as (stream, _), TerminalProgress(stream) as progress:
        for number in range(100):
            progress.stage(f"m v{number}", "fetch")
        progress.stage("m v0", "lock")
        assert len(progress._rows) == 12
        assert list(progress._rows)[-2:] == ["m v99", "m v0"]


def test_results_are_coloured_on_a_terminal_only() -> None:
    """The state is a coloured word on a real terminal, and names still inject nothing."""
    hostile = Outcome(version("[red]x[/red]\x1b[5m"), "DEMO", "failed", "why")
    with terminal() as (stream, seen):
        print_outcomes([hostile], stream)
    text = b"".join(seen).decode()
    assert "[red]x[/red]\\x1b[5m v3 → DEMO:" in text
    assert "\x1b[1;31mfailed\x1b[0m, why" in text
    assert "\x1b[5m" not in text
    assert "\x1b" not in "".join(printed(hostile))


def test_json_of_outcomes_has_fixed_keys() -> None:
    """Scripts find every field of an outcome, and control characters are escaped by JSON itself."""
    document = json.loads(to_json({"outcomes": [outcome_json(PUBLISHED), outcome_json(FAILED)]}))
    assert document["outcomes"][0] == {
        "model": "pltr_model",
        "version": "3",
        "target": "DEMO",
        "state": "published",
        "reason": "",
        "image": "quay.io/team/pltr_model:v3",
        "digest": DIGEST,
        "tags": [],
        "seconds": {"lock": 1.5, "push": 2.25},
        "sent": 201_300_000,
        "downloaded": 999_960,
        "exit_code": 0,
        "detail": "",
        "proof": [],
    }
    assert document["outcomes"][1]["exit_code"] == 9
    hostile = to_json(outcome_json(Outcome(version(HOSTILE), "DEMO", "failed", "")))
    assert hostile.isascii()
    assert "\x1b" not in hostile
    assert json.loads(hostile)["model"] == HOSTILE


def test_json_of_status_and_downloads_has_fixed_keys() -> None:
    """A version without status has the same keys as one with it."""
    status = Status("failed", "no wheel", attempts=2, updated=THEN, next_try=THEN)
    known = status_json(Row(version(), "DEMO", status, Decision("skip", "later")))  # type: ignore[arg-type]
    unknown = status_json(Row(version(), "DEMO", None, Decision("publish", "new")))  # type: ignore[arg-type]
    assert json.loads(to_json(known)) == {
        "model": "pltr_model",
        "version": "3",
        "target": "DEMO",
        "state": "failed",
        "image": "",
        "digest": "",
        "tags": [],
        "reason": "no wheel",
        "proof": "",
        "attempts": 2,
        "updated": "2026-11-22T08:00:00+00:00",
        "next_try": "2026-11-22T08:00:00+00:00",
        "decision": {"action": "skip", "reason": "later"},
    }
    assert unknown.keys() == known.keys()
    assert (unknown["state"], unknown["updated"], unknown["attempts"]) == (None, None, 0)
    assert download_json(version(), Path("/x")) == {"model": "pltr_model", "version": "3", "folder": "/x"}
