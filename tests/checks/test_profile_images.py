"""What a profile says of a finished image, of whichever builder: by its manifest, its config, its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.checks.profile import after
from publisher.checks.profiles import NAMES, named
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from publisher.domain import Platform
from publisher.oci.layout import INDEX, LAYER_GZIP, Descriptor, Layout, encode
from publisher.oci.normalise import one_image
from tests.checks import elves
from tests.checks.images import At, Files, base, folder, image, layer, link
from tests.unit.test_normalise import CREATED

AMD64 = Platform("linux", "amd64")
SHELL = elves.make(needed=["libc.so.6"], interpreter="/lib64/ld-linux-x86-64.so.2")
TOOLS: Files = {"usr/bin/sh": SHELL, "usr/bin/tee": SHELL, "bin": link("usr/bin"), "tmp": folder(0o1777)}
SERVER: Files = {"app": folder(), "app/serve.py": At(content=b"1", mode=0o644)}
CONFIG = {
    "Entrypoint": ["python3", "/app/serve.py"],
    "User": "10001:0",
    "WorkingDir": "/app",
    "Env": ["PATH=/usr/bin", "HOME=/tmp"],
    "ExposedPorts": {"8080/tcp": {}},
}


def verdict(profile: str, built: Layout) -> Verdict:
    config = built.config(built.children()[0].digest)
    platform = Platform(config["os"], config["architecture"])
    found = after(built, platform, built.children()[0].digest, Surveys(), named(profile))
    assert found.check == "profile"
    assert all(finding.remedy for finding in found.findings)
    return found


def made(*layers: Files, architecture: str = "amd64", **config: object) -> Layout:
    """A good image for every profile, but for what is said here."""
    content = [layer(files) for files in layers or (base(), TOOLS, SERVER)]
    return image(content, architecture, **{**CONFIG, **config})


def said(profile: str, *layers: Files, **config: object) -> str:
    """The reason of a failed check; empty where it is ok."""
    found = verdict(profile, in_form(profile, made(*layers, **config)))  # type: ignore[arg-type]
    return found.reason if found.state == "failed" else ""


def in_form(profile: str, plain: Layout) -> Layout:
    form = named(profile).form
    return one_image({AMD64: plain}, {}, CREATED, {}, form) if form == "docker" else plain


@pytest.mark.parametrize("profile", NAMES)
def test_an_image_that_all_take(profile: str) -> None:
    assert said(profile) == ""


@pytest.mark.parametrize("profile", ["foundry", "kserve", "openshift"])
@pytest.mark.parametrize("user", ["", "0", "0:0", "root", "model"])
def test_root_and_names_are_refused(profile: str, user: str) -> None:
    """As a Dockerfile of the version's own leaves it; what to write is told."""
    found = verdict(profile, made(User=user))
    assert found.state == "failed"
    assert f"the profile {profile} takes" in found.reason
    assert "USER " in found.findings[0].remedy


@pytest.mark.parametrize("profile", ["default", "sagemaker"])
def test_root_is_taken_where_the_platform_does(profile: str) -> None:
    assert said(profile, User="") == ""


@pytest.mark.parametrize(
    ("profile", "config", "expected"),
    [
        ("foundry", {"ExposedPorts": {"8080/tcp": {}, "443/tcp": {}}}, "exposes the port 443"),
        ("openshift", {"ExposedPorts": {"80": {}}}, "exposes the port 80"),
        (
            "sagemaker",
            {"ExposedPorts": {"5000/tcp": {}}},
            "exposes 5000, and the profile sagemaker asks at 8080",
        ),
        ("kserve", {"Entrypoint": None}, "it starts nothing"),
        ("foundry", {"ExposedPorts": {"all": {}}}, "cannot be read"),
        ("openshift", {"Entrypoint": 5}, "cannot be read"),
    ],
)
def test_what_the_config_tells(profile: str, config: dict[str, object], expected: str) -> None:
    assert expected in said(profile, **config)


def test_another_architecture() -> None:
    """One that an engine built for another platform than was asked for, or that was published before the profile."""
    found = verdict("foundry", made(base("arm64"), TOOLS, SERVER, architecture="arm64"))
    assert "linux/arm64 does not run there" in found.reason


def test_an_image_without_command_is_noted_at_most() -> None:
    """In a cluster it may be told what to start, so the default profile refuses nothing."""
    found = verdict("default", made(Entrypoint=None))
    assert (found.state, [note.text for note in found.notes]) == (
        "ok",
        ["it starts nothing by itself: whoever runs it has to say what"],
    )


def test_an_index_where_a_manifest_is_wanted() -> None:
    """What another builder or release left: the platform would not find its image in it."""
    plain = made()
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [plain.top.json()]})
    top = Descriptor.of(INDEX, index)
    indexed = replace(plain, top=top, manifests={**plain.manifests, top.digest: index})
    assert "it is an index, and the profile foundry takes" in verdict("foundry", indexed).reason
    assert "it is an index" in verdict("sagemaker", indexed).reason
    assert verdict("kserve", indexed).state == "ok"


