"""What a log says: one event for each stage and outcome, whole lines, no secret, nothing that a terminal obeys."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import warnings
from datetime import UTC, datetime
from typing import Any

import pytest

from publisher.domain import ModelVersion, Outcome
from publisher.logs import Format, LogProgress, of_stream
from publisher.progress import subject_of
from publisher.redaction import MASK, redacted

VERSION = ModelVersion("pltr model", "3", "models:/m-1", datetime(2026, 11, 22, tzinfo=UTC))
SUBJECT = subject_of(VERSION, "DEMO")
WHO = {"model": "pltr model", "version": "3", "target": "DEMO"}
HOSTILE = "[red]\x1b]0;pwned\x07\u202eevil\nfake: line[/red]"


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    for event in found:
        assert datetime.fromisoformat(event.pop("timestamp")).tzinfo
    return found


def test_a_stage_and_an_outcome_are_one_event_each() -> None:
    """Version, target, stage, seconds, bytes and outcome are fields; the outcome has the image and its digest."""
    stream = io.StringIO()
    with LogProgress(stream, "json") as log:
        log.stage(SUBJECT, "fetch")
        log.expect(SUBJECT, "a", 10)
        log.advance(SUBJECT, "a", 7)
        log.advance(SUBJECT, "b", 3)
        log.end(SUBJECT, "fetch", 1.23456, "done")
        log.done(Outcome(VERSION, "DEMO", "published", "", "r/m:v3", "sha256:1", {"fetch": 1.5}, sent=9))
        log.done(Outcome(VERSION, "DEMO", "failed", "no wheel", exit_code=9))
        log.polled({"published": 1}, 2.0)
    assert events(stream) == [
        {
            **WHO,
            "event": "stage",
            "level": "info",
            "stage": "fetch",
            "seconds": 1.235,
            "bytes": 10,
            "outcome": "done",
        },
        {
            **WHO,
            "event": "published",
            "level": "info",
            "seconds": 1.5,
            "image": "r/m:v3",
            "digest": "sha256:1",
            "sent": 9,
        },
        {**WHO, "event": "failed", "level": "error", "seconds": 0, "reason": "no wheel", "exit_code": 9},
        {"event": "poll", "level": "info", "seconds": 2.0, "published": 1},
    ]


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_what_is_below_the_level_is_left_out(level: str, count: int) -> None:
    """A stage's beginning is for debugging, its end is information, a note a warning, a failure an error."""
    stream = io.StringIO()
    with LogProgress(stream, "json", level) as log:
        log.stage(SUBJECT, "fetch")
        log.end(SUBJECT, "fetch", 1, "done")
        log.note(SUBJECT, "look here")
        log.done(Outcome(VERSION, "DEMO", "failed", "no wheel"))
    assert len(events(stream)) == count


@pytest.mark.parametrize("form", ["json", "text"])
def test_no_secret_and_no_control_character_passes(form: Format) -> None:
    """Whatever a name, a note or a library's record holds: one line for each event, all of it printable."""
    secret = 'log-"canary"-5150'
    redacted.learn(secret)
    stream = io.StringIO()
    with LogProgress(stream, form) as log:
        log.note(HOSTILE, f"{HOSTILE} {secret}")
        logging.getLogger("urllib3").warning("retrying https://u:%s@host/ %s", secret, HOSTILE)
        warnings.warn(f"deprecated {secret}", stacklevel=1)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert all(MASK in line for line in lines)
    assert "canary" not in stream.getvalue()


def test_an_exception_that_a_library_logged_is_in_its_event() -> None:
    """A traceback is one field in JSON, and lines below the event in text."""
    for form in ("json", "text"):
        stream = io.StringIO()
        with LogProgress(stream, form, "debug"):  # type: ignore[arg-type]
            logging.getLogger("publisher").setLevel(logging.DEBUG)
            try:
                1 / 0  # noqa: B018
            except ZeroDivisionError as error:
                logging.getLogger("publisher.pipeline").debug("m v1", exc_info=error)
            logging.getLogger("publisher").setLevel(logging.NOTSET)
        assert "ZeroDivisionError" in stream.getvalue()
        assert len(stream.getvalue().splitlines()) == 1 or form == "text"


def test_a_long_stage_tells_its_bytes_now_and_then() -> None:
    """A stage of minutes says how far it is, over all of its tasks."""
    now = iter([0.0, 29.0, 31.0, 32.0])
    stream = io.StringIO()
    with LogProgress(stream, "json", clock=lambda: next(now)) as log:
        log.stage(SUBJECT, "fetch")
        log.expect(SUBJECT, "a", 3_000_000)
        log.expect(SUBJECT, "b", 1_000_000)
        for _ in range(3):
            log.advance(SUBJECT, "a", 500_000)
    [event] = events(stream)
    assert (event["stage"], event["bytes"], event["total"]) == ("fetch", 1_000_000, 4_000_000)


def test_bytes_are_counted_from_many_threads() -> None:
    """No byte is lost when several threads advance one task, and no line is torn."""
    stream = io.StringIO()
    with LogProgress(stream, "json") as log:
        log.stage(SUBJECT, "push")

        def work() -> None:
            for _ in range(2_000):
                log.advance(SUBJECT, "blob", 1)
            log.note(SUBJECT, "x" * 5_000)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.end(SUBJECT, "push", 1, "done")
    found = events(stream)
    assert len(found) == 9
    assert found[-1]["bytes"] == 16_000


def test_the_work_goes_on_when_the_reader_is_gone() -> None:
    """A listener never raises: not for a closed stream, not for a broken pipe."""
    stream = io.StringIO()
    log = LogProgress(stream, "json")
    stream.close()
    log.note(SUBJECT, "still here")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", closefd=True) as broken:  # noqa: PTH123 - a descriptor
        LogProgress(broken, "text").note(SUBJECT, "still here")
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # else closing would flush into the pipe again


def test_the_format_follows_the_stream_unless_it_is_named() -> None:
    """JSON where no terminal is, drawing where one is, and what is asked for anywhere."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert [of_stream(io.StringIO(), wanted) for wanted in ("auto", "text", "json")] == [
        "json",
        "text",
        "json",
    ]
    assert [of_stream(Terminal(), wanted) for wanted in ("auto", "text", "json")] == [None, "text", "json"]


def test_structlog_is_imported_with_the_first_event_alone() -> None:
    """It takes a tenth of a second, which neither --help nor a command without events waits for."""
    code = (
        "import sys, publisher.cli, publisher.logs\nlog = publisher.logs.LogProgress(sys.stderr, 'json')\n"
        "assert 'structlog' not in sys.modules\nlog.note('', 'x')\nassert 'structlog' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
