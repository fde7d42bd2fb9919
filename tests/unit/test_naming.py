"""Names of images."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import BuildError
from publisher.naming import LONGEST, image_name, repository_name
from publisher.oci.reference import Reference, is_tag

# distribution-spec 1.1, "Pulling manifests": <name>, for one path component; and what ECR and GitLab take of it.
OCI = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*")
NARROW = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
# What is written is what stays: a name of this table that changes moves somebody's images.
KNOWN = {
    "pltr_foundry_model": "pltr_foundry_model",
    "fraud-model": "fraud-model",
    "a.b_c-d": "a.b_c-d",
    "Fraud Model": "fraud-model-0bf0209d1b64b0d77062",
    "fraud model": "fraud-model-8ddd64345d7b2d94217f",
    "team/fraud": "team-fraud-5a8c1bb9607b8b9609d7",
    "Über-Modell": "uber-modell-94c4b11edd2559bcacd3",
    "模型": "model-c98e118e0a43f078bac8",
    "🚀": "model-ebbc0b2870eb323f2b6c",
    "x__y": "x-y-500bae16bbedfd04b4c9",
    "x": "x-2d711642b726b0440162",
    "..": "model-5ec1f7e700f37c3d0b29",
    "publisher-cache": "publisher-cache-663746e9a4e2537cf800",
    "../../etc": "etc-74ccf3c5b4c19a8167f9",
    "a\nRUN b": "a-run-b-2c594d91c44bb1f9cac4",
    "a" * 300: "a" * 60 + "-9835fa6bf4e20a9b9ea8",
}
HOSTILE = [
    "",
    " ",
    "-",
    "\0",
    "@evil",
    "evil.example.org/x:v1",
    "\u202eedoc",
    "\ud800",
    "{registry}",
    "v1",
    "_a",
]
# Where maps of names break: case, separators, script, composed and decomposed, and forms that imitate ours.
names = st.one_of(
    st.text(min_size=1, max_size=300),
    st.text("aAbB-_. /é", min_size=1, max_size=8),
    st.from_regex(r"[a-z]{1,4}-[0-9a-f]{8,40}", fullmatch=True),
)


def forms(name: str) -> set[str]:
    """Names that a careless map takes for `name`, and the one that its own repository imitates."""
    normal = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    shaped = {
        name.lower(),
        name.upper(),
        name.replace(" ", "-"),
        name.replace("-", "_"),
        f"{name} ",
        f"{name}-",
    }
    return {name, *normal, *shaped, repository_name(name)}


@given(names)
@example("é")
@example("Fraud Model")
@example("x__y")
def test_names_that_resemble_each_other_stay_apart(name: str) -> None:
    """Case, spaces, normal forms and a name that imitates a repository of ours: each its own repository."""
    found = forms(name)
    assert len({repository_name(each) for each in found}) == len(found)


@given(names)
def test_every_name_is_one_that_all_registries_take(name: str) -> None:
    """Whatever a model is called, its repository fits the grammar and leaves room, and is a tag as well."""
    for each in (name, *HOSTILE, *KNOWN):
        found = repository_name(each)
        assert OCI.fullmatch(found)
        assert NARROW.fullmatch(found)
        assert 2 <= len(found) <= LONGEST
        assert is_tag(found)
        assert Reference.parse(f"registry.example.org/{found}:v1").repository.name == found


def test_names_stay_what_they_are() -> None:
    """The documented form: plain names as they are, others readable with 20 hex digits of their SHA-256."""
    for name, expected in KNOWN.items():
        assert repository_name(name) == expected


def test_the_pages_examples_are_true() -> None:
    """The table of docs/names.md has what the code makes."""
    page = (Path(__file__).parents[2] / "docs" / "names.md").read_text("utf-8")
    shown = re.findall(r"^\| `([^`{]+)` \| `([^`{]+)` \|$", page, re.MULTILINE)
    assert len(shown) == 4
    assert [(name, repository_name(name)) for name, _ in shown] == shown


def test_a_models_name_cannot_imitate_anothers_repository() -> None:
    """Somebody who registers a model under the very repository of another gets one of their own."""
    theirs = repository_name("Fraud Model")
    assert repository_name(theirs) not in (theirs, repository_name("fraud-model"))


def version(name: str = "m") -> ModelVersion:
    return ModelVersion(name, "3", "", datetime(2026, 1, 1, tzinfo=UTC))


def test_the_template_is_the_target_s() -> None:
    """The default is <registry>/<model>:v<version>; a template that makes no reference is an error with a hint."""
    target = Target("T", "TAG", "quay.io/domino", (Platform("linux", "amd64"),), "base")
    assert image_name(target, version("mm")) == "quay.io/domino/mm:v3"
    broken = Target("T", "TAG", "quay.io/domino", (), "base", image="{registry}/{model}:v{version}@x")
    with pytest.raises(BuildError, match="is not an image reference"):
        image_name(broken, version())


def test_no_model_is_written_into_the_cache() -> None:
    """A model that is called like the cache repository would write its images among what builds remember."""
    default = Target("T", "TAG", "quay.io/domino", (), "base")
    assert image_name(default, version("publisher-cache")) != "quay.io/domino/publisher-cache:v3"
    own = Target("T", "TAG", "quay.io/domino", (), "base", cache="{registry}/fraud")
    with pytest.raises(BuildError, match="is the cache of the target T"):
        image_name(own, version("fraud"))
    assert image_name(own, version("Fraud")).startswith("quay.io/domino/fraud-")


def test_a_name_with_its_host_has_255_characters_at_most() -> None:
    """Clients count the host too; a registry whose prefix leaves no room is told."""
    long = Target("T", "TAG", "registry.example.org/" + "/".join(["prefix"] * 23), (), "base")
    with pytest.raises(BuildError, match="more than 255 characters"):
        image_name(long, version("a" * 90))
