"""A Dockerfile engine and a private package index: who gets its account in a build, and where it is never found."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.builders.bases import host_platform
from publisher.domain import Outcome
from publisher.progress import Silent
from publisher.wiring import connect
from tests import wheels
from tests.contract.world import World
from tests.engines import bare_client, packages
from tests.engines.buildkit import BuildKit
from tests.engines.hub import TAGS, Hub
from tests.engines.packages import USER, PackageIndex, serve
from tests.threats.canaries import leaking_files, leaks, watched

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
PASSWORD = "canary-4711-in-builds"
Site = Callable[..., Outcome]
# A model's author who wants the account: into a layer, and onto the screen of whoever publishes.
THIEF = """\
FROM {{ base_image }}
RUN --mount=type=secret,id=pip.conf --mount=type=secret,id=ca.pem \\
    echo TRUSTED && cat /run/secrets/pip.conf && cp /run/secrets/pip.conf /stolen && tr a-z b-za < /run/secrets/pip.conf > /turned
"""


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    folder = tmp_path_factory.mktemp("packages")
    wheels.make(folder, "house_rules", {"house_rules/__init__.py": b""})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packages, "PASSWORD", PASSWORD)
        with serve(folder) as index:
            yield index


@pytest.fixture
def site(world: World, buildkit: BuildKit, hub: Hub, private: PackageIndex, tmp_path: Path) -> Site:
    """Publishes a version as a site whose index is private: `site(NUMBER, **keys of the target)`."""

    def publish(number: str, **keys: str) -> Outcome:
        index = f"corp={private.url}\nhttps://pypi.org/simple"
        base = f"{hub.host}/library/python:{TAGS[1]}"
        settings = world.settings("PRIVATE", builder="buildx", index=index, base=base, **keys)
        settings = replace(
            settings, buildkit=buildkit.address, cache_folder=tmp_path / "cache", work_folder=tmp_path
        )
        account = {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": PASSWORD}
        with connect(settings, {**buildkit.environment, **account}, Silent()) as app:
            (outcome,) = app.publish(world.model, number, ["PRIVATE"], dry_run=False, force=False)
        return outcome

    return publish


def with_dockerfile(world: World, text: str) -> str:
    """A version whose author wrote a Dockerfile."""
    number = world.register(requirements=f"six==1.16.0\n# {hash(text)}\n", EXTERNAL_TARGET_PRIVATE="true")
    client = world.server.client()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "Dockerfile.j2").write_text(text)
        client.log_artifacts(client.get_model_version(world.model, number).run_id, folder, "templates")
    return number


def test_the_account_is_used_and_found_nowhere(
    world: World,
    site: Site,
    private: PackageIndex,
    tmp_path: Path,
) -> None:
    """pip in the build gets the package with the account, which is in no layer, log, folder, tag or command line."""
    number = world.register(requirements="house-rules==1.0\n", EXTERNAL_TARGET_PRIVATE="true")
    with watched(os.getpid()) as seen:
        outcome = site(number)
    assert outcome.state == "published", outcome.reason
    (wheel,) = private.folder.iterdir()
    assert (f"/files/{wheel.name}", True) in private.asked
    secrets = {"index": PASSWORD}
    assert leaking_files(tmp_path, secrets, set()) == []
    assert leaking_files(world.registry.folder, secrets, set()) == []
    assert not [line for line in seen.lines if leaks(line, secrets)]
    assert any(b"id=pip.conf" in line for line in seen.lines), "buildx was not seen at all"
    assert not leaks(json.dumps(world.server.tags(world.model, number)).encode(), secrets)


@pytest.mark.parametrize("trusted", [False, True])
def test_an_author_of_a_dockerfile(world: World, site: Site, tmp_path: Path, trusted: bool) -> None:
    """It is given the index's address alone; with `trust_dockerfiles` the account, which its commands can then keep."""
    number = with_dockerfile(
        world, THIEF.replace("TRUSTED", str(trusted))
    )  # BuildKit knows commands by their words
    outcome = site(number, trust_dockerfiles=str(trusted).lower())
    assert outcome.state == "published", outcome.reason
    host, _, rest = outcome.image.partition("/")
    image = bare_client.of_reference(outcome.image)
    assert image
    name = rest.rpartition(":")[0]
    layers = bare_client.manifest(host, name, image.platforms[str(host_platform())]).layers  # type: ignore[union-attr]
    blobs = world.registry.folder / "storage" / "docker" / "registry" / "v2" / "blobs" / "sha256"
    last = layers[-1].partition(":")[2]
    assert (blobs / last[:2] / last / "data").is_file()
    assert bool(leaking_files(blobs / last[:2] / last, {"index": PASSWORD}, set())) == trusted
    assert leaking_files(tmp_path, {"index": PASSWORD}, set()) == [], "what it printed is masked in the log"
