"""Which versions MlflowSource finds by a tag, and with how many searches."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from publisher.errors import SettingsError
from publisher.sources.base import MODEL_TAGS
from publisher.sources.mlflow import MlflowSource
from tests.contract.lying_proxy import LyingProxy
from tests.contract.mlflow_lab import TAG, Lab, target

VERSIONS = "GET /api/2.0/mlflow/model-versions/search?"
ODD_NAME = 'it\'s 100% "ours" `x`'


def test_discovery_is_a_few_searches(lab: Lab, proxy: LyingProxy) -> None:
    """Versions with the tag come with any value, and nobody else's, by as many searches as there are tags."""
    values = ("true", " True ", "1", "false", "ture", "")
    made = {lab.register(f"runs:/{lab.run2}", lab.run2, **{TAG: value}).name: value for value in values}
    lab.register(f"runs:/{lab.run2}", lab.run2)
    found = list(MlflowSource(proxy.uri, os.environ).discover(target(TAG)))
    assert {version.name: version.tags[TAG] for version in found} == made
    assert len(found) == len(made)
    assert found[0].created.tzinfo is not None
    assert found[0].registration == "ready"
    assert len(proxy.requests) == 2 + len(MODEL_TAGS)


def test_a_models_tags_are_its_versions_defaults(lab: Lab, proxy: LyingProxy) -> None:
    """Every version of a tagged model is found, with one more search, and each has its model's tags below its own."""
    tag = "LENT"
    own, odd = "lent-to-all", ODD_NAME
    for name in (own, odd):
        lab.client.create_registered_model(name, tags={tag: "true", "MODEL_FOLDER": "m", "MODEL_X": "x"})
        lab.client.create_model_version(name, f"runs:/{lab.run2}", lab.run2)
    lab.client.set_registered_model_tag(own, "publisher.lab.state", "published")
    lab.client.create_model_version(own, f"runs:/{lab.run2}", lab.run2, tags={tag: "no", "MODEL_FOLDER": "n"})
    with_folder = lab.register(f"runs:/{lab.run2}", lab.run2, **{tag: "true"})
    lab.client.set_registered_model_tag(with_folder.name, "MODEL_EXECUTE_PATH", "client/app.py")
    found = {
        (v.name, v.version): dict(v.effective_tags)
        for v in MlflowSource(proxy.uri, os.environ).discover(target(tag))
    }
    assert found == {
        (own, "1"): {tag: "true", "MODEL_FOLDER": "m"},
        (own, "2"): {tag: "no", "MODEL_FOLDER": "n"},
        (odd, "1"): {tag: "true", "MODEL_FOLDER": "m"},
        (with_folder.name, "1"): {tag: "true", "MODEL_EXECUTE_PATH": "client/app.py"},
    }
    assert len(proxy.requests) == 2 + len(MODEL_TAGS) + 2, "the odd name and the other one"
    for (name, version), tags in found.items():
        assert dict(lab.source.get(name, version).effective_tags) == tags


def test_many_models_with_the_tag(lab: Lab, proxy: LyingProxy) -> None:
    """The versions of several tagged models come together, in filters that an address has room for."""
    names = [f"many-{number}-{'x' * 180}" for number in range(30)]
    for name in names:
        lab.client.create_registered_model(name, tags={"MANY": "true"})
        lab.client.create_model_version(name, f"runs:/{lab.run2}", lab.run2)
    found = [v.name for v in MlflowSource(proxy.uri, os.environ).discover(target("MANY"))]
    assert sorted(found) == sorted(names)
    searches = [line for line in proxy.requests if line.startswith(VERSIONS)]
    assert len(searches) <= 4
    assert max(map(len, searches)) < 4000


def test_discovery_goes_from_page_to_page(
    lab: Lab, proxy: LyingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More versions than one page holds are all found, once each."""
    made = {lab.register(f"runs:/{lab.run2}", lab.run2, PAGED="true").name for _ in range(5)}
    monkeypatch.setattr("publisher.sources.search.PAGE", 2)
    found = [version.name for version in MlflowSource(proxy.uri, os.environ).discover(target("PAGED"))]
    assert sorted(found) == sorted(made)
    assert len([line for line in proxy.requests if line.startswith(VERSIONS)]) == 3


@pytest.mark.parametrize(
    ("status", "said"), [("PENDING_REGISTRATION", "pending"), ("FAILED_REGISTRATION", "failed")]
)
def test_a_version_that_is_not_registered_yet(lab: Lab, proxy: LyingProxy, status: str, said: str) -> None:
    """What MLflow says of a version's registration is told along with it."""
    version = lab.register(f"runs:/{lab.run2}", lab.run2, **{status: "true"})
    proxy.lie = lambda line, truth: replace(
        truth, body=truth.body.replace(b'"READY"', f'"{status}"'.encode())
    )
    source = MlflowSource(proxy.uri, os.environ)
    assert [found.registration for found in source.discover(target(status))] == [said]
    assert source.get(version.name, version.version).registration == said


@pytest.mark.parametrize("tag", ["a` OR 1=1", "it's", 'a"b', "a\nb"])
def test_a_tag_name_with_quotes(lab: Lab, tag: str) -> None:
    """A target's tag that would end the filter's quotes is a fault of the settings."""
    with pytest.raises(SettingsError):
        list(lab.source.discover(target(tag)))
