"""docs/json.md names every key that --json prints, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from publisher.cache_folder import CacheFolder
from publisher.checks.program import Start
from publisher.checks.sizes import Weight
from publisher.checks.verdict import Finding as Fault
from publisher.checks.verdict import Verdict
from publisher.cli import app, main
from publisher.cli.cache import cache_json
from publisher.cli.changes import change_json
from publisher.cli.doctor import check_json
from publisher.cli.download import download_json
from publisher.cli.explain import explanation_json
from publisher.cli.inspect import inspection_json
from publisher.cli.outcomes import outcome_json
from publisher.cli.own_image import own_image_json
from publisher.cli.render import rendered_json
from publisher.cli.status import status_json
from publisher.cli.targets import target_json
from publisher.context_folder import RenderedContext
from publisher.doctor import Check
from publisher.domain import Decision, ModelVersion, Outcome, Platform, SourceFile, Status, Target
from publisher.explain import Explanation, Finding, Forecast, ForTarget
from publisher.inspection import HeldLayer, Inspected
from publisher.json_output import to_json
from publisher.manual import Change
from publisher.ownimage import OwnImage

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
VERSION = ModelVersion("m", "3", "models:/m-1", datetime(2026, 11, 22, tzinfo=UTC))
TARGET = Target("DEMO", "T", "quay.io/a", (Platform("linux", "arm64"),), {"3.11": "b"})
ROW: Any = SimpleNamespace(
    version=VERSION, target="D", image="i", status=Status("published"), decision=Decision("skip", "")
)
FOUND = (Finding("files", "ok", "there", {"a": 1}),)
EXPLAINED = Explanation(VERSION, FOUND, (ForTarget("D", True, FOUND, Forecast("skip", "")),))
RENDERED = RenderedContext(VERSION, TARGET, "i", Path("/d"), "site", (SourceFile("Dockerfile", 1),), ())

# The head of a section: a document of that command, and where in it the table's keys are.
SHAPES: Mapping[str, Any] = {
    "publisher poll, publisher publish": outcome_json(Outcome(VERSION, "D", "published", "")),
    "publisher status": status_json(ROW),
    "publisher retry, publisher withdraw": change_json(Change(VERSION, "D", "due", "")),
    "publisher doctor": check_json(Check("disk", "work_folder", "ok", "")),
    "publisher download": download_json(VERSION, Path("/d")),
    "publisher render": {
        **rendered_json(RENDERED),
        **{f"files[].{key}": value for key, value in rendered_json(RENDERED)["files"][0].items()},
    },
    "publisher own-image": own_image_json(OwnImage("i", "sha256:1", TARGET.platforms)),
    "publisher cache": cache_json(CacheFolder(Path("/nowhere")), [], None),
}


def documented(title: str) -> set[str]:
    """The keys that a section's table names."""
    sections = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    (body,) = [text for text in sections if text.partition("\n")[0] == title]
    cells = [line.split("|")[1] for line in body.splitlines() if line.startswith("| `")]
    return {key for cell in cells for key in re.findall(r"`([^`]+)`", cell)}


@pytest.mark.parametrize("title", SHAPES)
def test_each_key_is_documented(title: str) -> None:
    """A section's table has the keys of its document, each of them."""
    assert documented(title) == set(SHAPES[title])


def test_an_explanations_keys_are_documented() -> None:
    """Nested keys are written with their path; facts belong to their topic."""
    assert documented("publisher explain") == {
        key
        for key in paths(explanation_json(EXPLAINED))
        if ".facts." not in key and "s[].findings[]" not in key
    } - {"targets[].poll.reason"}


def test_an_inspections_keys_are_documented() -> None:
    """Findings and notes have the same keys, which are written once."""
    finding = Fault("/x", "sha256:1", "text", "remedy")
    verdict = Verdict("binaries", "failed", "text", (finding,), (finding,))
    start = Start(("a", "b"), {}, "/", "0")
    weight = Weight("/x", None, 1, 1)
    layer = HeldLayer("sha256:1", 1, "x")
    each = Inspected(TARGET.platforms[0], "sha256:2", start, ("a",), "", (layer,), verdict, (weight,))
    keys = set(paths(inspection_json("x", "sha256:3", [each])))
    assert documented("publisher inspect") == {key for key in keys if ".notes[]" not in key}


def paths(document: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in document.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from paths(value, f"{above}{key}.")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            yield from paths(value[0], f"{above}{key}[].")


def test_a_target_has_every_key_of_its_settings() -> None:
    """The JSON of a target is its settings as they were resolved, in values of JSON."""
    found = json.loads(to_json(target_json(TARGET, {"DEMO": 4})))
    assert set(found) == {"target", "versions"} | {each.name for each in fields(Target)} - {"name"}
    assert (found["target"], found["versions"]) == ("DEMO", 4)
    assert (found["platforms"], found["base"]) == (["linux/arm64"], {"3.11": "b"})
    assert documented("publisher targets") == {"target", "versions"}


def test_every_command_takes_json() -> None:
    """There is no command whose result a script could not read, and none without its section.

    What a Job of ours runs is no command for anybody else: its result is in the pod's termination message."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    titles = " ".join(re.findall(r"^## (.*)", PAGE.read_text("utf-8"), re.MULTILINE))
    for name, command in commands.items():
        assert name == "build-platform" or "--json" in {o for each in command.params for o in each.opts}, name
        assert command.hidden or f"publisher {name}" in titles


def test_healths_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A probe's answer can be read by a script too."""
    assert main(["health", str(tmp_path / "none.json"), "--json"]) == 21
    found = json.loads(capsys.readouterr().out)
    assert set(found) == documented("publisher health")
    assert found["well"] is False
    assert found["reason"]
