"""`publisher explain` tells the truth: what it says of a version is what a poll then does with it."""

from __future__ import annotations

import sys

import pytest

from publisher.cli.explain import explanation_json
from publisher.explain import Explanation
from publisher.explained import print_explanation
from tests.contract.situations import CASES, STATES
from tests.contract.world import World

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


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
    with world.app("ONE", tag="EXTERNAL_TARGET_ONE") as app:
        document = explanation_json(app.explain(world.model, number, None))
    assert [(each["target"], each["selected"]) for each in document["targets"]] == [("ONE", True)]
    facts = {each["topic"]: each["facts"] for each in document["targets"][0]["findings"]}
    assert facts["environment"]["origin"] == "requirements.txt"
    assert facts["builder"] == {"builder": "layers"}
    assert facts["profile"] == {"profile": "default", "form": "index"}
    assert facts["registry"]["digest"] is None


def explained(world: World, target: str, number: str, keys: dict[str, str]) -> Explanation:
    with world.app(target, **keys) as app:
        return app.explain(world.model, number, None)


def printed(found: Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    print_explanation(found, sys.stdout)
    return capsys.readouterr().out


def writes(world: World) -> int:
    return sum(len(world.registry.requests(method)) for method in ("PUT", "POST", "PATCH", "DELETE"))
