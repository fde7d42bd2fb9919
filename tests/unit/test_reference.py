"""Image references, friendly and hostile."""

from __future__ import annotations

import pytest

from publisher.oci.reference import Reference, Repository, api_host, is_digest, is_tag

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "host", "name", "tag", "digest"),
    [
        ("r.example/model", "r.example", "model", "latest", None),
        ("r.example:5000/team/model:v1", "r.example:5000", "team/model", "v1", None),
        ("localhost/model:v1", "localhost", "model", "v1", None),
        ("127.0.0.1:5000/a/b/c:V_1.0-rc", "127.0.0.1:5000", "a/b/c", "V_1.0-rc", None),
        ("[::1]:5000/model", "[::1]:5000", "model", "latest", None),
        (f"r.example/model@{DIGEST}", "r.example", "model", None, DIGEST),
        (f"r.example/model:v1@{DIGEST}", "r.example", "model", "v1", DIGEST),
        ("r.example/a__b--c.d_e", "r.example", "a__b--c.d_e", "latest", None),
        ("python", "docker.io", "library/python", "latest", None),
        ("python:3.11", "docker.io", "library/python", "3.11", None),
        ("team/model", "docker.io", "team/model", "latest", None),
        ("index.docker.io/python", "docker.io", "library/python", "latest", None),
    ],
)
def test_read(text: str, host: str, name: str, tag: str | None, digest: str | None) -> None:
    """A reference is read as docker reads it."""
    assert Reference.parse(text) == Reference(Repository(host, name), tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "r.example/",
        "a@b",
        "r.example/a@b",
        "user@r.example/model",
        "user:pass@r.example/model",
        "https://r.example/model",
        "r.example//model",
        "r.example/model/",
        "r.example/../model",
        "r.example/a/../b",
        "r.example/.hidden",
        "r.example/Model",
        "R.example/model",
        "r.example/a___b",
        "r.example/a..b",
        "r.example/model:",
        "r.example/model:.v1",
        "r.example/model:" + "v" * 129,
        "r.example/model:v1:v2",
        "r.example/model@sha256:abc",
        f"r.example/model@{DIGEST.upper()}",
        f"r.example/model@{DIGEST}0",
        "r.example:/model",
        "r.example:port/model",
        "r.example:500000/model",
        "-r.example/model",
        "r.example-/model",
        "r..example/model",
        "bücher.example/model",
        "xn--bcher-kva.example\u2024evil/model",
        "r.example\uff0fevil/model",
        "r.example/mod\u0435l",
        "r.example/model\n",
        "r.example/model\x00",
        "r.example/model v1",
        " r.example/model",
        "r.example/model?x=1",
        "r.example/model#x",
        "r.example/model%2e%2e",
        "r.example\\evil/model",
        "r.example/" + "a" * 256,
    ],
)
def test_refused(text: str) -> None:
    """What could mean another host, another path, or nothing, is no reference."""
    with pytest.raises(ValueError, match="is not an image reference"):
        Reference.parse(text)


@pytest.mark.parametrize(
    "text", ["r.example/model:v1", f"r.example/model@{DIGEST}", f"r.example/m:v1@{DIGEST}"]
)
def test_written(text: str) -> None:
    """A reference that was read is written as it was."""
    assert str(Reference.parse(text)) == text


def test_name() -> None:
    """A manifest is asked for by its digest where there is one: a tag may move."""
    assert Reference.parse(f"r.example/model:v1@{DIGEST}").name == DIGEST
    assert Reference.parse("r.example/model:v1").name == "v1"


def test_api_host() -> None:
    """Docker Hub answers under another name than its images have; other hosts are themselves."""
    assert api_host("docker.io") == "registry-1.docker.io"
    assert api_host("r.example:5000") == "r.example:5000"


def test_parts() -> None:
    """Tags and digests by themselves are judged whole."""
    assert is_tag("v1")
    assert is_digest(DIGEST)
    for wrong in ("v1\n", "", "a/b", "-v1", ".."):
        assert not is_tag(wrong)
    for wrong in (DIGEST + "\n", "sha256:", "sha512:" + "0" * 64, "sha256:../../x"):
        assert not is_digest(wrong)
