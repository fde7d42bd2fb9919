"""What an image starts is there, and its user may execute it."""

from __future__ import annotations

import pytest

from publisher.checks.verdict import Verdict
from tests.checks import elves
from tests.checks.images import At, Files, base, folder, link, looked

PYTHON = elves.make(needed=["libc.so.6"], interpreter="/lib64/ld-linux-x86-64.so.2")
SCRIPT = b"#!/usr/bin/env python3\nprint(1)\n"


def said(*layers: Files, **config: object) -> str:
    """The reason of a failed check; empty where it is ok."""
    verdict: Verdict = looked(*layers, **config)  # type: ignore[arg-type]
    return verdict.reason if verdict.state == "failed" else ""


@pytest.mark.parametrize(
    "config",
    [
        {"Cmd": ["python3", "-m", "x"]},
        {"Entrypoint": ["/usr/bin/python3"], "User": "10001:10001"},
        {"Entrypoint": ["bin/run"], "WorkingDir": "/app", "User": "model"},
        {"Entrypoint": ["run"], "Env": ["PATH=/nowhere:/app/bin:/usr/bin"]},
        {"Entrypoint": ["python3", "bin/run.py"], "WorkingDir": "/app", "User": "model:model"},
        {},
    ],
)
def test_good_ways_to_start(config: dict[str, object]) -> None:
    """By PATH, by path, by a script, relative to the working directory; a base image may start nothing."""
    assert said(base(), {"app/bin/run": SCRIPT, "app/bin/run.py": b"1"}, **config) == ""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"Cmd": ["python4"]}, "the program python4 is not in the image's PATH"),
        ({"Cmd": ["/app/none"]}, "the program /app/none is not in the image"),
        (
            {"Cmd": ["python3", "serve.py"], "WorkingDir": "/app"},
            "the program /app/serve.py is not in the image",
        ),
        ({"Cmd": ["/app"]}, "is no file"),
        ({"Cmd": ["python3"], "User": "nobody"}, "the image's user 'nobody' is not in its /etc/passwd"),
        ({"Cmd": ["/app/secret"], "User": "10001"}, "its user 10001 may not execute it"),
        ({"Cmd": ["/app/text"], "User": "0"}, "its user 0 may not execute it"),
        ({"Cmd": ["/root/tool"], "User": "model"}, "its user model may not execute it"),
        ({"Cmd": ["/app/empty"]}, "neither a program nor a script"),
        ({"Cmd": ["/app/ruby"]}, "is a script for /usr/bin/ruby, which is not in the image"),
        ({"Cmd": ["/app/env"]}, "is a script for ruby, which is not in the image's PATH"),
        ({"Cmd": ["/app/loop"]}, "is not in the image"),
        ({"Cmd": ["/app/alien"]}, "its loader /lib/ld-musl-x86_64.so.1 is not in the image"),
        ({"Cmd": ["/app/itself"]}, "neither a program nor a script"),
    ],
)
def test_ways_that_do_not_start(config: dict[str, object], expected: str) -> None:
    """Absent, not for this user, not executable, for an interpreter that is not there, for itself."""
    layer: Files = {
        "app/secret": At(content=PYTHON, mode=0o700),
        "app/text": At(content=PYTHON, mode=0o644),
        "root": folder(0o700),
        "root/tool": PYTHON,
        "app/empty": b"",
        "app/ruby": b"#!/usr/bin/ruby -w\n",
        "app/env": b"#!/usr/bin/env -S ruby -w\n",
        "app/loop": link("loop"),
        "app/alien": elves.make(interpreter="/lib/ld-musl-x86_64.so.1"),
        "app/itself": b"#!/app/itself\n",
    }
    assert expected in said(base(), layer, **config)


def test_an_image_without_shell_or_python() -> None:
    """One static program is a whole image; a shell that is not there is told."""
    layer: Files = {"server": elves.make(kind=2)}
    assert said(layer, Entrypoint=["/server"], User="65532") == ""
    assert "the program /bin/sh is not in the image" in said(layer, Entrypoint=["/bin/sh", "-c", "/server"])
    assert "the program python is not in the image's PATH" in said(layer, Entrypoint=["python"])


@pytest.mark.parametrize(
    ("mode", "user", "may"),
    [
        (0o100, "7:8", True),
        (0o077, "7:8", False),  # the owner's own bits count, and no others
        (0o010, "9:7", True),
        (0o001, "9:7", False),
        (0o001, "9:9", True),
        (0o010, "0", True),
    ],
)
def test_owner_group_and_others(mode: int, user: str, may: bool) -> None:
    """The kernel looks at one of the three, of which the file's owner and group (7) say which."""
    layer: Files = {"app/run": At(content=PYTHON, mode=mode, owner=7)}
    assert ("may not execute" in said(base(), layer, Cmd=["/app/run"], User=user)) != may


def test_a_library_that_the_user_may_not_read() -> None:
    """As of a build with a strict umask: it loads for root, and for nobody else."""
    layer: Files = {"app/model/x.so": At(content=elves.make(), mode=0o600)}
    assert said(base(), layer, Cmd=["python3"], User="root") == ""
    assert "may not be read by the image's user 10001" in said(base(), layer, Cmd=["python3"], User="10001")


def test_a_config_that_is_none() -> None:
    """Fields of other kinds are a finding, not an error."""
    assert "cannot be read" in said(base(), Entrypoint=5)
    assert "cannot be read" in said(base(), Env=7)
