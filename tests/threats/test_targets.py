"""Models: who may set tags chooses among named targets, and can name no registry, repository or folder of their own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publisher import wiring
from publisher.app import App
from publisher.domain import ModelVersion, Target
from publisher.errors import ArtifactError, PublisherError, SettingsError
from publisher.extra_tags import wanted
from publisher.naming import image_name
from publisher.oci.reference import Reference, is_tag
from publisher.progress import Silent
from publisher.settings import Settings, load
from publisher.sources.base import VersionTags
from tests.contract.fronts import Front, front

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
# What the documents, other tools and our own settings call a registry or an image.
KEYS = (
    *("FOUNDRY_URL", "REGISTRY_URL", "REGISTRY", "IMAGE", "image", "registry", "DOCKER_REGISTRY", "TARGET"),
    *("PUBLISHER_TARGETS__TEST__REGISTRY", "PUBLISHER_TARGETS__TEST__IMAGE", "publisher.TEST.image"),
    *("publisher.TEST.registry", "publisher.TEST.digest", "publisher.TEST.state", "publisher.TEST.tags"),
    *(
        "MODEL_REGISTRY",
        "MODEL_IMAGE",
        "MODEL_FOLDER",
        "EXTERNAL_TARGET_URL",
        "EXTERNAL_TARGET_EVIL",
        "alias",
    ),
)


def hostile(evil: str) -> list[str]:
    """References and addresses that lead to `evil`, or look as if they led to us, in many spellings."""
    good = "registry.example.org"
    return [
        *(evil, f"{evil}/team/model:v1", f"http://{evil}", f"https://{evil}/", f"//{evil}", f"oci:/{evil}"),
        *(f"{good}@{evil}", f"{good}:443@{evil}", f"user:pass@{evil}", f"{good}%40{evil}", f"{evil}#@{good}"),
        *(f"{good}\\@{evil}", f"{good}/../{evil}", f"{good}/../../{evil}/x", f"../../{evil}", f"/{evil}"),
        *(
            f" {evil}",
            f"{evil}\n",
            f"{good}\n{evil}",
            f"{good}\t@{evil}",
            f"{good}\0{evil}",
            f"{good} {evil}",
        ),
        *(
            evil.upper(),
            evil.replace(".", "\u3002"),
            evil.replace(".", "\uff0e"),
            f"{evil}.",
            f"{evil}\u200b",
        ),
        *(
            "xn--e1afmkfd.example",
            "b\u00fccher.example",
            "\u0440egistry.example.org",
            f"{good}:99999/x",
            f"{good}:/x",
        ),
        *(
            "{registry}",
            "{target.registry}",
            "{model.__class__}",
            "{0}",
            "%s",
            "${REGISTRY}",
            "$(id)",
            "`id`",
        ),
        *(
            "x\nRUN id",
            "x\r\nHost: evil",
            "'; drop",
            "[::1]:5000/x",
            "127.1/x",
            "0x7f000001/x",
            "2130706433/x",
        ),
    ]


def target(registry: str) -> Target:
    settings = load(
        {"mlflow_tracking_uri": "http://127.0.0.1:9"},
        {"PUBLISHER_TARGETS__TEST__REGISTRY": registry},
    )
    return settings.targets[0]


def version(value: str, *, name: str = "model") -> ModelVersion:
    """A version whose every tag is `value`, beside the one that asks for its publication."""
    tags = {**dict.fromkeys(KEYS, value), "EXTERNAL_TARGET_TEST": "true"}
    return ModelVersion(name, "1", f"models:/{name}/1", CREATED, tags=tags, aliases=(value,))


def test_no_tag_names_an_image() -> None:
    """Whatever the tags and aliases say, the image is the one of the target's own template."""
    place = target("registry.example.org/team")
    for value in hostile("evil.example:5000"):
        assert image_name(place, version(value)) == "registry.example.org/team/model:v1"


def test_no_model_name_leaves_its_repository() -> None:
    """Of thousands of hostile names, each becomes one repository directly below the target's prefix."""
    place, chance = target("registry.example.org/team"), random.Random(23)
    pieces = [
        *hostile("evil.example:5000"),
        "..",
        "/",
        ":",
        "@",
        "sha256:",
        "latest",
        "\u202e",
        "\udcff",
        "a",
    ]
    for _ in range(5000):
        name = "".join(chance.choices(pieces, k=chance.randint(1, 4)))
        found = Reference.parse(image_name(place, version("x", name=name)))
        assert found.repository.host == "registry.example.org"
        assert found.repository.name.startswith("team/")
        assert found.repository.name.count("/") == 1
        assert found.tag == "v1"
        assert found.digest is None


