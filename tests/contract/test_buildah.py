"""buildah as an engine: what it builds, what it needs, what its failures mean and what it leaves behind."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import signal
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from publisher.builders.buildah import Buildah
from publisher.builders.command import Commands, of_tools
from publisher.builders.dockerfile import Job
from publisher.builders.reach import Reach
from publisher.domain import Context, Platform
from publisher.errors import BuildError, DeadlineError, EngineError, RegistryError
from publisher.oci import layout_folder
from publisher.oci.layout import Layout
from publisher.progress import Report, Silent
from tests.engines import buildah as engines
from tests.engines.docker import can_emulate, emulated, unavailable
from tests.engines.hub import SMALL, TAGS, Hub
from tests.engines.registry import RealRegistry

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
PYTHON = f"python:{TAGS[0]}"
FROM = f"FROM {SMALL}\n"


@dataclass
class House:
    """A machine with an own buildah, whose engine knows the hub by our settings alone."""

    folder: Path
    real: engines.Buildah
    engine: Buildah
    jobs: int = 0

    def job(
        self,
        dockerfile: str,
        platform: Platform = AMD64,
        *,
        files: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        cache: str = "",
        bases: tuple[str, ...] = (SMALL,),
        accounts: Mapping[str, Mapping[str, str]] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Job:
        self.jobs += 1
        place = self.folder / f"job{self.jobs}"
        for each in ("context", "work", "accounts"):
            (place / each).mkdir(parents=True)
        for name, text in {**(files or {}), "Dockerfile": dockerfile}.items():
            (place / "context" / name).write_text(text)
        (place / "accounts" / "config.json").write_text(json.dumps({"auths": accounts or {}}))
        context = Context(
            place / "context", own=False, digest="", bases=bases, secrets=secrets or {}, cache=cache
        )
        commands = Commands(Report(Silent(), "test", check), place / "log", self.engine.environment)
        return Job(context, platform, place / "work", place / "accounts", commands)

    def build(self, job: Job) -> Layout:
        return layout_folder.read(self.engine.build(job))

    def images(self) -> list[str]:
        """The names and, where an image has none, the identifiers of all images that no other is made of."""
        root = self.real.folder / "storage" / "publisher" / "storage"
        said = subprocess.run(
            [self.real.program, "--root", root, "images", "--json"],
            env=self.real.environment,
            capture_output=True,
            check=True,
        ).stdout
        return [name for image in json.loads(said) for name in image["names"] or [image["id"]]]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Buildah]:
    """A storage that tests have used before, so that no base has to be pulled."""
    with engines.ready(tmp_path_factory.mktemp("used"), plain=[]) as real:
        yield real


@pytest.fixture
def house(tmp_path: Path, used: engines.Buildah, hub: Hub) -> House:
    return House(tmp_path, used, Buildah(of_tools(used.environment), Reach({"docker.io": hub.host})))


@pytest.fixture
def empty(tmp_path: Path, hub: Hub) -> Iterator[House]:
    """One whose storage is empty."""
    with engines.ready(tmp_path / "buildah", plain=[]) as real:
        yield House(tmp_path, real, Buildah(of_tools(real.environment), Reach({"docker.io": hub.host})))


def running(pattern: str) -> list[int]:
    """The processes whose command line is like `pattern`."""
    said = subprocess.run(["pgrep", "-f", pattern], capture_output=True, check=False).stdout
    return [int(word) for word in said.split()]


def config_of(layout: Layout) -> dict[str, Any]:
    return layout.config(layout.top.digest)


def files_of(layout: Layout) -> dict[str, bytes]:
    found = {}
    for layer in layout.layers(layout.top.digest):
        with layout.blobs[layer.digest].open() as stream:
            plain = gzip.decompress(stream.read())
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            for entry in archive:
                file = archive.extractfile(entry) if entry.isfile() else None
                found[entry.name] = file.read() if file else b""
    return found


@pytest.mark.parametrize("platform", [AMD64, ARM64], ids=str)
def test_it_builds_for_both_platforms(house: House, platform: Platform) -> None:
    """A RUN runs as that machine, and what only Docker's format can say is in the image."""
    if emulated(str(platform)) and not can_emulate(str(platform)):
        unavailable(f"{platform} programs do not run here: make engines registers qemu with binfmt_misc")
    assert house.engine.check([platform]) == ""
    text = f"{FROM}RUN uname -m > /machine\nCOPY note /app/\nHEALTHCHECK CMD true\nLABEL own=\"$x 'y'\"\n"
    layout = house.build(house.job(text, platform, files={"note": "hello"}))
    machine = {"amd64": b"x86_64\n", "arm64": b"aarch64\n"}[platform.architecture]
    assert files_of(layout)["machine"] == machine
    config = config_of(layout)
    assert config["architecture"] == platform.architecture
    assert config["config"]["Healthcheck"] == {"Test": ["CMD-SHELL", "true"]}
    assert config["config"]["Labels"] == {"own": " 'y'"}


