"""The registry client and what lies between: certificates, proxies, plain HTTP by mistake."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from publisher.errors import RegistryError, RegistryUnavailableError
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.push import push
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from tests.contract.test_registry import small_image
from tests.engines import free_port
from tests.engines.registry import RealRegistry, running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own name is not for a proxy, nor are bundles of the machine that runs the tests."""
    monkeypatch.setenv("NO_PROXY", socket.gethostname())
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_unknown_certificate(tls_registry: RealRegistry, repository: str) -> None:
    """A certificate that nobody vouches for is told at once, with the variable that names its authority."""
    with pytest.raises(RegistryError, match="is not trusted") as caught:
        Registry(tls_registry.host, Credentials()).head_manifest(repository, "v1")
    assert "SSL_CERT_FILE" in caught.value.hint
    assert caught.type is RegistryError  # and not that it cannot be reached, which is asked several times


@pytest.mark.parametrize("way", ["ca_file", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_own_authority(
    way: str, tls_registry: RealRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its authority given, in each of three ways, a registry with HTTPS takes an image."""
    bundle = str(tls_registry.folder / "tls.pem")
    if way != "ca_file":
        monkeypatch.setenv(way, bundle)
    known = Registries(Credentials(), default=Access(ca_file=Path(bundle) if way == "ca_file" else None))
    image = small_image(repository)
    push(image, Repository(tls_registry.host, repository), known)
    assert known.at(tls_registry.host).head_manifest(repository, image.top.digest) == image.top


def test_plain_http_by_mistake(repository: str, tmp_path: Path) -> None:
    """Plain HTTP under a name that is not loopback is told as such, and spoken only where settings allow it."""
    with running(tmp_path, name=socket.gethostname()) as plain:
        with pytest.raises(RegistryError, match="speaks plain HTTP") as caught:
            Registry(plain.host, Credentials()).head_manifest(repository, "v1")
        assert "insecure" in caught.value.hint
        assert (
            Registry(plain.host, Credentials(), Access(insecure=True)).head_manifest(repository, "v1") is None
        )


def test_no_proxy_to_loopback(
    registry: RealRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment is not asked for loopback, where it would find another machine."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    assert Registry(registry.host, Credentials()).head_manifest(repository, "v1") is None


def test_silent_host(repository: str) -> None:
    """A host that lets the attempt to connect wait, as a firewall does, is told within six seconds."""
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):  # the queue is full: the kernel drops whoever comes next
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        start = time.monotonic()
        with pytest.raises(RegistryUnavailableError, match="no answer to the attempt to connect"):
            Registry(f"127.0.0.1:{deaf.getsockname()[1]}", Credentials()).head_manifest(repository, "v1")
        assert time.monotonic() - start < 6
