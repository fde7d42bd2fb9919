"""The build secrets of package indexes: what the real pip does with them, and who never sees them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import certifi
import pytest

from publisher.domain import Platform, Target
from publisher.environments import build_secrets
from tests import wheels
from tests.contract.test_private_index import environ, ways
from tests.engines import packages
from tests.engines.packages import PackageIndex, serve

AMD64 = Platform("linux", "amd64")
PASSWORD = "canary/4711 %$:"  # pip sends what is not ASCII in another coding than uv


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setattr(packages, "PASSWORD", PASSWORD)
    monkeypatch.setattr("tests.contract.test_private_index.PASSWORD", PASSWORD)
    folder = tmp_path / "packages"
    folder.mkdir()
    wheels.make(folder, "house_rules", {"house_rules/__init__.py": b""})
    with serve(folder) as index:
        yield index


def target(index: tuple[str, ...] = ()) -> Target:
    return Target("t", "T", "quay.io/x", (AMD64,), "base", index=index)


def pip(conf: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """pip as a build runs it: nothing but the file says where packages are."""
    conf.write_text(conf.read_text().replace("/run/secrets", str(conf.parent)))
    return subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, "house-rules"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PIP_CONFIG_FILE": str(conf),
            "PIP_RETRIES": "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("way", ["uv.toml", "UV_INDEX_URL", "pip.conf", "netrc", "setting"])
def test_pip_finds_what_uv_finds(private: PackageIndex, tmp_path: Path, way: str) -> None:
    """However an index and its account are named, pip.conf leads there; without accounts it has the address alone."""
    variables, urls = ways(private, tmp_path)[way]
    variables = environ(tmp_path, **variables)
    found = build_secrets.of_target(variables, target(urls), tmp_path / "secrets", True)
    assert set(found) - {"ca.pem"} == {"pip.conf"}
    assert found["pip.conf"].stat().st_mode & 0o777 == 0o600
    assert found["pip.conf"].parent.stat().st_mode & 0o777 == 0o700
    done = pip(found["pip.conf"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (f"/files/{next(private.folder.iterdir()).name}", True) in private.asked
    bare = build_secrets.of_target(variables, target(urls), tmp_path / "bare", False)["pip.conf"].read_text()
    assert f"127.0.0.1:{private.port}" in bare
    assert "canary" not in bare
    assert "@" not in bare


def test_nothing_is_needed_for_pypi(tmp_path: Path) -> None:
    variables = {"PATH": "/bin", "PIP_CONFIG_FILE": os.devnull}
    for index in ((), ("https://pypi.org/simple",)):
        assert build_secrets.of_target(variables, target(index), tmp_path / "secrets", True) == {}
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"])
def test_authorities_go_along_and_keys_do_not(variable: str, tmp_path: Path) -> None:
    """Of the file that the site names, the certificates alone."""
    certificates = Path(certifi.where()).read_text("utf-8")
    begin = certificates.index("-----BEGIN CERTIFICATE-----")
    one = certificates[begin : certificates.index("-----END CERTIFICATE-----") + 25]
    bundle = tmp_path / "bundle.pem"
    key = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5Y2FuYXJ5\n-----END PRIVATE KEY-----\n"
    bundle.write_text(f"# canary\n{one}\n{key}{one}\n")
    variables = {"PATH": "/bin", "PIP_CONFIG_FILE": os.devnull, variable: str(bundle)}
    found = build_secrets.of_target(variables, target(), tmp_path / "secrets", True)
    assert found["ca.pem"].read_text() == f"{one}\n{one}\n"
    assert found["pip.conf"].read_text() == "[global]\ncert = /run/secrets/ca.pem\n\n"
    again = build_secrets.of_target(variables, target(), tmp_path / "secrets", True)
    assert again == found, "a second target of the same version writes them anew"


def test_other_settings_of_pip(tmp_path: Path) -> None:
    """Hosts whose certificates are not checked, folders of wheels on the web, and no index at all."""
    variables = {
        "PATH": "/bin",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_FIND_LINKS": f"{tmp_path},https://me:canary-pass@wheels.test/all",
        "UV_INSECURE_HOST": "https://a.test b.test:8443",
        "UV_NO_INDEX": "1",
        "UV_INDEX_URL": "https://pypi.test/simple",
    }
    text = build_secrets.of_target(variables, target(), tmp_path / "secrets", False)["pip.conf"].read_text()
    assert text == (
        "[global]\nno-index = true\nfind-links = \n\thttps://wheels.test/all\n"
        "trusted-host = \n\ta.test\n\tb.test:8443\n\n"
    )


def test_an_account_is_known_to_the_filter_of_outputs(private: PackageIndex, tmp_path: Path) -> None:
    """However it came here: what an engine prints of it is masked."""
    from publisher.redaction import redacted  # noqa: PLC0415

    variables, urls = ways(private, tmp_path)["pip.conf"]
    build_secrets.of_target(environ(tmp_path, **variables), target(urls), tmp_path / "secrets", True)
    for form in (PASSWORD, quote(PASSWORD, safe="")):
        assert "canary" not in redacted(f"pip says {form}")