def test_media_types_of_docker() -> None:
    """SageMaker takes no other; everybody else takes both."""
    assert "not of Docker's media types" in verdict("sagemaker", made()).reason
    docker = one_image({AMD64: made()}, {}, CREATED, {}, "docker")
    assert [verdict(name, docker).state for name in NAMES] == ["ok"] * len(NAMES)


def test_no_shell() -> None:
    """As in an image of one static program: it runs, and Foundry would see no line of its log."""
    bare: Files = {"server": elves.make(kind=2)}
    assert "/bin/sh is not in the image" in said("foundry", bare, Entrypoint=["/server"])
    assert said("kserve", bare, Entrypoint=["/server"]) == ""
    without = {path: entry for path, entry in TOOLS.items() if path != "usr/bin/tee"}
    assert "tee is not in the image's PATH" in said("foundry", base(), without, SERVER)
    locked: Files = {**TOOLS, "usr/bin/sh": At(content=SHELL, mode=0o700)}
    assert "may not execute it" in said("foundry", base(), locked, SERVER)


@pytest.mark.parametrize(
    ("config", "more", "expected"),
    [
        (
            {"Entrypoint": ["python3"], "Cmd": ["/app/serve.py"]},
            {},
            "python3 would look for a script of that name",
        ),
        (
            {"Entrypoint": None, "Cmd": ["python3", "/app/serve.py"]},
            {},
            "the program serve is not in the image's PATH",
        ),
        ({"Entrypoint": None}, {"usr/bin/serve": SHELL}, ""),
        ({"Entrypoint": ["python3"]}, {"app/serve": b"1"}, ""),
        ({"Entrypoint": ["/app/none"]}, {}, "the program /app/none is not in the image"),
    ],
)
def test_started_with_an_argument(config: dict[str, object], more: Files, expected: str) -> None:
    """`docker run IMAGE serve`: the command is gone, and the entrypoint has to be the whole program."""
    text = said("sagemaker", base(), TOOLS, SERVER, more, **config)
    assert expected in text
    assert bool(text) == bool(expected)


def test_a_user_of_the_platform_s_choice() -> None:
    """OpenShift starts it as another uid of the group 0: what the image's own user alone may read is not there for it."""
    private: Files = {"app/model": folder(0o700, 10001), "app/model/weights": At(content=b"w", owner=10001)}
    found = verdict("openshift", made(base(), TOOLS, SERVER, private))
    assert [finding.path for finding in found.findings] == ["/app/model/weights"]
    assert "chgrp -R 0" in found.findings[0].remedy
    assert said("kserve", base(), TOOLS, SERVER, private) == ""
    program: Files = {"app/serve.py": At(content=b"1", mode=0o600, owner=10001)}
    text = said("openshift", base(), TOOLS, program, User="10001:10001")
    assert "/app/serve.py" in text


@pytest.mark.parametrize(
    ("variables", "mode", "noted"),
    [
        (["PATH=/usr/bin", "HOME=/tmp"], 0o755, False),
        (["PATH=/usr/bin", "HOME=/home/model"], 0o755, True),
        (["PATH=/usr/bin", "HOME=/home/model"], 0o775, False),
        (["PATH=/usr/bin", "HOME=/none"], 0o775, True),
        (["PATH=/usr/bin"], 0o775, True),
    ],
)
def test_a_home_that_nobody_can_write(variables: Sequence[str], mode: int, noted: bool) -> None:
    """Noted, because many images never write there."""
    found = verdict("openshift", made(base(), TOOLS, SERVER, {"home/model": folder(mode)}, Env=variables))
    assert (found.state, bool(found.notes)) == ("ok", noted)


def test_sizes(tmp_path: Path) -> None:
    """Of a layer and of all of them, as they are pulled."""
    path = tmp_path / "small.toml"
    path.write_text('title = "t"\nlargest_layer = "1KB"\n')
    found = verdict(str(path), made(base(), {"big": elves.make() + bytes(range(256)) * 4096}))
    assert found.findings
    assert all(finding.layer.startswith("sha256:") for finding in found.findings)
    path.write_text('title = "t"\nlargest_image = "1KB"\n')
    assert "publisher inspect --sizes" in verdict(str(path), made()).findings[0].remedy


def test_layers_that_are_not_read() -> None:
    """zstd: the config is judged all the same, and the rest is said to be unknown."""
    zstd = image([b"x"], kind=LAYER_GZIP.replace("gzip", "zstd"), **CONFIG)
    found = verdict("foundry", zstd)
    assert found.state == "ok"
    assert "not looked at" in found.notes[0].text
    broken = image([b"no gzip"], **CONFIG)
    assert verdict("foundry", broken).state == "failed"
