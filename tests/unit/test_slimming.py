"""The slimmest form that the checks let pass goes out, and the status says which and why."""

from __future__ import annotations

from typing import Any, cast

import pytest

from publisher.checks.verdict import Finding, Verdict
from publisher.domain import Platform
from publisher.proving import Proven
from publisher.slimming import Choice, Form, Level

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
GOOD = Proven(AMD64, Verdict("binaries", "ok", "fine"))
PREDICTS = Proven(AMD64, Verdict("prediction", "ok", "it answers"))
UNSEEN = Proven(ARM64, Verdict("prediction", "not looked at", "a foreign platform"))
FAILS = Proven(
    AMD64,
    Verdict(
        "prediction", "failed", "", (Finding("/app/model", "", "cannot be loaded: No module named 'x'"),)
    ),
)


def form(level: Level, slim: str = "something") -> Form:
    nothing = cast("Any", None)
    return Form(level, nothing, nothing, slim)


@pytest.mark.parametrize(
    ("level", "proven", "falls"),
    [
        ("packages", (GOOD, PREDICTS), True),
        ("packages", (GOOD, PREDICTS, UNSEEN), True),
        ("packages", (GOOD, UNSEEN), False),
        ("packages", (GOOD,), False),
        ("packages", (), False),
        ("packages", (PREDICTS, FAILS), False),
        ("files", (GOOD, UNSEEN), True),
        ("files", (), True),
        ("files", (GOOD, FAILS), False),
        ("whole", (FAILS,), True),
    ],
)
def test_which_form_goes_out(level: Level, proven: tuple[Proven, ...], falls: bool) -> None:
    """mlflow-skinny needs a prediction that was seen to be right; files may go where nothing says otherwise."""
    heard: list[str] = []
    assert Choice(heard.append).falls_on(form(level), proven) is falls
    assert bool(heard) is not falls


def test_what_was_tried_is_told() -> None:
    """The status says what is left out of the image, and why it is not more."""
    choice = Choice(lambda _: None)
    assert not choice.falls_on(form("packages"), (FAILS,))
    assert choice.falls_on(form("files", "files are left out"), (GOOD,))
    assert choice.said == (
        "slim: files are left out; mlflow-skinny was tried, and its prediction failed for linux/amd64: "
        "/app/model cannot be loaded: No module named 'x'"
    )


def test_who_did_not_ask_is_told_nothing() -> None:
    """A target that is not slim has one form, of which there is nothing to say."""
    choice = Choice(lambda _: None)
    assert choice.falls_on(form("whole", ""), ())
    assert choice.said == ""
