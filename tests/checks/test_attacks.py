"""What a hostile model tries where no namespaces shut it in: with root, without any right, and in a container."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import elftools
import pytest

from publisher.checks import landlock
from tests.checks import attacked, attacks_here
from tests.engines import debian, require
from tests.engines.docker import Docker

pytestmark = pytest.mark.engine("mmdebstrap")
CHECKOUT = Path(__file__).parents[2]
SCRIPT = str(attacked.__file__)
# What root and the account of a pod have in common is that neither has a right: nothing but its name.
NO_RIGHTS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
OWN = {"list more", "a program"}  # of the image, where its root is the only one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a model is to keep its hands off, though anybody might write to it."""
    place = tmp_path / "outside"
    place.mkdir()
    place.chmod(0o777)
    return place


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attacked")


def told(command: Sequence[str]) -> Any:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def without_landlock() -> str:
    try:
        return "" if landlock.version() else "no Landlock"
    except OSError as error:
        return str(error)


@pytest.mark.parametrize("way", ["chroot", "landlock"])
def test_nothing_gets_out(way: str, base_layout: Path, folder: Path, cache: Path) -> None:
    """Neither files, nor sockets, nor other processes of this machine; and what a model needs is there."""
    if way == "chroot" and os.geteuid():
        pytest.skip("only root may change its root")
    if way == "landlock" and (why := without_landlock()):
        pytest.skip(why)
    came = told([sys.executable, SCRIPT, way, str(base_layout), str(folder), str(cache)])
    assert set(came.pop("done", ["all"])) <= (OWN if way == "chroot" else set()), came
    assert (came["said"], came["heard"], came["left"]) == ("", [], ["canary", "socket"])
    assert came["shut_in"]


def test_without_any_right(base_layout: Path, folder: Path, cache: Path) -> None:
    """As in a pod that may nothing: there it is the best way, and found."""
    if why := without_landlock():
        pytest.skip(why)
    require("setpriv", "util-linux")
    command = [*NO_RIGHTS, sys.executable, SCRIPT, "landlock", str(base_layout), str(folder), str(cache)]
    came = told(command)
    assert (came["done"], came["said"], came["heard"]) == ([], "", []), came


@pytest.mark.parametrize("known", [1, 2, 3, 5])
def test_an_older_landlock(known: int, folder: Path) -> None:
    """What it does not know of yet (cutting files, TCP, sockets, signals) the filter refuses."""
    if why := without_landlock():
        pytest.skip(why)
    require("setpriv", "util-linux")
    came = told([*NO_RIGHTS, sys.executable, str(attacks_here.__file__), str(known), str(folder)])
    assert set(came["done"]) <= {"a program"}, came  # of /usr, which it may read here
    assert came["heard"] == []


def test_in_a_restricted_container(
    docker: Docker, base_image: str, base_layout: Path, folder: Path, tmp_path: Path
) -> None:
    """Neither root nor a capability nor a namespace, and the engine's own filter: shut in, or told that it is not."""
    reference = base_image.replace("{python}", debian.MINOR)
    docker.pull(reference, f"linux/{'amd64' if os.uname().machine == 'x86_64' else 'arm64'}")
    (tmp_path / "room").mkdir()
    (tmp_path / "room").chmod(0o777)
    libraries = str(Path(elftools.__file__).parents[1])
    mounts = {f"{CHECKOUT}:/src:ro", f"{libraries}:/libraries:ro", f"{base_layout}:/layout:ro"}
    mounts |= {f"{folder}:/outside", f"{tmp_path}/room:/room"}
    options = ["--user=10001", "--cap-drop=ALL", "--read-only", "--security-opt=no-new-privileges"]
    options += [f"--volume={each}" for each in mounts]
    options += ["--env=PYTHONPATH=/src:/libraries", "--env=TMPDIR=/room", "--entrypoint=python3"]
    program = ["/src/tests/checks/attacked.py", "best", "/layout", "/outside"]
    came = told(["docker", "run", "--rm", *options, reference, *program])
    assert came["way"] in ("landlock", "limits")
    assert came["shut_in"] == (came["way"] == "landlock")
    if came["shut_in"]:
        assert (came["done"], came["said"], came["heard"], came["uid"]) == ([], "", [], 10001), came
    else:  # an engine whose filter does not know of Landlock
        assert "not shut in" in came["isolation"]
