"""How registries are reached: what targets say, and what is wrong with what they say."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from publisher.domain import Target
from publisher.errors import SettingsError
from publisher.oci.access import Access, of_targets
from publisher.settings import load

NEEDED = {"MLFLOW_TRACKING_URI": "http://a"}


def target(registry: str = "r.example/team", **more: object) -> Target:
    return Target("t", "T", registry, (), "", **more)  # type: ignore[arg-type]


def test_by_host() -> None:
    """Each host has what its target says; a layout on disk has no host."""
    found = of_targets(
        [
            target("r.example:5000/team", insecure=True, chunk_size=1 << 20, api_path="/hub"),
            target("docker.io/me", token_realms=("a.example",)),
            target("oci:/somewhere"),
        ]
    )
    assert found == {
        "r.example:5000": Access(insecure=True, chunk_size=1 << 20, api_path="/hub"),
        "docker.io": Access(realms=frozenset({"a.example"})),
    }


def test_two_targets_in_one_registry() -> None:
    """What one of them says holds for both; realms add up."""
    ca = Path("/ca.pem")
    one = target(ca_file=ca, token_realms=("a.example",))
    found = of_targets([one, target("r.example/other", token_realms=("b.example",)), target()])
    assert found == {"r.example": Access(ca_file=ca, realms=frozenset({"a.example", "b.example"}))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ca_file": Path("/a")}, {"ca_file": Path("/b")}),
        ({"chunk_size": 1 << 20}, {"chunk_size": 2 << 20}),
        ({"api_path": "/a"}, {"api_path": "/b"}),
    ],
)
def test_disagreement(one: dict[str, object], other: dict[str, object]) -> None:
    """Two targets that say different things of one registry are a fault that tells both."""
    name = next(iter(one))
    with pytest.raises(SettingsError, match=rf"two targets in r\.example have another {name}: ") as caught:
        of_targets([target(**one), target(**other)])
    assert str(other[name]) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("CA_FILE", "/nowhere.pem", "/nowhere.pem cannot be read: No such file"),
        ("CA_FILE", __file__, "expected certificates in PEM"),
        ("TOKEN_REALMS", "https://a.example", "expected hosts without port"),
        ("TOKEN_REALMS", "a.example:443", "expected hosts without port"),
        ("CHUNK_SIZE", "1000", "at least 1MiB"),
        ("CHUNK_SIZE", "much", "expected a size such as"),
        ("API_PATH", "hub", "expected a path such as /hub"),
        ("API_PATH", "/hub/", "expected a path such as /hub"),
        ("API_PATH", "/hub?x=1", "expected a path such as /hub"),
        ("API_PATH", "/../x", "expected a path such as /hub"),
    ],
)
def test_wrong_values(key: str, value: str, words: str) -> None:
    """A wrong value is told before any work, with what is expected."""
    environ = NEEDED | {"REGISTRY_URL": "r.example", f"PUBLISHER_TARGETS__PLTR_FOUNDRY__{key}": value}
    with pytest.raises(SettingsError, match=words):
        load({}, environ)


def test_relative_file(tmp_path: Path) -> None:
    """A ca_file in publisher.toml is relative to that file."""
    (tmp_path / "ca.pem").write_bytes(Path(certifi.where()).read_bytes())
    file = tmp_path / "publisher.toml"
    file.write_text('[targets.x]\nregistry = "r.example"\nca_file = "ca.pem"\ntoken_realms = ["A.example"]\n')
    found = load({}, NEEDED, file).targets[0]
    assert (found.ca_file, found.token_realms) == (tmp_path / "ca.pem", ("a.example",))
