"""A registry through an HTTP proxy: with HTTPS and without, with a password that stays between us and the proxy."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from publisher.errors import RegistryError
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.push import push
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from publisher.oci.retries import Retries
from tests.contract.connect_proxy import Proxy, hosts, proxy
from tests.contract.test_registry import small_image
from tests.engines import free_port
from tests.engines.registry import RealRegistry, running

QUICK = Retries(tries=2, first_wait=0.05)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxies and bundles of the machine that runs the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def guarded() -> Iterator[Proxy]:
    """A proxy with a password."""
    with proxy("ci", "canary-6628") as found:
        yield found


@pytest.fixture(scope="module")
def plain_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry without TLS under a name that is not loopback, for which a proxy is asked."""
    with running(tmp_path_factory.mktemp("plain"), name=socket.gethostname()) as found:
        yield found


@pytest.fixture(params=["tls_registry", "plain_registry"])
def found(request: pytest.FixtureRequest) -> tuple[bool, RealRegistry]:
    """Whether it has HTTPS, and the registry."""
    return request.param == "tls_registry", request.getfixturevalue(request.param)


def client(registry: RealRegistry, *, insecure: bool = False) -> Registries:
    ca_file = None if insecure else registry.folder / "tls.pem"
    return Registries(Credentials(), default=Access(insecure=insecure, ca_file=ca_file, retries=QUICK))


def test_through_a_proxy(
    found: tuple[bool, RealRegistry], guarded: Proxy, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image goes through a proxy that wants a password, tunnelled or not."""
    secure, registry = found
    monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", guarded.url)
    known, image = client(registry, insecure=not secure), small_image(repository)
    push(image, Repository(registry.host, repository), known)
    assert known.at(registry.host).head_manifest(repository, image.top.digest) == image.top
    assert hosts(guarded) == {registry.host}
    assert "canary" not in registry.log.read_text()


def test_wrong_password(
    found: tuple[bool, RealRegistry], guarded: Proxy, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses us is told as that, once, and neither the user nor the password is shown."""
    secure, registry = found
    wrong = guarded.url.replace("canary-6628", "canary-0000")
    monkeypatch.setenv("HTTPS_PROXY" if secure else "HTTP_PROXY", wrong)
    with pytest.raises(RegistryError, match=r"the proxy before .* does not let us through: 407") as caught:
        client(registry, insecure=not secure).at(registry.host).head_manifest(repository, "v1")
    assert "HTTPS_PROXY" in caught.value.hint
    assert "canary" not in f"{caught.value.line} {caught.value.detail} {caught.value.__cause__!r}"
    assert len(guarded.lines) == 1


def test_refusal(tls_registry: RealRegistry, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that does not connect to this host says so at once."""
    with proxy(refuses=True) as strict:
        monkeypatch.setenv("HTTPS_PROXY", strict.url)
        with pytest.raises(RegistryError, match="does not let us through: 403"):
            client(tls_registry).at(tls_registry.host).head_manifest(repository, "v1")
        assert len(strict.lines) == 1


@pytest.mark.parametrize("way", ["HOST", "*", ".HOST"])
def test_no_proxy(
    way: str, guarded: Proxy, tls_registry: RealRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host in NO_PROXY is reached without the proxy."""
    monkeypatch.setenv("HTTPS_PROXY", guarded.url)
    monkeypatch.setenv("NO_PROXY", way.replace("HOST", tls_registry.host.partition(":")[0]))
    assert client(tls_registry).at(tls_registry.host).head_manifest(repository, "v1") is None
    assert not guarded.lines


def test_proxy_that_is_away(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is away is told within seconds, as the proxy, without its password."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://ci:canary-6628%40@127.0.0.1:{free_port()}")
    with pytest.raises(
        RegistryError, match=r"cannot reach the registry r\.invalid through the proxy"
    ) as caught:
        Registry("r.invalid", Credentials(), Access(retries=QUICK)).head_manifest(repository, "v1")
    assert "Connection refused" in str(caught.value)
    assert "HTTPS_PROXY" in caught.value.hint
    assert "canary" not in caught.value.line


@pytest.mark.parametrize(
    "url", ["http://[canary-6628", "http://ci:canary-6628@:0", "gopher://ci:canary-6628@x"]
)
def test_nonsense(url: str, repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is no address is told without its text."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    with pytest.raises(RegistryError, match="proxy") as caught:
        Registry("r.invalid", Credentials(), Access(retries=QUICK)).head_manifest(repository, "v1")
    assert "canary" not in caught.value.line
