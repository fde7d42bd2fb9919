"""Debian's real container registry: open, with htpasswd, and with a token service."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.engines import free_port, require


@dataclass
class RealRegistry:
    """A running registry. `log` tells every request; `folder` holds the storage."""

    host: str
    folder: Path
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)
    user: str = ""
    password: str = field(default="", repr=False)

    def requests(self, method: str, path: str = "") -> list[str]:
        """The access log's lines of `method` whose path holds `path`."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if f'"{method} /v2/' in line and path in line]


@contextmanager
def running(
    folder: Path,
    *,
    auth: dict[str, Any] | None = None,
    name: str = "127.0.0.1",
    tls: bool | dict[str, Any] = False,
    prefix: str = "",
    deletes: bool = True,
) -> Iterator[RealRegistry]:
    """Start ``docker-registry serve`` with its storage in `folder`, wait for its answer, stop it at the end.

    `name` stands for an address of this machine. With `tls`, ``folder/tls.pem`` is its certificate for that
    name, signed by itself; or `tls` is what the registry's settings say of it. `prefix`: the path, such as ``/hub/``, below which it serves.
    """
    program = require("docker-registry", "docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    host = f"{name}:{port}"
    address = f"{socket.gethostbyname(name)}:{port}"
    config = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}, "delete": {"enabled": deletes}},
        "http": {
            "addr": address,
            "secret": secrets.token_hex(16),
            "prefix": prefix or "/",
            **_tls(folder, name, tls),
        },
        **({"auth": auth} if auth else {}),
    }
    (folder / "config.yml").write_text(yaml.safe_dump(config))
    log = folder / "registry.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        _wait(f"{'https' if tls else 'http'}://{host}{prefix or '/'}v2/", folder / "tls.pem", process, log)
        yield RealRegistry(host, folder, log, process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tls(folder: Path, name: str, tls: bool | dict[str, Any]) -> dict[str, Any]:
    if isinstance(tls, dict):
        return {"tls": tls}
    if not tls:
        return {}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    (folder / "tls.pem").write_bytes(_signed_by_itself(key, names).public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return {"tls": {"certificate": str(folder / "tls.pem"), "key": str(folder / "tls.key")}}


def _signed_by_itself(key: rsa.RSAPrivateKey, *extensions: x509.ExtensionType) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def _wait(url: str, authority: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(
                url, timeout=2, verify=str(authority) if authority.exists() else True
            ).status_code in (200, 401):
                return
        except requests.exceptions.SSLError:
            return  # it talks, if not to us
        except requests.ConnectionError:
            time.sleep(0.05)
    pytest.fail(f"the registry does not start: {log.read_text(errors='replace')[-2000:]}")


def token_config(folder: Path, service: TokenService) -> dict[str, Any]:
    """The registry's settings for tokens of `service`."""
    certificate = folder / "token.pem"
    certificate.write_bytes(service.certificate)
    return {
        "token": {
            "realm": service.url,
            "service": service.name,
            "issuer": "tests",
            "rootcertbundle": str(certificate),
        }
    }


class TokenService:
    """A token service as distribution's documents describe it: Basic or a refresh token in, RS256 JWT out.

    `issued` lists the scopes of each token; `seconds` is how long the next ones last; `allowed` limits what
    they allow. With `rotates`, an identity token is good for once, and the answer has the next one.
    """

    name = "tests registry"

    def __init__(self) -> None:
        self.user = "ci"
        self.password = secrets.token_urlsafe(16)
        self.identity_token = secrets.token_urlsafe(16)
        self.issued: list[tuple[str, ...]] = []
        self.seconds = 300
        self.lifetime_told = 300
        self.allowed: set[str] | None = None
        self.rotates = False
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        made = _signed_by_itself(self._key)
        self.certificate = made.public_bytes(serialization.Encoding.PEM)
        self._der = made.public_bytes(serialization.Encoding.DER)
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                basic = base64.b64encode(f"{service.user}:{service.password}".encode()).decode()
                query = parse_qs(urlsplit(self.path).query)
                self._answer(self.headers.get("Authorization") == f"Basic {basic}", query.get("scope", []))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                known = form.get("refresh_token") == [service.identity_token]
                self._answer(known and form.get("grant_type") == ["refresh_token"], form["scope"][0].split())

            def _answer(self, known: bool, scopes: list[str]) -> None:
                document = (
                    {"token": service.sign(scopes), "expires_in": service.lifetime_told} if known else {}
                )
                if service.rotates and known and self.command == "POST":
                    service.identity_token = secrets.token_urlsafe(16)
                    document["refresh_token"] = service.identity_token
                content = json.dumps(document).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def sign(self, scopes: list[str]) -> str:
        self.issued.append(tuple(scopes))
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            given = [
                action for action in actions.split(",") if self.allowed is None or action in self.allowed
            ]
            access.append({"type": kind, "name": name, "actions": given})
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(self._der).decode()]}
        claims = {
            "iss": "tests",
            "sub": self.user,
            "aud": self.name,
            "iat": now,
            "nbf": now - 120,
            "exp": now + self.seconds,
            "jti": uuid.uuid4().hex,
            "access": access,
        }
        text = ".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{text}.{_base64url(signature)}"


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry that asks nobody who they are."""
    with running(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry with one user, by htpasswd."""
    htpasswd = require("htpasswd", "apache2-utils")
    folder = tmp_path_factory.mktemp("private-registry")
    user, password = "ci", secrets.token_urlsafe(16)
    entry = subprocess.run([htpasswd, "-niB", user], input=password.encode(), capture_output=True, check=True)
    (folder / "htpasswd").write_bytes(entry.stdout)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with running(folder, auth=auth) as started:
        started.user, started.password = user, password
        yield started


@pytest.fixture(scope="session")
def token_service() -> Iterator[TokenService]:
    """A token service that knows one user."""
    service = TokenService()
    yield service
    service.server.shutdown()


@pytest.fixture(scope="session")
def token_registry(
    tmp_path_factory: pytest.TempPathFactory, token_service: TokenService
) -> Iterator[RealRegistry]:
    """A registry that wants tokens of `token_service`."""
    folder = tmp_path_factory.mktemp("token-registry")
    with running(folder, auth=token_config(folder, token_service)) as started:
        started.user, started.password = token_service.user, token_service.password
        yield started


@pytest.fixture(scope="session")
def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    """A registry with HTTPS, under this machine's own name, with a certificate that nobody knows."""
    with running(tmp_path_factory.mktemp("tls-registry"), name=socket.gethostname(), tls=True) as started:
        yield started


@pytest.fixture
def repository() -> str:
    """The name of a repository that nobody has used."""
    return f"tests/{uuid.uuid4().hex[:12]}"
