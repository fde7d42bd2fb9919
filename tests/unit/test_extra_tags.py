"""Extra tags out of templates: which are wanted, and what can never be one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.domain import ModelVersion, Platform, Target
from publisher.extra_tags import MOST, placeholders, wanted
from publisher.oci.reference import is_tag

TARGET = Target("Edge_1", "TAG", "quay.io/team", (Platform("linux", "amd64"),), "base")
VERSION = ModelVersion(
    "Fraud Model", "3", "", datetime(2026, 7, 22, 23, 59, tzinfo=UTC), tags={"stage": "beta"}
)
TEMPLATES = ("{alias}", "{tags[stage]}", "x-{tags[stage]}", "{version}{alias}", "{date}_{target}", "{model}")


def names(version: ModelVersion, *templates: str) -> list[str]:
    return [tag.name for tag in wanted(version, replace(TARGET, tags=templates)).tags]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{alias}", ["champion", "prod"]),
        ("{alias}-{version}", ["champion-3", "prod-3"]),
        ("{version}-{date}", ["3-2026-07-22"]),
        ("{target}", ["edge_1"]),
        ("{model}-latest", ["fraud-model-0bf0209d1b64b0d77062-latest"]),
        ("latest-{tags[stage]}", ["latest-beta"]),
        ("latest-{tags[team]}", []),
        ("latest", ["latest"]),
        ("v{version}", []),
    ],
)
def test_what_a_template_becomes(template: str, expected: list[str]) -> None:
    """Each placeholder has its value, an alias makes a tag each, and without a value there is no tag."""
    assert names(replace(VERSION, aliases=("prod", "champion")), template) == expected


def test_a_models_own_tags_stand_in() -> None:
    """A tag of the registered model gives the value that the version lacks."""
    assert names(replace(VERSION, tags={}, defaults={"stage": "model"}), "{tags[stage]}") == ["model"]


def test_which_tags_follow_an_alias() -> None:
    """The same tag by an alias and by another template follows the alias."""
    found = wanted(
        replace(VERSION, aliases=("beta",)), replace(TARGET, tags=("{tags[stage]}", "{alias}", "x"))
    )
    assert [(tag.name, tag.follows) for tag in found.tags] == [("beta", True), ("x", False)]


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("模型", "other characters"),
        ("champion\n", "other characters"),
        ("a/b", "other characters"),
        ("a:b@sha256:c", "other characters"),
        ("x" * 129, "longer than 128 characters"),
        (".hidden", "begins with . or -"),
        ("v4", "the name of another version"),
        ("v004", "the name of another version"),
        ("sha256-" + "a" * 64 + ".sig", "where signatures are looked for"),
    ],
)
def test_values_that_make_no_tag_are_refused(alias: str, why: str) -> None:
    """Nothing is mended: a refused value makes no tag, and the reason says which it was and why."""
    found = wanted(replace(VERSION, aliases=(alias, "good")), replace(TARGET, tags=("{alias}",)))
    assert [tag.name for tag in found.tags] == ["good"]
    (refused,) = found.refused
    assert why in refused
    assert refused.isprintable()
    assert len(refused) < 200


def test_an_empty_alias_makes_no_tag() -> None:
    """A value of nothing is refused too: `x` is no alias's tag."""
    assert names(replace(VERSION, aliases=("",)), "x{alias}") == []


def test_other_versions_by_the_targets_own_template() -> None:
    """What another version's tag looks like is read from `image`, and the own one is no extra tag."""
    target = replace(TARGET, image="{registry}/{model}:{target}.{version}", tags=("{alias}",))
    found = wanted(replace(VERSION, aliases=("edge_1.4", "edge_1.3", "edge_1x4", "v4")), target)
    assert [tag.name for tag in found.tags] == ["edge_1x4", "v4"]
    assert len(found.refused) == 1


@given(st.lists(st.text(max_size=140), max_size=4), st.text(max_size=140), st.text(max_size=20))
def test_no_value_leads_out_of_its_repository(aliases: list[str], stage: str, name: str) -> None:
    """Whatever aliases, tags and names hold: valid tags, none of them another version's."""
    version = replace(VERSION, name=name, aliases=tuple(aliases), tags={"stage": stage})
    for tag in wanted(version, replace(TARGET, tags=TEMPLATES)).tags:
        assert is_tag(tag.name)
        assert not (tag.name.startswith("v") and tag.name[1:].isdecimal())


def test_a_flood_of_aliases_is_bounded() -> None:
    """Whoever sets aliases does not decide how many requests a registry gets."""
    found = wanted(
        replace(VERSION, aliases=tuple(f"a{n:03}" for n in range(500))), replace(TARGET, tags=("{alias}",))
    )
    assert len(found.tags) == MOST
    assert "436 more than 64" in found.refused[0]


def test_the_fingerprint_tells_what_is_wanted() -> None:
    """It changes with an alias, not with the order of aliases, and is empty where nothing is wanted."""
    target = replace(TARGET, tags=("{alias}",))
    one = wanted(replace(VERSION, aliases=("a", "b")), target).fingerprint
    assert one == wanted(replace(VERSION, aliases=("b", "a")), target).fingerprint
    assert one != wanted(replace(VERSION, aliases=("a",)), target).fingerprint
    assert wanted(VERSION, target).fingerprint == wanted(VERSION, TARGET).fingerprint == ""


def test_a_brace_that_is_no_placeholder() -> None:
    """An unknown placeholder is told with the known ones, and nothing of Python's own formats is one."""
    for template in (
        "{registry}",
        "{alias.__class__}",
        "{alias!r}",
        "{tags[a]:>9}",
        "{",
        "{tags[]}",
        "{{alias}}",
    ):
        with pytest.raises(ValueError, match=r"no placeholder; known: {model}"):
            placeholders(template)
