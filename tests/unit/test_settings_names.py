"""Settings that decide about names: templates of images and tags, and targets that would meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.domain import Target
from publisher.errors import SettingsError
from publisher.settings import load

MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}


def targets(folder: Path, **tables: str) -> tuple[Target, ...]:
    file = folder / "publisher.toml"
    file.write_text("\n".join(f"[targets.{name}]\n{text}" for name, text in tables.items()))
    return load({}, MLFLOW, file).targets


def fault(folder: Path, **tables: str) -> str:
    with pytest.raises(SettingsError) as caught:
        targets(folder, **tables)
    (only,) = caught.value.faults
    return only


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('image = "{registry}/{model}{version}:x"', "must have something other than digits between"),
        ('image = "{registry}/all:{version}0{model}"', "must have something other than digits between"),
        (f'image = "{{registry}}/{"long/" * 29}{{model}}:v{{version}}"', "leaves no room for a model's name"),
        (
            'image = "{registry}/all:{model}-of-the-team-of-teams-v{version}"',
            "leaves no room for a model's name",
        ),
        ('tags = ["{alias"]', "has a brace that is no placeholder; known: {model}, {version}, {alias}"),
        ('tags = ["{stage}"]', "has a brace that is no placeholder"),
        ('tags = ["{registry}"]', "has a brace that is no placeholder"),
        ('tags = ["v{version}"]', "'v{version}' is the version's own tag"),
        ('tags = ["{alias}:x"]', "does not make a tag; expected a list of tags such as"),
        ('tags = ["latest "]', None),
        ('tags = ["-{alias}"]', "does not make a tag"),
        ('tags = [""]', "does not make a tag"),
        ("tags = 7", "expected a list of tags"),
        (
            'image = "{registry}/all:{model}-v{version}"\ntags = ["{alias}"]',
            "needs a repository for each model",
        ),
        ('image = "{registry}/fixed:v{version}"\ntags = ["{alias}"]', "needs a repository for each model"),
        ('image = "{registry}/{model}/v{version}"\ntags = ["{alias}"]', "needs a repository for each model"),
    ],
)
def test_templates_that_are_refused(line: str, expected: str | None, tmp_path: Path) -> None:
    """Each wrong template is one fault at its own key, which says what is wrong with it."""
    text = f'registry = "quay.io/team"\n{line}'
    if expected is None:
        assert targets(tmp_path, demo=text)[0].tags == ("latest",)
        return
    told = fault(tmp_path, demo=text)
    assert told.startswith(f"targets.demo.{'tags' if 'tags' in line else 'image'} in ")
    assert expected in told


def test_tags_as_a_list_and_in_a_variable(tmp_path: Path) -> None:
    """A list in the file, commas in a variable, each template once."""
    wanted = ("{alias}", "{version}-{date}", "latest-{tags[stage]}")
    (only,) = targets(tmp_path, demo=f'registry = "quay.io/team"\ntags = {[*wanted, wanted[0]]}')
    assert only.tags == wanted
    variables = {
        "PUBLISHER_TARGETS__X__REGISTRY": "quay.io/a",
        "PUBLISHER_TARGETS__X__TAGS": ", ".join(wanted),
    }
    assert load({}, {**MLFLOW, **variables}).targets[0].tags == wanted


SAME = "would write the same images as targets.one"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('registry = "quay.io/team"', 'registry = "quay.io/team"\nplatforms = ["linux/arm64"]'),
        (
            'registry = "quay.io/team"\nimage = "{registry}/x/{model}:v{version}"',
            'registry = "quay.io/team/x"',
        ),
        ('registry = "docker.io/team"', 'registry = "index.docker.io/team"'),
        ('registry = "oci:a"', 'registry = "oci:a"'),
        ('registry = "oci:a"', 'registry = "oci:../{folder}/a"'),
        (
            'registry = "quay.io/a"\nimage = "{registry}/{model}:{version}-two"',
            'registry = "quay.io/a"\nimage = "{registry}/{model}:{version}-{target}"',
        ),
    ],
)
def test_two_targets_of_the_same_image_are_refused(one: str, two: str, tmp_path: Path) -> None:
    """However it is written: what would be the same image is one fault, which tells how to keep them apart."""
    told = fault(tmp_path, one=one, two=two.replace("{folder}", tmp_path.name))
    assert SAME in told
    assert "put {target} into" in told
    assert told.startswith("targets.two")


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('tags = ["{alias}"]', 'image = "{registry}/{model}:v{version}-{target}"'),
        ("", 'image = "{registry}/{model}:v{version}-{target}"\ntags = ["{alias}"]'),
        ('tags = ["latest"]', 'image = "{registry}/{model}:{target}-{version}"\ntags = ["latest"]'),
        ('tags = ["{target}-{alias}"]', 'image = "{registry}/{model}:x{version}"\ntags = ["{tags[x]}"]'),
        (
            'tags = ["{version}-{date}"]',
            'image = "{registry}/{model}:x{version}"\ntags = ["{version}-{tags[a.b]}"]',
        ),
    ],
)
def test_tags_that_two_targets_would_fight_for_are_refused(one: str, two: str, tmp_path: Path) -> None:
    """In one repository an extra tag of one target must not be able to be any tag of another."""
    told = fault(tmp_path, one=f'registry = "quay.io/a"\n{one}', two=f'registry = "quay.io/a"\n{two}')
    assert "may be a tag of targets." in told
    assert ".tags in " in told


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("", 'image = "{registry}/{model}:v{version}-{target}"'),
        ("", 'image = "{registry}/{target}/{model}:v{version}"\ntags = ["{alias}"]'),
        (
            'tags = ["{target}-{alias}"]',
            'image = "{registry}/{model}:{target}.{version}"\ntags = ["{target}-{alias}", "{target}-latest"]',
        ),
        (
            'tags = ["{version}.{date}"]',
            'image = "{registry}/{model}:v{version}-two"\ntags = ["{version}-{date}"]',
        ),
    ],
)
def test_targets_that_share_a_registry(one: str, two: str, tmp_path: Path) -> None:
    """The same registry with other names is what targets of other platforms want."""
    text = {"one": f'registry = "quay.io/a"\n{one}', "two": f'registry = "quay.io/a"\n{two}'}
    assert len(targets(tmp_path, **text)) == 2
