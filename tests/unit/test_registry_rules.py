"""The rules by which the registry client trusts hosts, reads challenges and waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from publisher.errors import RegistryError
from publisher.oci.authorization import challenges
from publisher.oci.hosts import Origin, is_loopback, related
from publisher.oci.retries import retry_after


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', {"basic": {"realm": "x"}}),
        (
            'Bearer realm="https://a/token",service="r, x",scope="repository:a/b:pull,push"',
            {"bearer": {"realm": "https://a/token", "service": "r, x", "scope": "repository:a/b:pull,push"}},
        ),
        ('BEARER Realm = "a" , Basic realm=b', {"bearer": {"realm": "a"}, "basic": {"realm": "b"}}),
        (r'Basic realm="a \"b\""', {"basic": {"realm": 'a "b"'}}),
        ("Negotiate, Basic", {"negotiate": {}, "basic": {}}),
        ("", {}),
        ('Bearer realm="unclosed', {"bearer": {}}),
    ],
)
def test_challenges(header: str, expected: dict[str, dict[str, str]]) -> None:
    """WWW-Authenticate is read by its grammar: quotes, lists, any case; what is broken is not guessed."""
    assert challenges(header) == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("registry.gitlab.com", "gitlab.com", True),
        ("registry-1.docker.io", "auth.docker.io", True),
        ("a.example.co.uk", "b.example.co.uk", True),
        ("a.co.uk", "b.co.uk", False),
        ("gitlab.com", "gitlab.com.evil.org", False),
        ("gitlab.com", "notgitlab.com", False),
        ("10.0.0.1", "11.0.0.1", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("::1", "::2", False),
        ("registry", "tokens", False),
        ("registry", "registry", True),
    ],
)
def test_related(one: str, other: str, expected: bool) -> None:
    """Hosts are related by a domain that one owner holds, never by a suffix of letters or an address."""
    assert related(one, other) is expected
    assert related(other, one) is expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:5000", True),
        ("127.8.9.1", True),
        ("[::1]:5000", True),
        ("localhost.evil.org", False),
        ("127.0.0.1.evil.org", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    """Plain HTTP is for this machine alone, by exact names and addresses."""
    assert is_loopback(host) is expected


def test_scheme() -> None:
    """HTTPS is spoken, but for loopback, and where the settings say insecure."""
    assert Origin("r.example", "r.example", insecure=False).url == "https://r.example"
    assert Origin("r.example:80", "r.example:80", insecure=True).url == "http://r.example:80"
    assert Origin("[::1]:5000", "[::1]:5000", insecure=False).url == "http://[::1]:5000"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/x?a=1", "https://r.example/v2/x?a=1"),
        ("http://r.example/v2/x", "https://r.example/v2/x"),
        ("https://r.example:443/v2/x", "https://r.example/v2/x"),
        ("https://storage.example/x", "https://storage.example/x"),
    ],
)
def test_locate(location: str, expected: str) -> None:
    """A Location may be relative, or our own host under a proxy's wrong scheme; another host stays another."""
    origin = Origin("r.example", "r.example", insecure=False)
    assert origin.locate("https://r.example/v2/", location) == expected
    assert origin.owns(expected) is ("storage" not in expected)


@pytest.mark.parametrize(
    "location",
    [
        "http://storage.example/x",
        "http://r.example:8080/x",
        "https://127.0.0.1/x",
        "https://localhost:2375/x",
        "https://user@r.example/x",
        "https://:1/x",
        "ftp://r.example/x",
    ],
)
def test_locate_refuses(location: str) -> None:
    """A registry sends us neither to plain HTTP nor to our own machine."""
    origin = Origin("r.example", "r.example", insecure=False)
    with pytest.raises(RegistryError, match="not followed"):
        origin.locate("https://r.example/v2/", location)


def test_realm_over_http() -> None:
    """A password goes to no token service without encryption, not even to the registry's own host."""
    with pytest.raises(RegistryError, match="without encryption"):
        Origin("r.example", "r.example", insecure=False).realm("http://r.example/token")
    with pytest.raises(RegistryError, match="without encryption"):
        Origin("r.example", "r.example", insecure=True).realm("http://auth.example/token")
    assert Origin("r.example", "r.example", insecure=True).realm("http://r.example/token") == "r.example"


def test_retry_after() -> None:
    """Retry-After is read as seconds and as a date; nonsense is no answer, and the past is now."""
    ahead = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after("120") == 120
    assert 25 < (retry_after(ahead) or 0) <= 30
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for nonsense in (None, "", "soon", "-1", "\u0661"):
        assert retry_after(nonsense) is None
