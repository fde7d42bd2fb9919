"""`publisher explain` tells the truth: what it says of a version is what a poll then does with it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest

from publisher import __version__
from publisher.domain import Status
from publisher.explain import Explanation
from tests.contract.world import World, now

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
DIGEST = "sha256:" + "d" * 64


@dataclass(frozen=True)
class Case:
    """`make` brings a version of a target about, and returns its number. `words`: what the explanation says."""

    make: Callable[[World, str, str], str]
    action: str
    words: tuple[str, ...]
    keys: tuple[tuple[str, str], ...] = ()  # settings of the target that differ afterwards


def tagged(world: World, target: str, tag: str) -> str:
    return world.register(**{tag: "true"})


def with_value(value: str) -> Callable[[World, str, str], str]:
    return lambda world, target, tag: world.register(**{tag: value})


def untagged(world: World, target: str, tag: str) -> str:
    return world.register()


def for_another(world: World, target: str, tag: str) -> str:
    return world.register(EXTERNAL_TARGET_ELSEWHERE="true")


def published(world: World, target: str, tag: str) -> str:
    number = tagged(world, target, tag)
    assert world.poll(target)[number][0] == "published"
    return number


def gone(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.remove(target, number)
    return number


def replaced(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.occupy(target, number)
    return number


def occupied(world: World, target: str, tag: str) -> str:
    number = tagged(world, target, tag)
    world.occupy(target, number)
    return number


def forgotten(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    for key in world.server.tags(world.model, number):
        if key.startswith("publisher."):
            world.server.client().delete_model_version_tag(world.model, number, key)
    return number


def said(**status: object) -> Callable[[World, str, str], str]:
    def make(world: World, target: str, tag: str) -> str:
        number = tagged(world, target, tag)
        world.say(number, target, Status(image=world.image(target, number), release=__version__, **status))  # type: ignore[arg-type]
        return number

    return make


def failed_then_changed(world: World, target: str, tag: str) -> str:
    number = said(state="failed", reason="no such thing", attempts=1, updated=now())(world, target, tag)
    world.tag(number, MODEL_ENTRY_POINT="python3")
    return number


def failed_for_good(world: World, target: str, tag: str) -> str:
    number = world.register(MODEL_FOLDER="elsewhere", **{tag: "true"})
    assert world.poll(target)[number][0] == "failed"
    return number


def published_then_changed(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    world.tag(number, MODEL_ENTRY_POINT="python3")
    return number


def withdrawn(world: World, target: str, tag: str) -> str:
    number = published(world, target, tag)
    with world.app(target) as app:
        (change,) = app.withdraw(world.model, number, None)
    assert (change.state, change.exit_code) == ("withdrawn", 0)
    return number


def wrong_folder(world: World, target: str, tag: str) -> str:
    return world.register(MODEL_FOLDER="../secrets", **{tag: "true"})


def no_files(world: World, target: str, tag: str) -> str:
    return world.register(files=False, **{tag: "true"})


def nonsense(world: World, target: str, tag: str) -> str:
    return world.register(requirements="six==1.16.0\n--trusted-host evil\n", **{tag: "true"})


CASES = {
    "never published": Case(
        tagged, "publish", ("none: nothing was recorded", "selected: its tag", "there is no")
    ),
    "published": Case(published, "skip", ("published on", "is there as sha256:", "as the status says")),
    "published, gone from the registry": Case(gone, "skip", ("the registry has no", "brings it back")),
    "published, replaced in the registry": Case(
        replaced, "skip", ("somebody replaced it", "not made by publisher")
    ),
    "not published, the tag is taken": Case(
        occupied, "fail", ("is there already as", "not made by publisher")
    ),
    "published, and the status was lost": Case(forgotten, "publish", ("made from this version",)),
    "failed, next try to come": Case(
        said(state="failed", reason="down", attempts=3, updated=now(), next_try=now() + timedelta(hours=1)),
        "skip",
        ("after 3 attempts: down", "next try: at "),
    ),
    "failed, next try is due": Case(
        said(state="failed", reason="down", attempts=3, updated=now(), next_try=now() - timedelta(hours=1)),
        "publish",
        ("after 3 attempts: down", "with the next poll"),
    ),
    "failed for good": Case(failed_for_good, "skip", ("none of itself", "MODEL_FOLDER", "publisher retry")),
    "failed, then changed": Case(failed_then_changed, "publish", ("have changed since",)),
    "being published by another": Case(
        said(state="publishing", attempts=1, updated=now()), "skip", ("began attempt 1",)
    ),
    "another publisher stopped long ago": Case(
        said(state="publishing", attempts=1, updated=now() - timedelta(hours=5)),
        "publish",
        ("began attempt 1",),
    ),
    "a publisher gave it up": Case(
        said(state="stopped", attempts=1, reason="asked to end", updated=now()),
        "publish",
        ("given up", "asked to end"),
    ),
    "its tag says false": Case(with_value("false"), "skip", ("not selected", "'false'")),
    "its tag says nothing known": Case(with_value("ture"), "skip", ("not selected", "'ture'", "write true")),
    "it has no tag": Case(untagged, "ignore", ("not selected: it has no tag",)),
    "its target is not configured here": Case(for_another, "ignore", ("EXTERNAL_TARGET_ELSEWHERE",)),
    "changed after it was published": Case(published_then_changed, "skip", ("have changed since", "--force")),
    "an extra tag is asked for since": Case(
        published, "tag", ("stable asked for, none there", "extra tags up to date"), (("tags", "stable"),)
    ),
    "withdrawn": Case(withdrawn, "skip", ("withdrawn on", "there is no", "publisher retry")),
    "MODEL_FOLDER leads out": Case(wrong_folder, "fail", ("files: ", "'../secrets'")),
    "no artifacts": Case(no_files, "fail", ("has no artifacts", "environment: not known")),
    "requirements that are none": Case(nonsense, "fail", ("environment: problem", "--trusted-host")),
    "no base image": Case(tagged, "fail", ("base image: problem",), (("base", "oci:/nowhere"),)),
    "the model's Python is not the base image's": Case(
        tagged, "fail", ("needs Python 3.9",), (("python", "3.9"),)
    ),
    "the template makes no name": Case(
        tagged, "fail", ("name: problem",), (("registry", "127.0.0.1:1/" + "x" * 250),)
    ),
}
# What a poll tells of a version for which this was foretold.
STATES = {"publish": "published", "tag": "tagged", "skip": "skipped", "fail": "failed"}


@pytest.mark.parametrize("situation", CASES)
def test_a_poll_does_what_was_told(world: World, situation: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In each situation the explanation says so, changes nothing, and the next poll does what it foretold."""
    case = CASES[situation]
    target = f"S{list(CASES).index(situation)}"
    number = case.make(world, target, f"EXTERNAL_TARGET_{target}")
    keys = dict(case.keys)
    before, asked = world.server.tags(world.model, number), writes(world)

    found = explained(world, target, number, keys)
    text = printed(found, capsys)
    (told,) = found.targets
    for words in case.words:
        assert words in text
    assert told.poll.action == case.action, text
    assert world.server.tags(world.model, number) == before
    assert writes(world) == asked

    done = world.poll(target, **keys)
    if case.action == "ignore":
        assert number not in done
        return
    state, reason = done[number]
    assert state == STATES[case.action]
    if case.action == "skip":
        assert told.poll.reason == reason
    if case.action == "fail" and situation != "not published, the tag is taken":
        assert reason in told.poll.reason  # the very words that end up in its status


