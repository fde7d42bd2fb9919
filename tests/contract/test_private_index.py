"""Private package indexes: a real one with a name and a password, real wheels, the real uv."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from publisher.builders.layers import download
from publisher.domain import BaseImage, Environment, Lock, Platform, Target
from publisher.environments.accounts import prepare
from publisher.environments.index import Index
from publisher.environments.lock import Resolver, is_past
from publisher.errors import IndexUnavailableError, RequirementsError, ResolutionError
from tests import wheels
from tests.engines.packages import PASSWORD, USER, PackageIndex, serve

BASE = BaseImage("base", "sha256:" + "0" * 64, "3.11.2", "/usr/bin/python3.11", (2, 36))
AMD64 = Platform("linux", "amd64")
CANARIES = (PASSWORD, quote(PASSWORD, safe=""), "canary")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PackageIndex]:
    folder = tmp_path / "packages"
    folder.mkdir()
    wheels.make(folder, "house_rules", {"house_rules/__init__.py": b""})
    wheels.make(folder, "other_rules", {"other_rules/__init__.py": b""})
    with serve(folder) as index:
        yield index


WAYS = [
    "uv.toml",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "pip.conf",
    "netrc",
    "setting",
    "setting alone",
]


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    """This machine's, without its own indexes."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PIP_"))}
    return {**kept, "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_CONFIG_FILE": os.devnull, **more}


def lock(tmp_path: Path, variables: Mapping[str, str], *lines: str, index: tuple[str, ...] = ()) -> Lock:
    target = Target("t", "T", "quay.io/x", (AMD64,), "base", index=index)
    resolver = Resolver.load(tmp_path / "cache", variables).at(target)
    return resolver.lock(Environment(lines or ("house-rules",)), AMD64, BASE, registered=None)


