"""Extra tags with a real MLflow server and a real registry: moved as aliases move, and nothing written twice."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from publisher import status
from publisher.decide import decide, told_twice
from publisher.destinations.base import Destination
from publisher.destinations.layout import LayoutDestination
from publisher.destinations.registry import RegistryDestination
from publisher.domain import Decision, ModelVersion, Outcome, Platform, Status, Target
from publisher.extra_tags import wanted
from publisher.naming import image_name
from publisher.oci import layout as layouts
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.layout import CONFIG, INDEX, MANIFEST, BytesBlob, Descriptor, Layout
from publisher.oci.registry import Registries
from publisher.oci.retries import Retries
from publisher.progress import Report, Silent
from publisher.sources.mlflow import MlflowSource
from publisher.tagging import Tagged, Tagger
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

everywhere = pytest.mark.parametrize("place", ["registry", "layout"], indirect=True)
REPORT = Report(Silent(), "test")
ONCE = Access(retries=Retries(absent_seconds=0.1))
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def index_of(source: str) -> Layout:
    """An image that says what it was made from, as ours do: `models:/<name>/<version>`."""
    config = layouts.encode(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": {"source": source}}}
    )
    described = Descriptor.of(CONFIG, config)
    manifest = layouts.encode(
        {"schemaVersion": 2, "mediaType": MANIFEST, "config": described.json(), "layers": []}
    )
    child = Descriptor.of(MANIFEST, manifest, platform=Platform("linux", "amd64"))
    annotations = {"org.opencontainers.image.source": source}
    top = layouts.encode(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child.json()], "annotations": annotations}
    )
    manifests = {child.digest: manifest, (found := Descriptor.of(INDEX, top)).digest: top}
    return Layout(found, manifests, {described.digest: BytesBlob(config)}, {described.digest: len(config)})


@dataclass
class Place:
    """A model with versions, and a target with `tags`."""

    client: MlflowClient
    source: MlflowSource
    destination: Destination
    target: Target
    model: str
    now: datetime = NOON

    def register(self) -> str:
        made = self.client.create_model_version(
            self.model, "s3://none/at/all", tags={self.target.tag: "true"}
        )
        return str(made.version)

    def publish(self, number: str, *, force: bool = False, made_from: str = "") -> Tagged:
        """What the pipeline does once an image is built."""
        version = self.source.get(self.model, number)
        image, built = (
            image_name(self.target, version),
            index_of(made_from or f"models:/{self.model}/{number}"),
        )
        self.destination.push(built, image, REPORT, frozenset())
        self.destination.tag(built, image)
        done = self.tagger.bring(version, image, built.top.digest, force=force)
        made = status.fingerprint(version, self.target)
        known = Status("published", image=image, digest=built.top.digest, fingerprint=made)
        self.write(version, done.on(known, self.now))
        return done

    def write(self, version: ModelVersion, known: Status) -> None:
        gone = status.stale(version.tags, known, self.target.name)
        self.source.record(version, status.to_tags(known, self.target.name), gone)

    @property
    def tagger(self) -> Tagger:
        return Tagger(self.target, self.source, self.destination, lambda: self.now)

    def poll(self) -> dict[str, Outcome]:
        """What a poll does with versions that are published: only where the decision is to tag."""
        done = {}
        for version, decision in self.decisions():
            assert decision.action in ("tag", "skip")
            if decision.action == "tag":
                done[version.version] = self.tagger.again(version)
        return done

    def decisions(self) -> list[tuple[ModelVersion, Decision]]:
        found = [each for each in self.source.discover(self.target) if each.name == self.model]
        known = [(each, status.read(each.tags, self.target.name)) for each in found]
        twice = {number for _, number in told_twice(found, self.target)}
        return [
            (each, decide(each, self.target, told, self.now, twice=each.version in twice))
            for each, told in known
        ]

    def at(self, tag: str) -> str:
        """The version whose image the tag holds now; empty where there is none."""
        image = image_name(self.target, self.source.get(self.model, "1")).rpartition(":")[0] + f":{tag}"
        digest = self.destination.existing(image)
        told = self.destination.annotations(image, digest) if digest else {}
        return told.get("org.opencontainers.image.source", "").rpartition("/")[2]

    def told(self, number: str) -> Status:
        found = status.read(self.source.get(self.model, number).tags, self.target.name)
        assert found
        return found

    def alias(self, name: str, number: str) -> None:
        self.client.set_registered_model_alias(self.model, name, number)


@pytest.fixture
def place(
    request: pytest.FixtureRequest, mlflow_server: MlflowServer, registry: RealRegistry, tmp_path: Path
) -> Place:
    """Two versions that are published, in a registry; in a layout on disk where the test asks for it."""
    unique = uuid.uuid4().hex[:8]
    where, destination = f"oci:{tmp_path}/images", LayoutDestination(tmp_path / "images")
    if getattr(request, "param", "registry") == "registry":
        where = f"{registry.host}/extra/{unique}"
        destination = RegistryDestination(Registries(Credentials()), None, tmp_path / "pushed")  # type: ignore[assignment]
    templates = ("{alias}", "{version}-{date}", "latest")
    target = Target("T", f"TAG_{unique}", where, (Platform("linux", "amd64"),), "base", tags=templates)
    source = MlflowSource(mlflow_server.uri, os.environ)
    made = Place(mlflow_server.client(), source, destination, target, f"Fraud Model {unique}")
    made.client.create_registered_model(made.model)
    made.publish(made.register())
    made.publish(made.register())
    return made


@everywhere
def test_an_alias_moves_its_tag(place: Place) -> None:
    """The next poll moves the tag, and the status of both versions tells who has it; nothing else is written."""
    place.alias("prod", "1")
    assert [*place.poll()] == ["1"]
    assert place.at("prod") == "1"
    assert "prod" in place.told("1").tags
    place.alias("prod", "2")
    outcomes = place.poll()
    assert outcomes["2"].state == "tagged"
    assert outcomes["2"].reason == "now also prod"
    assert place.at("prod") == "2"
    assert "prod" in place.told("2").tags
    assert "prod" not in place.told("1").tags
    assert place.poll() == {}


def test_an_alias_that_is_gone_leaves_its_tag(place: Place) -> None:
    """No tag is deleted, and the status goes on telling it."""
    place.alias("prod", "1")
    place.poll()
    place.client.delete_registered_model_alias(place.model, "prod")
    assert place.poll()["1"].reason == "no tag had to move"
    assert place.at("prod") == "1"
    assert "prod" in place.told("1").tags
    assert place.poll() == {}


def test_an_alias_of_a_version_that_is_not_published_changes_nothing(place: Place) -> None:
    """The tag stays where it is until the version that the alias names is there."""
    place.alias("prod", "1")
    place.poll()
    third = place.register()
    place.alias("prod", third)
    place.client.set_model_version_tag(place.model, third, place.target.tag, "false")
    place.poll()
    assert place.at("prod") == "1"
    place.publish(third)
    assert place.at("prod") == third


@everywhere
def test_of_two_versions_the_higher_has_a_shared_tag(place: Place) -> None:
    """`latest` is the highest version's, also when an older one is published again after it, even with --force."""
    assert place.at("latest") == "2"
    assert "latest" not in place.told("1").tags
    place.publish("1", force=True)
    assert place.at("latest") == "2"
    assert [tag for tag in place.told("1").tags if "latest" not in tag] == list(place.told("1").tags)
    assert place.poll() == {}


