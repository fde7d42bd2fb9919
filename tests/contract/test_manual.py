"""What people do by hand, `publisher retry` and `publisher withdraw`, and what a poll then does."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from publisher.cli import withdraw as command
from tests.contract.situations import published, replaced, said
from tests.contract.world import World, now
from tests.engines import bare_client
from tests.engines.registry import running

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


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


def test_a_registry_that_deletes_nothing_says_so(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The image stays, the exit code is the registry's, and polls leave the version alone all the same."""
    with running(tmp_path / "registry", deletes=False) as keeps:
        keys = {"registry": f"{keeps.host}/kept"}
        number = world.register(EXTERNAL_TARGET_KEPT="true")
        assert world.poll("KEPT", **keys)[number][0] == "published"
        with world.app("KEPT", **keys) as app:
            assert command.run(contextlib.nullcontext(app), world.model, number, None, json=True) == 12
        (change,) = json.loads(capsys.readouterr().out)["changes"]
        assert (change["state"], change["exit_code"]) == ("failed", 12)
        assert "polls leave it alone from now on" in change["reason"]
        assert bare_client.of_reference(change["image"])
        assert world.poll("KEPT", **keys)[number][0] == "skipped"
