"""Requirements that name a file: a wheel at a URL, a wheel inside the model, and everything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.environments.direct import Origin, direct, is_direct
from publisher.environments.requirements import Listed
from publisher.errors import RequirementsError

HERE = Origin(Path("/model"), "requirements.txt", 3)
WHEEL = "mine-1.0-py3-none-any.whl"
HASH = "a" * 64


@pytest.mark.parametrize(
    ("line", "requirement", "path"),
    [
        (f"./code/{WHEEL}", f"mine @ ./local/code/{WHEEL}", f"code/{WHEEL}"),
        (f"wheels/{WHEEL}", f"mine @ ./local/wheels/{WHEEL}", f"wheels/{WHEEL}"),
        (WHEEL, f"mine @ ./local/{WHEEL}", WHEEL),
        (f"file:code/{WHEEL}", f"mine @ ./local/code/{WHEEL}", f"code/{WHEEL}"),
        (f"file://./code/{WHEEL}", f"mine @ ./local/code/{WHEEL}", f"code/{WHEEL}"),
        (f"Mine[fast] @ file:./{WHEEL}", f"Mine[fast] @ ./local/{WHEEL}", WHEEL),
        (f"./{WHEEL}[fast]", f"mine[fast] @ ./local/{WHEEL}", WHEEL),
        (
            f'./{WHEEL} ; platform_machine == "x86_64"',
            f'mine @ ./local/{WHEEL} ; platform_machine == "x86_64"',
            WHEEL,
        ),
        (f"mine @ https://example.org/{WHEEL}", f"mine @ https://example.org/{WHEEL}", ""),
        (f"https://example.org/{WHEEL}#sha256={HASH}", f"mine @ https://example.org/{WHEEL}", ""),
        (
            f"mine@https://example.org/{WHEEL} ; python_version < '4'",
            f'mine @ https://example.org/{WHEEL} ; python_version < "4"',
            "",
        ),
    ],
)
def test_wheels_are_taken(line: str, requirement: str, path: str) -> None:
    """A wheel's name is its project's, extras and markers stay, and a path is relative to the model."""
    assert is_direct(line)
    assert direct(HERE, line) == (requirement, path, HASH if HASH in line else "")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"../{WHEEL}", "is not a file inside the model's folder"),
        (f"code/../../{WHEEL}", "is not a file inside the model's folder"),
        (f"/etc/{WHEEL}", "is not a file inside the model's folder"),
        (f"file:///etc/{WHEEL}", "is not a file inside the model's folder"),
        (f"file://host/share/%2e%2e/%2e%2e/{WHEEL}", "is not a file inside the model's folder"),
        (f"mine @ file:..%2f{WHEEL}", "is not a file inside the model's folder"),
        (".", "is no wheel"),
        ("./package", "is no wheel"),
        ("./package-1.0.tar.gz", "is no wheel"),
        ("x @ https://example.org/x.whl", "is no wheel"),
        ("x @ https://example.org/x-1.0.tar.gz", "is no wheel"),
        ("git+https://example.org/x.git", "comes from version control"),
        ("x @ git+ssh://git@example.org/x.git@main", "holds credentials"),
        ("x @ git+https://example.org/x.git@main", "comes from version control"),
        (f"https://me:canary@example.org/{WHEEL}", "holds credentials"),
        (f"http://example.org/{WHEEL}", "plain HTTP"),
        (f"ftp://example.org/{WHEEL}", "nothing is fetched by ftp:"),
    ],
)
def test_everything_else_is_refused(line: str, told: str) -> None:
    """One line with file and number, and never a credential in it."""
    with pytest.raises(RequirementsError) as caught:
        Listed().read_lines(Path("/model"), "requirements.txt", ["", "", line])
    assert str(caught.value).startswith("requirements.txt, line 3: ")
    assert told in str(caught.value)
    assert "canary" not in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    "line", ["numpy", "numpy>=1.26,<3", "a.b[c]==1.0; python_version > '3'", "x==1.0+cpu"]
)
def test_versions_are_no_files(line: str) -> None:
    """What names a version goes to the package index."""
    assert not is_direct(line)