@everywhere
def test_a_tag_of_somebody_elses_image_is_left_alone(place: Place) -> None:
    """What is no image of this model stays under its tag, the status says so, and --force moves it."""
    image = image_name(place.target, place.source.get(place.model, "1")).rpartition(":")[0] + ":prod"
    for theirs in ("models:/other model/1", "https://git.example.org/x", f"models:/{place.model}/1/../../x"):
        built = index_of(theirs)
        place.destination.push(built, image, REPORT, frozenset())
        place.destination.tag(built, image)
        place.alias("prod", "1")
        place.publish("1")
        assert place.destination.existing(image) == built.top.digest
        assert "prod stays" in place.told("1").reason
        assert place.told("1").state == "published"
        assert place.poll() == {}
    place.publish("1", force=True)
    assert place.at("prod") == "1"
    assert place.told("1").reason == ""


def test_an_image_that_is_gone_or_replaced_gets_no_tag(place: Place) -> None:
    """Tags are no proof: where the registry has another image than the status says, nothing is tagged."""
    built = index_of(f"models:/{place.model}/1#other")
    image = image_name(place.target, place.source.get(place.model, "1"))
    place.destination.push(built, image, REPORT, frozenset())
    place.destination.tag(built, image)
    place.alias("prod", "1")
    outcome = place.poll()["1"]
    assert outcome.state == "failed"
    assert outcome.exit_code
    assert "and was published as" in place.told("1").reason
    assert place.told("1").state == "published"
    assert place.at("prod") == ""
    assert place.poll() == {}


def test_a_status_that_names_another_image_leads_nowhere(place: Place) -> None:
    """Whoever may write tags cannot have something tagged elsewhere: the name is made anew from the settings."""
    version = place.source.get(place.model, "1")
    place.write(version, replace(place.told("1"), image="registry.invalid/x:v1"))
    place.alias("prod", "1")
    assert place.poll()["1"].state == "failed"
    assert place.at("prod") == ""


