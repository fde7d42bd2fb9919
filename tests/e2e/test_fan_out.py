"""Each platform of a version built by itself and merged: the same image as in one process, whatever is run twice."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from publisher import settings
from publisher.cluster import results
from publisher.cluster.jobs import Work
from publisher.cluster.results import Result
from publisher.domain import Platform
from publisher.errors import ArtifactError, EngineError
from publisher.naming import image_name
from publisher.oci.merge import merged
from publisher.progress import Silent
from publisher.wiring import connect
from tests import small
from tests.e2e.conftest import NewWorkplace, Workplace
from tests.engines import debian
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.models import Registered

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
PLATFORMS = [Platform.parse(each) for each in debian.PLATFORMS]


@dataclass(frozen=True, slots=True)
class Pods:
    """What the pods of Jobs do, as processes with an empty disk."""

    place: Workplace
    model: Registered

    def work(self, platform: Platform) -> Work:
        with connect(
            settings.load({}, {}, self.place.folder / "publisher.toml"), os.environ, Silent()
        ) as app:
            version = app.stages.source.get(self.model.name, self.model.version)
            return Work(version, app.settings.targets[0], platform)

    def run(self, platform: Platform, *words: str, key: str = "", expect: int = 0) -> object:
        """What the termination message of a pod says."""
        message = self.place.folder / "message"
        message.unlink(missing_ok=True)
        work = self.work(platform)
        options = [f"--target={work.target.name}", f"--platform={platform}", f"--key={key or work.key}"]
        command = ["build-platform", *options, f"--result={message}", *words, "--"]
        self.place.publisher(*command, self.model.name, self.model.version, expect=expect)
        return results.read(message.read_text(), platform)


def test_platforms_apart_are_the_same_image(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """No tag and no status before the merge; a second run of a pod finds what the first one left; --force does not."""
    model = small.register(mlflow_server, "apart", "APART", requirements="six==1.17.0\nmarkupsafe==3.0.2")
    pods = Pods(new_workplace(fresh=True, APART=f"{registry.host}/apart"), model)
    done: dict[Platform, Result] = {}
    for platform in PLATFORMS:
        found = pods.run(platform)
        assert (
            isinstance(found, Result) and found.sent and {each.check for each in found.proofs} >= {"binaries"}
        )
        done[platform] = found
    again = pods.run(PLATFORMS[0])
    assert again == done[PLATFORMS[0]]
    forced = pods.run(PLATFORMS[0], "--force")
    assert isinstance(forced, Result) and forced.digest == done[PLATFORMS[0]].digest
    assert forced.sent != done[PLATFORMS[0]].sent  # it was built
    assert f"publisher.{'APART'}.state" not in mlflow_server.tags(model.name, model.version)
    work = pods.work(PLATFORMS[0])
    with connect(settings.load({}, {}, pods.place.folder / "publisher.toml"), os.environ, Silent()) as app:
        destination, image = app.stages.destination(work.target), image_name(work.target, work.version)
        assert destination.existing(image) == ""
        layouts = {platform: destination.read(image, each.digest) for platform, each in done.items()}
        index = merged({platform: layout for platform, layout in layouts.items() if layout})
    whole = new_workplace(fresh=True, APART=f"{registry.host}/other")
    told = json.loads(whole.publisher("publish", model.name, model.version, "--json").stdout)
    assert told["outcomes"][0]["digest"] == index.top.digest


def test_a_pod_with_other_settings_refuses(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, tmp_path: Path
) -> None:
    """Its image would not be the one that the Job is for. What is wrong with the version is told as such."""
    model = small.register(mlflow_server, "apart-odd", "ODD")
    pods = Pods(new_workplace(ODD=f"{registry.host}/odd"), model)
    assert isinstance(pods.run(PLATFORMS[0], key="0" * 64, expect=EngineError.exit_code), EngineError)
    mlflow_server.client().set_model_version_tag(model.name, model.version, "MODEL_EXECUTE_PATH", "'")
    assert isinstance(pods.run(PLATFORMS[0], expect=ArtifactError.exit_code), ArtifactError)
