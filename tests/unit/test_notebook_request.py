"""What is wrong with a registration is told before any server is asked, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from publisher.errors import RegistrationError
from publisher.notebook.here import Here
from publisher.notebook.request import Request
from publisher.redaction import redacted
from publisher.settings import load

URI = "http://127.0.0.1:9"


def here(**registries: str) -> Here:
    environ = {f"PUBLISHER_TARGETS__{name}__REGISTRY": place for name, place in registries.items()}
    return Here(load({}, {"MLFLOW_TRACKING_URI": URI, **environ}))


def faults(place: Here, name: str = "fraud", target: Any = None, **said: Any) -> list[str]:
    with pytest.raises(RegistrationError) as caught:
        Request.of(place, name, target, **said)
    return caught.value.faults


EDGE = here(EDGE="quay.io/team", PARIS="quay.io/paris")


def test_targets_become_their_tags() -> None:
    """Case and dashes do not matter, as they do not for a tag; without settings any name is taken."""
    assert Request.of(EDGE, "fraud", "edge").tags == {"EXTERNAL_TARGET_EDGE": "true"}
    assert [each.name for each in Request.of(EDGE, "fraud", ["paris", "EDGE"]).targets] == ["PARIS", "EDGE"]
    assert Request.of(here(ONE="quay.io/a"), "fraud", None).targets[0].name == "ONE"
    alone = Request.of(here(), "fraud", "far-away")
    assert (alone.targets[0].target, alone.tags) == (None, {"EXTERNAL_TARGET_FAR_AWAY": "true"})


def test_targets_that_cannot_be() -> None:
    """The settings' own are named; where there are several, or none, one must be said."""
    assert faults(EDGE, target="nope") == ["there is no target 'nope'; the settings here have EDGE, PARIS"]
    assert faults(EDGE) == ['no target is named: say target="NAME" (there are: EDGE, PARIS)']
    assert faults(here()) == ['no target is named: say target="NAME"']
    assert "is no name of a target" in faults(here(), target="a b")[0]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """Each fault has its place in one error, and the tags of targets are written last of all."""
    (tmp_path / "empty").mkdir()
    found = faults(
        EDGE,
        "a/b",
        "nope",
        client=tmp_path / "none",
        templates=tmp_path / "empty",
        execute_path="client/app.py",
        tags={"publisher.EDGE.state": "published", "MODEL_EXECUTE_PATH": "x", "EXTERNAL_TARGET_EDGE": "true"},
    )
    said = "\n".join(found)
    for part in ("no target 'nope'", "is no folder of this machine", "is empty", "has no file 'app.py'"):
        assert part in said
    for part in (
        "one that the publisher writes",
        "said by execute_path=",
        "said by target=",
        "MLflow takes in no",
    ):
        assert part in said
    request = Request.of(EDGE, "fraud", ["edge", "paris"], tags={"z": 1}, entry_point="python")
    assert list(request.tags)[-2:] == ["EXTERNAL_TARGET_EDGE", "EXTERNAL_TARGET_PARIS"]


def test_a_program_must_be_where_it_is_said_to_be(tmp_path: Path) -> None:
    """A path into the client folder needs that folder and the file in it; other programs are the image's own."""
    (tmp_path / "app.py").write_text("")
    assert "there is no client=" in faults(EDGE, target="edge", execute_path="client/app.py")[0]
    for path in ("client/app.py", "/app/client/app.py", "/usr/bin/true"):
        Request.of(EDGE, "fraud", "edge", client=tmp_path, execute_path=path)
    assert "'other.py'" in faults(EDGE, target="edge", client=tmp_path, execute_path="client/other.py")[0]


def test_credentials_are_no_tags() -> None:
    """A secret that this process knows, one in a URL, and one under a secret's name; none is in the message."""
    redacted.learn("nb-canary-4711")
    for tags in (
        {"note": "it is nb-canary-4711"},
        {"nb-canary-4711": "x"},
        {"data": "https://user:nb-canary-4712@example.org/"},
        {"API_TOKEN": "nb-canary-4713"},
    ):
        [said] = faults(EDGE, target="edge", tags=tags)
        assert "credential" in said
        assert "nb-canary" not in said
    assert "credential" in faults(EDGE, "nb-canary-4711", "edge")[0]
    assert "credential" in faults(EDGE, target="edge", entry_point="run --key nb-canary-4711")[0]


@pytest.mark.parametrize("name", ["", " ", "a:b", "a\nb", "a\0b"])
def test_names_of_models(name: str) -> None:
    """What MLflow takes in no name is told without asking it."""
    assert len(faults(EDGE, name, "edge")) == 1


def test_names_that_make_no_image() -> None:
    """The target's own rule for images is asked."""
    long = here(LONG=f"registry.example.org/{'x' * 200}")
    assert "is not an image reference" in faults(long, "m" * 100, "long")[0]


def test_a_notebook_shows_one_line() -> None:
    """IPython draws this in place of a traceback, without a credential."""
    redacted.learn("nb-canary-4711")
    error = RegistrationError("no", hint="Say nb-canary-4711.", detail="a\nb")
    assert error._render_traceback_() == ["RegistrationError: no. Say ***.", "a", "b"]