def test_extra_tags_are_tags() -> None:
    """Aliases and tag values that a template takes up become tags of the same repository, or are refused."""
    settings = load(
        {"mlflow_tracking_uri": "http://127.0.0.1:9"},
        {
            "PUBLISHER_TARGETS__TEST__REGISTRY": "registry.example.org/team",
            "PUBLISHER_TARGETS__TEST__TAGS": "{alias},x-{tags[stage]}",
        },
    )
    for value in hostile("evil.example:5000"):
        found = version(value)
        asked = wanted(
            ModelVersion(**{**_fields(found), "tags": {**found.tags, "stage": value}}), settings.targets[0]
        )
        assert all(is_tag(tag.name) for tag in asked.tags), value
        assert all("/" not in tag.name and ":" not in tag.name for tag in asked.tags)


def _fields(found: ModelVersion) -> dict[str, object]:
    return {name: getattr(found, name) for name in found.__slots__}


@pytest.fixture
def evil() -> Iterator[Front]:
    """A registry of somebody's own, which writes down who comes."""
    with front(lambda handler: handler.answer(200)) as registry:
        yield registry


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    """A publisher with one target, whose registry is not there."""
    settings: Settings = load(
        {"mlflow_tracking_uri": "http://127.0.0.1:9", "cache_folder": str(tmp_path / "cache")},
        {"PUBLISHER_TARGETS__TEST__REGISTRY": "127.0.0.1:9/team"},
    )
    with wiring.connect(settings, {}, Silent()) as made:
        yield made


def test_a_tag_selects_a_named_target_or_none(app: App, evil: Front) -> None:
    """A tag that looks like a target's, with any value, selects nothing that the settings do not name."""
    for value in hostile(evil.host):
        found = version(value)
        assert [chosen.name for chosen in app._chosen(found, None)] == ["TEST"]
        assert [chosen.registry for chosen in app._chosen(found, None)] == ["127.0.0.1:9/team"]
        with pytest.raises(SettingsError, match="there is no target"):
            app._chosen(found, [value])
        foreign = ModelVersion("model", "1", "s", CREATED, tags={f"EXTERNAL_TARGET_{value}": "true"})
        with pytest.raises(SettingsError, match="no such target is configured"):
            app._chosen(foreign, None)
    assert not evil.seen


def test_folders_of_tags_stay_below_the_version() -> None:
    """MODEL_FOLDER and its kin are plain relative paths, or the tag is refused by its name."""
    for value in [
        *hostile("evil.example"),
        "..",
        "a/../../b",
        "/etc",
        "~/x\\..",
        "a\0b",
        "x" * 5000,
        "\u202ea",
    ]:
        for key in ("MODEL_FOLDER", "MODEL_CLIENT_FOLDER", "MODEL_TEMPLATES_FOLDER"):
            asked = ModelVersion("model", "1", "s", CREATED, tags={key: value})
            try:
                tags = VersionTags.read(asked)
            except ArtifactError as error:
                assert key in str(error)
                continue
            for folder in filter(None, (tags.model, tags.client, tags.templates)):
                assert ".." not in folder.split("/")
                assert not folder.startswith("/")


@pytest.mark.parametrize("number", ["1/../../../x", "/../x", "1\0", "/etc", "1/2"])
def test_a_download_stays_below_its_folder(
    app: App, tmp_path: Path, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model registry that lies about names and numbers has no folder replaced but those of the download."""
    canary = tmp_path / "x"
    canary.mkdir()
    found = ModelVersion("model", number, "models:/model/1", CREATED)
    monkeypatch.setattr(type(app.stages.source), "get", lambda *_: found)
    with pytest.raises(PublisherError, match="no name for a folder"):
        app.download(tmp_path / "a" / "b", "model", "1")
    assert canary.is_dir()


@pytest.mark.parametrize(
    "registry", [text for text in hostile("evil.example:5000") if "@" in text or not text.isascii()]
)
def test_settings_take_no_ambiguous_registry(registry: str) -> None:
    """Even in the settings a registry has one meaning: user parts, foreign letters and the like are refused."""
    with pytest.raises(SettingsError):
        target(registry)