def ways(private: PackageIndex, tmp_path: Path) -> dict[str, tuple[dict[str, str], tuple[str, ...]]]:
    """Variables, and the target's `index`, by which people say it."""
    inside = private.url.replace("://", f"://{USER}:{quote(PASSWORD, safe='')}@")
    account = {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": PASSWORD}
    netrc = tmp_path / "netrc"
    netrc.write_text(f'machine 127.0.0.1 login {USER} password "{PASSWORD}"\n')
    netrc.chmod(0o600)
    conf = tmp_path / "pip.conf"
    conf.write_text(f"[global]\nextra-index-url = {inside}\n")
    configuration = tmp_path / "config" / "uv" / "uv.toml"
    configuration.parent.mkdir(parents=True, exist_ok=True)
    configuration.write_text(f'[[index]]\nname = "corp"\nurl = "{private.url}"\n')
    return {
        "uv.toml": ({"XDG_CONFIG_HOME": str(tmp_path / "config"), **account}, ()),
        "UV_DEFAULT_INDEX": ({"UV_DEFAULT_INDEX": inside}, ()),
        "UV_INDEX_URL": ({"UV_INDEX_URL": inside}, ()),
        "UV_INDEX": ({"UV_INDEX": f"corp={private.url}", **account}, ()),
        "UV_EXTRA_INDEX_URL": ({"UV_EXTRA_INDEX_URL": inside}, ()),
        "PIP_INDEX_URL": ({"PIP_INDEX_URL": inside}, ()),
        "PIP_EXTRA_INDEX_URL": ({"PIP_EXTRA_INDEX_URL": inside}, ()),
        "pip.conf": ({"PIP_CONFIG_FILE": str(conf)}, ()),
        "netrc": ({"UV_INDEX": private.url, "NETRC": str(netrc)}, ()),
        "setting": (account, (f"corp={private.url}", "https://pypi.org/simple")),
        "setting alone": ({**account, "UV_INDEX_URL": "http://127.0.0.1:9/"}, (f"corp={private.url}",)),
    }


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_name_an_index_and_its_account(private: PackageIndex, tmp_path: Path, way: str) -> None:
    """The package is found and its wheel downloaded, with the account; neither lock nor cache has the password."""
    variables, urls = ways(private, tmp_path)[way]
    variables = environ(tmp_path, **variables)
    found = lock(tmp_path, variables, index=urls)
    (wheel,) = found.wheels
    assert wheel.url == f"http://127.0.0.1:{private.port}/files/{wheel.filename}"
    http = download.session(lambda new: prepare(new, [Index.load(variables, urls)], variables))
    assert download.download(http, wheel, tmp_path / "got.whl", lambda _: None)
    assert private.asked[-1] == (f"/files/{wheel.filename}", True)
    kept = [tmp_path / "cache", tmp_path / "uv"]
    everything = [path for folder in kept for path in folder.rglob("*")]
    assert not [p for p in everything if any(canary in str(p) for canary in CANARIES)]
    assert not [p for p in everything if p.is_file() and b"canary" in p.read_bytes()]


def test_a_frozen_lock_on_disk_has_no_password(private: PackageIndex, tmp_path: Path) -> None:
    """A password that changes makes no other lock, and none is in its file or its name."""
    keys = []
    for password in ("canary-one", "canary-two"):
        variables = environ(
            tmp_path, UV_EXTRA_INDEX_URL=f"http://me:{password}@127.0.0.1:{private.port}/simple"
        )
        index = Index.load(variables)
        assert "canary" not in str(index.key()) + str(index.urls)
        keys.append(index.key())
    assert keys[0] == keys[1]


@pytest.mark.parametrize("password", ["canary-wrong", ""])
def test_a_refused_account_is_no_fault_of_the_version(
    private: PackageIndex, tmp_path: Path, password: str
) -> None:
    """An index that answers 401 is told with its address; it may be tried again, and no password is shown."""
    variables = environ(tmp_path, UV_DEFAULT_INDEX=f"corp={private.url}")
    if password:
        variables |= {"UV_INDEX_CORP_USERNAME": USER, "UV_INDEX_CORP_PASSWORD": password}
    with pytest.raises(IndexUnavailableError) as caught:
        lock(tmp_path, variables)
    assert f"127.0.0.1:{private.port}" in str(caught.value)
    assert "401" in str(caught.value)
    assert "UV_INDEX_" in caught.value.hint
    assert "canary" not in caught.value.line + caught.value.detail


def test_an_index_without_upload_times_gives_what_it_has(private: PackageIndex, tmp_path: Path) -> None:
    """Beside an index that tells times, a private one that tells none is still used, for its packages alone."""
    variables = environ(
        tmp_path, UV_INDEX=f"corp={private.url}", UV_INDEX_CORP_USERNAME=USER, UV_INDEX_CORP_PASSWORD=PASSWORD
    )
    resolver = Resolver.load(tmp_path / "cache", variables)
    lines = ("house-rules", "other-rules", "idna")
    found = resolver.lock(Environment(lines), AMD64, BASE, registered=datetime(2025, 1, 2, 12, tzinfo=UTC))
    assert [(w.name, w.version) for w in found.wheels] == [
        ("house-rules", "1.0"),
        ("idna", "3.10"),
        ("other-rules", "1.0"),
    ]


def test_a_page_that_is_young_enough_is_asked_for_once(private: PackageIndex, tmp_path: Path) -> None:
    """What an index said after the moment that counts is good for the next platform and version; a refusal asks anew."""
    wheels.make(private.folder, "third_rules", {"third_rules/__init__.py": b""}, requires=("house-rules",))
    with serve(private.folder, secret=False, uploaded="2025-01-01T00:00:00Z") as timed:
        variables = environ(tmp_path, UV_DEFAULT_INDEX=timed.url)
        resolver = Resolver.load(tmp_path / "cache", variables)

        def asked(*lines: str, machine: str = "amd64") -> list[str]:
            before, day = len(timed.asked), datetime(2025, 6, 2, 12, tzinfo=UTC)
            resolver.lock(Environment(lines), Platform("linux", machine), BASE, registered=day)
            return [path for path, _ in timed.asked[before:] if "/simple/" in path]

        assert sorted(asked("third-rules")) == ["/simple/house-rules/", "/simple/third-rules/"]
        assert asked("third-rules", machine="arm64") == []
        assert asked("house-rules") == []
        with pytest.raises(ResolutionError):
            asked("third-rules==2.0")
        assert timed.asked[-1][0].startswith("/simple/third-rules/")


@pytest.mark.parametrize(("hours", "past"), [(-1, False), (0, False), (1, False), (2, True), (1000, True)])
def test_no_page_from_before_the_moment_is_good(hours: float, past: bool) -> None:
    """A page that uv takes for fresh must be younger than the moment that is resolved for."""
    assert is_past(datetime.now(UTC) - timedelta(hours=hours)) == past
    assert not is_past(None)


def test_the_account_goes_nowhere_else(private: PackageIndex, tmp_path: Path) -> None:
    """Another port of the same host, and a redirect to it, see no Authorization."""
    variables = environ(
        tmp_path, UV_INDEX=f"corp={private.url}", UV_INDEX_CORP_USERNAME=USER, UV_INDEX_CORP_PASSWORD=PASSWORD
    )
    http = prepare(requests.Session(), [Index.load(variables)], variables)
    with serve(private.folder) as foreign:
        foreign_url = f"http://127.0.0.1:{foreign.port}/files/house_rules-1.0-py3-none-any.whl"
        assert http.get(foreign_url).status_code == 401
        assert foreign.asked == [("/files/house_rules-1.0-py3-none-any.whl", False)]
    assert http.get(f"http://127.0.0.1:{private.port}/simple/house-rules/").status_code == 200


def test_a_model_s_own_index_must_be_ours(private: PackageIndex, tmp_path: Path) -> None:
    """An index that requirements.txt names is used where it is configured here, and refused elsewhere."""
    variables = environ(
        tmp_path, UV_INDEX=f"corp={private.url}", UV_INDEX_CORP_USERNAME=USER, UV_INDEX_CORP_PASSWORD=PASSWORD
    )
    resolver = Resolver.load(tmp_path / "cache", variables)
    ours = Environment(("house-rules",), indexes=(private.url + "/",), origin="requirements.txt")
    assert resolver.lock(ours, AMD64, BASE, registered=None).wheels
    foreign = Environment(
        ("house-rules",), indexes=("https://evil.example/simple",), origin="requirements.txt"
    )
    with pytest.raises(RequirementsError) as caught:
        resolver.lock(foreign, AMD64, BASE, registered=None)
    assert "https://evil.example/simple" in str(caught.value)


def test_constraints_of_the_site_hold(tmp_path: Path) -> None:
    """The target's constraints and the file of PIP_CONSTRAINT bind what a model asks for; a conflict is told."""
    (tmp_path / "constraints.txt").write_text("idna<3.9\n")
    variables = environ(tmp_path, PIP_CONSTRAINT=str(tmp_path / "constraints.txt"))
    target = Target("t", "T", "quay.io/x", (AMD64,), "base", constraints=("six<1.16",))
    resolver = Resolver.load(tmp_path / "cache", variables).at(target)
    found = resolver.lock(Environment(("idna", "six")), AMD64, BASE, registered=None)
    assert [(w.name, w.version) for w in found.wheels] == [("idna", "3.8"), ("six", "1.15.0")]
    with pytest.raises(ResolutionError) as caught:
        resolver.lock(Environment(("idna==3.10",)), AMD64, BASE, registered=None)
    assert "idna" in str(caught.value)
