"""Registries with certificates of a private authority, and those that want one of ours."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from publisher.errors import RegistryError, SettingsError
from publisher.oci.access import Access
from publisher.oci.credentials import Credentials
from publisher.oci.push import push
from publisher.oci.reference import Repository
from publisher.oci.registry import Registries, Registry
from tests.contract.fronts import front
from tests.contract.test_registry import small_image
from tests.engines.authority import Authority
from tests.engines.registry import RealRegistry, running

NAME = socket.gethostname()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", NAME)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def settings(authority: Authority, name: str = NAME, days: int = 1) -> dict[str, Any]:
    certificate, key = authority.issue(name, days=days)
    return {"certificate": str(certificate), "key": str(key)}


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RealRegistry]:
    """A registry whose certificate `authority` signed."""
    with running(tmp_path_factory.mktemp("signed"), name=NAME, tls=settings(authority)) as found:
        yield found


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RealRegistry]:
    """The same, which lets in only those who show a certificate of `authority` themselves."""
    tls = settings(authority) | {"clientcas": [str(authority.file)]}
    with running(tmp_path_factory.mktemp("mutual"), name=NAME, tls=tls) as found:
        yield found


def certs_d(folder: Path, host: str, authority: Authority, *, client: bool = False) -> tuple[str]:
    """A folder as Docker's certs.d, with what is known of `host`."""
    place = folder / "certs.d" / host
    place.mkdir(parents=True)
    shutil.copy(authority.file, place / "ca.crt")
    if client:
        certificate, key = authority.issue("us", client=True)
        shutil.copy(certificate, place / "ours.cert")
        shutil.copy(key, place / "ours.key")
    return (str(place.parent),)


@pytest.mark.parametrize("way", ["ca_file", "certs.d"])
def test_private_authority(
    way: str, signed: RealRegistry, authority: Authority, repository: str, tmp_path: Path
) -> None:
    """An image goes to a registry of a private authority that a setting names, or that Docker knows already."""
    folders = certs_d(tmp_path, signed.host, authority)
    access = Access(ca_file=authority.file) if way == "ca_file" else Access(certificates=folders)
    known, image = Registries(Credentials(), default=access), small_image(repository)
    push(image, Repository(signed.host, repository), known)
    assert known.at(signed.host).head_manifest(repository, image.top.digest) == image.top


def test_another_hosts_authority(
    signed: RealRegistry, authority: Authority, repository: str, tmp_path: Path
) -> None:
    """What certs.d has for another port, or another authority's file, opens nothing, and the way out is named."""
    folders = certs_d(tmp_path, f"{NAME}:1", authority)
    (tmp_path / "other").mkdir()
    for access in (Access(certificates=folders), Access(ca_file=Authority(tmp_path / "other").file)):
        with pytest.raises(RegistryError, match="is not trusted: unable to get local issuer") as caught:
            Registry(signed.host, Credentials(), access).head_manifest(repository, "v1")
        assert "ca_file" in caught.value.hint


@pytest.mark.parametrize("case", [("other.example", 1, "ostname"), (NAME, -1, "has expired")])
def test_wrong_certificate(
    case: tuple[str, int, str], authority: Authority, repository: str, tmp_path: Path
) -> None:
    """A certificate for another name, or one that has expired, is told as that; no authority would help."""
    name, days, words = case
    with running(tmp_path, name=NAME, tls=settings(authority, name, days)) as wrong:
        with pytest.raises(RegistryError, match=f"is not trusted: .*{words}") as caught:
            Registry(wrong.host, Credentials(), Access(ca_file=authority.file)).head_manifest(
                repository, "v1"
            )
        assert "ca_file" not in caught.value.hint


def test_certificate_of_ours(
    mutual: RealRegistry, authority: Authority, repository: str, tmp_path: Path
) -> None:
    """A registry that wants a certificate of ours gets that of certs.d; without one it is told what to do."""
    access = Access(certificates=certs_d(tmp_path, mutual.host, authority, client=True))
    known, image = Registries(Credentials(), default=access), small_image(repository)
    push(image, Repository(mutual.host, repository), known)
    assert known.at(mutual.host).head_manifest(repository, image.top.digest) == image.top
    with pytest.raises(RegistryError, match="wants a certificate of ours") as caught:
        Registry(mutual.host, Credentials(), Access(ca_file=authority.file)).head_manifest(repository, "v1")
    assert f"certs.d/{mutual.host}/" in caught.value.hint


def test_certificate_of_ours_is_for_one_host(
    mutual: RealRegistry, authority: Authority, repository: str, tmp_path: Path
) -> None:
    """A host that a registry redirects to does not see our certificate."""
    with front(lambda handler: handler.answer(307, {"Location": f"https://{mutual.host}/"})) as bad:
        folders = certs_d(tmp_path, bad.host, authority, client=True)
        access = Access(certificates=folders)
        with pytest.raises(RegistryError, match="wants a certificate of ours"):
            Registry(bad.host, Credentials(), access).head_manifest(repository, "v1")


@pytest.mark.parametrize(
    "content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_broken_file(content: str, tmp_path: Path) -> None:
    """A file in certs.d that holds no certificate is named."""
    (tmp_path / "r.example").mkdir()
    (tmp_path / "r.example" / "ca.crt").write_text(content)
    with pytest.raises(SettingsError, match=r"r\.example/ca\.crt cannot be used as a certificate"):
        Registry("r.example", Credentials(), Access(certificates=(str(tmp_path),)))


def test_key_that_is_missing(authority: Authority, tmp_path: Path) -> None:
    """A certificate of ours without its key, or with another's, is a fault that names it."""
    certificate, _ = authority.issue("us", client=True)
    place = tmp_path / "r.example"
    place.mkdir()
    shutil.copy(certificate, place / "ours.cert")
    access = Access(certificates=(str(tmp_path),))
    with pytest.raises(SettingsError, match=r"ours\.cert cannot be used as a certificate: No such file"):
        Registry("r.example", Credentials(), access)
    shutil.copy(authority.issue("other")[1], place / "ours.key")
    with pytest.raises(SettingsError, match="not that of its key"):
        Registry("r.example", Credentials(), access)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_bundle_that_is_missing(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that leads to no file is named, for all registries with HTTPS."""
    monkeypatch.setenv(variable, "/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=f"{variable} names /nowhere/ca.pem, which is not there"):
        Registry("r.example", Credentials())
    Registry("localhost:5000", Credentials())