def test_a_poll_with_nothing_to_do_asks_the_registry_nothing(
    place: Place, registry: RealRegistry, mlflow_server: MlflowServer
) -> None:
    """With aliases set and brought up to date: no request to the registry, no write to MLflow."""
    place.alias("prod", "1")
    place.poll()
    asked, log = (
        len(registry.requests("HEAD")) + len(registry.requests("GET")),
        mlflow_server.log.read_bytes(),
    )
    assert place.poll() == {}
    assert len(registry.requests("HEAD")) + len(registry.requests("GET")) == asked
    assert b"set-tag" not in mlflow_server.log.read_bytes()[len(log) :]


def test_aliases_cost_no_request_for_each_version(place: Place, mlflow_server: MlflowServer) -> None:
    """One request for the model, however many versions it has, and none where no template asks."""
    for _ in range(5):
        place.register()
    place.alias("prod", "7")
    place.alias("champion", "1")

    def requests(target: Target) -> tuple[list[str], dict[str, tuple[str, ...]]]:
        before = len(mlflow_server.log.read_bytes())
        found = {each.version: each.aliases for each in place.source.discover(target)}
        lines = mlflow_server.log.read_bytes()[before:].decode().splitlines()
        return [line for line in lines if "registered-models/get" in line], found

    asked, found = requests(place.target)
    assert len(asked) == 1
    assert {number: names for number, names in found.items() if names} == {"1": ("champion",), "7": ("prod",)}
    assert requests(replace(place.target, tags=("latest",)))[0] == []


def test_a_registry_that_is_away_leaves_the_version_published(place: Place, tmp_path: Path) -> None:
    """The failure is on the version with its next try; until then polls wait, and then it is made good."""
    place.alias("prod", "1")
    working = place.destination
    nowhere = replace(place.target, registry="127.0.0.1:1/x")
    place.destination = RegistryDestination(Registries(Credentials(), default=ONCE), None, tmp_path / "w")
    (version,) = [each for each, _ in place.decisions() if each.version == "1"]
    known = place.told("1")
    away = image_name(nowhere, version)
    done = Tagger(nowhere, place.source, place.destination, lambda: place.now).bring(
        version, away, known.digest
    )
    assert done.fault
    assert done.fault.retryable
    assert done.held == known.tags
    place.write(version, done.on(known, place.now))
    told = place.told("1")
    assert (told.state, told.attempts, told.tagging) == ("published", 1, "")
    assert told.next_try
    place.destination = working
    (decision,) = [decision for each, decision in place.decisions() if each.version == "1"]
    assert decision.action == "skip"
    assert "next try at" in decision.reason
    place.now = told.next_try
    assert place.poll()["1"].reason == "now also prod"
    assert (place.told("1").attempts, place.told("1").next_try, place.told("1").reason) == (0, None, "")


def test_what_is_wanted_is_looked_up_anew_before_a_tag_moves(place: Place) -> None:
    """A poll that read the aliases a while ago does not undo what has been moved since."""
    place.alias("prod", "1")
    seen = [each for each, decision in place.decisions() if decision.action == "tag"]
    place.alias("prod", "2")
    place.poll()
    for version in seen:
        assert wanted(version, place.target)
        place.tagger.again(version)
    assert place.at("prod") == "2"
    assert place.poll() == {}


@pytest.mark.parametrize(("tag", "alias"), [("latest", None), ("prod", "1")])
def test_publishers_that_raced_are_set_right(place: Place, tag: str, alias: str | None) -> None:
    """Two publishers wrote a tag at one moment, and each recorded it: the next poll finds out who should have it."""
    if alias:
        place.alias(tag, alias)
        place.poll()
    right, wrong = ("1", "2") if alias else ("2", "1")
    loser = place.told(wrong)
    place.destination.also(loser.image, loser.digest, loser.image.rpartition(":")[0] + f":{tag}")
    place.write(place.source.get(place.model, wrong), replace(loser, tags=(*loser.tags, tag)))
    assert place.at(tag) == wrong
    place.poll()
    assert place.at(tag) == right
    assert (tag in place.told(right).tags, tag in place.told(wrong).tags) == (True, False)
    assert place.poll() == {}


def test_an_alias_that_moves_during_a_build_counts(place: Place) -> None:
    """What a version was called when its publication began is no matter when its image is there."""
    version, known = place.source.get(place.model, "1"), place.told("1")
    place.alias("prod", "1")
    assert "prod" in place.tagger.bring(version, known.image, known.digest).held
    assert place.at("prod") == "1"


def test_the_bytes_are_those_of_the_image(place: Place, registry: RealRegistry) -> None:
    """Under an extra tag lies the very manifest of the version, as any client finds it."""
    known = place.told("2")
    latest = bare_client.of_reference(known.image.rpartition(":")[0] + ":latest")
    assert latest
    assert latest.digest == known.digest