def test_one_failing_step_hides_no_other(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Without files and with a base image that is nowhere, name, status and registry are told all the same."""
    number = world.register(files=False, EXTERNAL_TARGET_ALL="true")
    text = printed(explained(world, "ALL", number, {"base": "oci:/nowhere"}), capsys)
    for topic in (
        "version",
        "files",
        "program",
        "selection",
        "status",
        "name",
        "registry",
        "next try",
        "next poll",
    ):
        assert f"  {topic}: " in text, text


def test_every_configured_target_is_told(world: World) -> None:
    """The JSON has a block for each target, the selected one and the other."""
    number = world.register(EXTERNAL_TARGET_ONE="true")
    from publisher.cli.explain import explanation_json  # noqa: PLC0415

    with world.app("ONE", tag="EXTERNAL_TARGET_ONE") as app:
        document = explanation_json(app.explain(world.model, number, None))
    assert [(each["target"], each["selected"]) for each in document["targets"]] == [("ONE", True)]
    facts = {each["topic"]: each["facts"] for each in document["targets"][0]["findings"]}
    assert facts["environment"]["origin"] == "requirements.txt"
    assert facts["builder"] == {"builder": "layers"}
    assert facts["registry"]["digest"] is None


def test_retry_brings_back_what_failed_and_what_was_withdrawn(world: World) -> None:
    """After `retry` the next poll takes a version that it had left alone."""
    number = said(state="failed", reason="for good", attempts=2, updated=now())(
        world, "AGAIN", "EXTERNAL_TARGET_AGAIN"
    )
    assert world.poll("AGAIN")[number][0] == "skipped"
    with world.app("AGAIN") as app:
        assert [change.state for change in app.retry(world.model, number, None)] == ["due"]
    assert world.poll("AGAIN")[number][0] == "published"
    with world.app("AGAIN") as app:
        assert [change.state for change in app.retry(world.model, number, None)] == ["unchanged"]
        assert [change.state for change in app.withdraw(world.model, number, None)] == ["withdrawn"]
    assert world.poll("AGAIN")[number][0] == "skipped"
    with world.app("AGAIN") as app:
        assert [change.state for change in app.retry(world.model, number, None)] == ["due"]
    assert world.poll("AGAIN")[number][0] == "published"


def test_withdraw_leaves_what_is_not_ours(world: World) -> None:
    """An image that somebody else put there stays, whatever the status tags name, and polls leave it alone."""
    number = replaced(world, "THEIRS", "EXTERNAL_TARGET_THEIRS")
    other = published(world, "THEIRS", "EXTERNAL_TARGET_THEIRS")
    # Whoever may write tags names another image in the status: it is not removed by that.
    world.tag(number, **{"publisher.THEIRS.image": world.image("THEIRS", other)})
    with world.app("THEIRS") as app:
        (change,) = app.withdraw(world.model, number, ["THEIRS"])
    assert change.state == "withdrawn"
    assert "stays: it is sha256:" in change.reason
    with world.app("THEIRS") as app:
        told = app.explain(world.model, other, None).targets[0]
    assert {each.topic: each.facts for each in told.findings}["registry"]["agrees"] is True


def explained(world: World, target: str, number: str, keys: dict[str, str]) -> Explanation:
    with world.app(target, **keys) as app:
        return app.explain(world.model, number, None)


def printed(found: Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    from publisher.cli.explain import print_explanation  # noqa: PLC0415

    print_explanation(found, sys.stdout)
    return capsys.readouterr().out


def writes(world: World) -> int:
    return sum(len(world.registry.requests(method)) for method in ("PUT", "POST", "PATCH", "DELETE"))