def test_what_run_made_is_used_again_and_nothing_else_stays(empty: House) -> None:
    """The next version's RUN is found; of the images only the environment and its base are left."""
    text = f"{FROM}RUN date +%N > /stamp\nCOPY model /app/\nENV A=b\n"
    first = files_of(empty.build(empty.job(text, files={"model": "1"})))
    second = files_of(empty.build(empty.job(text, files={"model": "2"})))
    assert (first["app/model"], second["app/model"]) == (b"1", b"2")
    assert first["stamp"] == second["stamp"]
    assert sorted(name.partition(":")[0] for name in empty.images()) == [
        "docker.io/library/small",
        "localhost/publisher/kept",
    ]


def test_only_so_many_environments_stay(empty: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment that was used longest ago goes, and everything that it alone needed."""
    monkeypatch.setattr("publisher.builders.buildah_storage._MOST", 2)
    made = []
    for number in range(3):
        made.append(files_of(empty.build(empty.job(f"{FROM}RUN echo {number} > /n; date +%N > /stamp\n"))))
    kept = [name for name in empty.images() if "kept" in name]
    assert len(kept) == 2
    again = files_of(empty.build(empty.job(f"{FROM}RUN echo 2 > /n; date +%N > /stamp\n")))
    assert again["stamp"] == made[2]["stamp"]


def test_a_failing_run_ends_the_build_for_good(house: House) -> None:
    """The error has the last lines, the log has all of them, and the storage no name of the build."""
    job = house.job(f"{FROM}RUN seq 1 100; echo broken >&2; exit 7\n")
    with pytest.raises(BuildError, match="exit status 7") as caught:
        house.engine.build(job)
    lines = caught.value.detail.split("\n")
    assert len(lines) == 20
    assert "broken" in lines
    assert str(job.commands.log) in caught.value.hint
    assert {"1", "100", "broken"} <= set(job.commands.log.read_text().splitlines())
    assert not [name for name in house.images() if "publisher/build" in name]


def test_an_image_that_is_not_there_may_come(house: House) -> None:
    """A FROM that cannot be pulled is the registry's fault, for now."""
    with pytest.raises(RegistryError, match=r"cannot be pulled.*nowhere") as caught:
        house.engine.build(house.job("FROM library/nowhere:1\n", bases=("library/nowhere:1",)))
    assert caught.value.retryable


def test_a_secret_is_there_during_run_and_nowhere_else(house: House, tmp_path: Path) -> None:
    """In no layer, config or log; and on no command line but as the name of its file."""
    secret = tmp_path / "secret"
    secret.write_text("canary-1234567890")
    text = f"{FROM}RUN --mount=type=secret,id=tok wc -c < /run/secrets/tok > /size\n"
    job = house.job(text, secrets={"tok": secret})
    layout = house.build(job)
    files = files_of(layout)
    assert files["size"].strip() == b"17"
    assert not [name for name, content in files.items() if b"canary-1234567890" in content]
    assert "canary" not in json.dumps(config_of(layout)) + job.commands.log.read_text()


def test_the_end_of_a_build_is_the_end_of_all_that_it_started(house: House) -> None:
    """A deadline ends RUN, and programs that RUN left behind; the next build finds a clean storage."""
    begun = time.monotonic()
    nap = f"31{os.getpid()}"

    def check() -> None:
        if running(f"^sleep {nap}"):
            raise DeadlineError("too long")
        assert time.monotonic() - begun < 60

    with pytest.raises(DeadlineError):
        house.engine.build(house.job(f"{FROM}RUN (setsid sleep {nap} &) ; sleep 60\n", check=check))
    assert not running(f"^sleep {nap}")
    storage = house.real.folder / "storage" / "publisher"
    assert str(storage) not in Path("/proc/mounts").read_text()
    assert not [name for name in house.images() if "publisher/build" in name]
    assert list((storage / "storage" / "overlay-containers").glob("*/")) == []
    assert list((storage / "tmp").iterdir()) == []


def test_a_killed_buildah_is_tried_again(house: House) -> None:
    """SIGKILL is nobody's fault, and leaves nothing behind."""
    nap = f"32{os.getpid()}"

    def kill() -> None:
        while not running(f"^sleep {nap}"):
            time.sleep(0.1)
        root = house.real.folder / "storage" / "publisher"
        for process in running(f"^[^ ]*buildah --root {root}"):
            os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(EngineError, match="went away") as caught:
        house.engine.build(house.job(f"{FROM}RUN sleep {nap}\n"))
    killer.join()
    assert caught.value.retryable
    assert not running(f"^sleep {nap}")
    assert not [name for name in house.images() if "publisher/build" in name]


def test_a_dockerfile_cannot_leave_its_root(house: House) -> None:
    """chroot(2) is refused, the machine's processes cannot be seen, nor what our variables are."""
    text = (
        'RUN python3 -c \'import os; os.mkdir("/x"); os.chroot("/x")\' 2>&1 | tail -1 > /said; '
        "ls /proc | grep -c '^[0-9]' > /processes; cat /proc/[0-9]*/environ > /variables; true\n"
    )
    files = files_of(house.build(house.job(f"FROM {PYTHON}\n{text}", bases=(PYTHON,))))
    assert b"PermissionError" in files["said"]
    assert int(files["processes"]) < 20
    assert b"CONTAINERS_STORAGE_CONF" not in files["variables"]


def test_a_cache_in_a_registry_serves_a_machine_with_an_empty_disk(
    house: House, tmp_path: Path, registry: RealRegistry, repository: str
) -> None:
    """Another storage finds there what RUN made; and what it fetched from there does not stay."""
    text = f"{FROM}RUN date +%N > /stamp\n"
    cache = f"{registry.host}/{repository}"
    first = files_of(house.build(house.job(text, cache=cache)))
    with engines.ready(tmp_path / "other", plain=[]) as real:
        other = House(
            tmp_path / "others", real, replace(house.engine, environment=of_tools(real.environment))
        )
        second = files_of(other.build(other.job(text, cache=cache)))
        assert not [name for name in other.images() if registry.host in name]
    assert first["stamp"] == second["stamp"]


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(
    house: House, private_registry: RealRegistry, repository: str
) -> None:
    """Without an account for it the image is built all the same."""
    job = house.job(f"{FROM}RUN echo hello > /said\n", cache=f"{private_registry.host}/{repository}")
    assert files_of(house.build(job))["said"] == b"hello\n"
    assert "failed pushing cache" in job.commands.log.read_text()


def test_an_account_for_a_private_base(
    house: House, private_registry: RealRegistry, hub: Hub, repository: str
) -> None:
    """The account of the job, and no other, pulls a FROM; without it the error is the registry's."""
    name = f"{private_registry.host}/{repository}:1"
    login = ["--creds", f"{private_registry.user}:{private_registry.password}", "--tls-verify=false"]
    _buildah(house, "pull", "--tls-verify=false", f"{hub.host}/library/{SMALL}")
    _buildah(house, "push", *login, f"{hub.host}/library/{SMALL}", f"docker://{name}")
    text = f"FROM {name}\nRUN true\n"
    with pytest.raises(RegistryError, match="cannot be pulled"):
        house.engine.build(house.job(text, bases=(name,)))
    entry = base64.b64encode(f"{private_registry.user}:{private_registry.password}".encode()).decode()
    accounts = {private_registry.host: {"auth": entry}}
    house.build(house.job(text, bases=(name,), accounts=accounts))


def test_what_is_missing_is_told(house: House) -> None:
    """No program, no storage: an error that says what to install or to try."""
    without = replace(house.engine, environment={"PATH": "/nowhere"})
    assert "apt-get install buildah" in without.check([AMD64])
    with pytest.raises(EngineError, match="apt-get install buildah"):
        without.build(house.job(FROM))
    assert "install emulation" in house.engine.check([Platform("linux", "riscv64")])
    broken = {**house.engine.environment, "CONTAINERS_STORAGE_CONF": str(house.folder / "nothing.conf")}
    (house.folder / "nothing.conf").write_text('[storage]\ndriver = "nothing"\n')
    job = house.job(FROM)
    job.commands.environment = broken
    with pytest.raises(EngineError, match="does not run here"):
        replace(house.engine, environment=broken).build(job)


def _buildah(house: House, *words: str) -> None:
    subprocess.run([house.real.program, *words], env=house.real.environment, check=True, capture_output=True)
