"""Templates in both forms, and what is wrong with some."""

from __future__ import annotations

import os
import re
import string
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from publisher.domain import ModelVersion, Platform, Target
from publisher.errors import TemplateError
from publisher.rendering.context import NAMES, OF_IMAGE, Facts, context
from publisher.rendering.render import Rendered, render, render_one, write

VERSION = ModelVersion(
    name="pltr_model",
    version="8",
    source="models:/m-1",
    created=datetime(2026, 1, 2, tzinfo=UTC),
    run_id="r1",
    tags={"FOUNDRY_URL": "quay.io/domino", "odd key": "x", "model_name": "no", "MODEL_FOLDER": "mymodel"},
)
TARGET = Target(
    "PLTR",
    "EXTERNAL_TARGET_PLTR",
    "quay.io/team",
    (Platform("linux", "amd64"), Platform("linux", "arm64")),
    "python",
)
KNOWN = context(
    Facts(
        version=VERSION,
        target=TARGET,
        image="quay.io/team/pltr_model:v8",
        model_folder="mymodel",
        client_folder="client",
        entry_point="python",
        command_line="client/execute_model.py",
        base_image="docker.io/library/python:3.11-slim",
        python_version="3.11.7",
        files={"requirements_file": "mymodel/requirements.txt"},
        labels={"org.opencontainers.image.title": "pltr_model"},
    )
)


def one(name: str, text: str, **more: Any) -> str:
    return render_one(name, text, {**KNOWN, **more}).text


def test_the_older_form_is_that_of_the_standard_library() -> None:
    """`$${PATH}` is escaped, unknown names stay, with braces and without, as `safe_substitute` has it."""
    text = "ENV PATH=$${PATH}:$$HOME:${unknown} A=${model_name} B=v${model_version}\nRUN echo $REGISTRY_URL/$model_name\n"
    plain = {key: value for key, value in KNOWN.items() if isinstance(value, str)}
    assert one("Dockerfile.template", text) == string.Template(text).safe_substitute(plain)
    assert one("x.txt.template", "${FOUNDRY_URL} ${platforms}") == "quay.io/domino linux/amd64,linux/arm64"
    assert one("x.txt.template", "${model_name}") == "pltr_model", "a tag takes no name of ours"
    assert one("x.txt.template", "$ ${ } $") == "$ ${ } $"


def test_jinja() -> None:
    text = """\
FROM {{ base_image }}
{%- for key, value in labels|dictsort %}
LABEL {{ key }}="{{ value }}"
{%- endfor %}
{% if command_line %}CMD {{ [entry_point, command_line]|tojson }}{% endif %}
# {{ tags["odd key"] }} {{ platforms|join(", ") }}
"""
    assert one("Dockerfile.j2", text) == (
        "FROM docker.io/library/python:3.11-slim\n"
        'LABEL org.opencontainers.image.title="pltr_model"\n'
        'CMD ["python", "client/execute_model.py"]\n'
        "# x linux/amd64, linux/arm64\n"
    )
    assert one("x.sh.j2", 'echo "{{ v }}"', v='a"$(id)') == 'echo "a\\"\\$(id)"'
    assert one("x.txt.j2", "é{{ model_version }}\n\n") == "é8\n\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a\nb {{ nobody }}\n", r"line 2 of x\.txt\.j2: 'nobody' is undefined \(in: b \{\{ nobody \}\}\)"),
        ("{% if %}", "line 1 of"),
        ("{{ tags.nobody }}", "line 1 of"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ tags.update({'a': 'b'}) }}", "unsafe"),
        ("{{ '%s'|format(''.__class__) }}", "unsafe"),
        # CVE-2024-56326: an indirect reference to str.format; CVE-2025-27516: the same by the filter attr.
        ("{{ ['{0.__class__}']|map('format', '')|list }}", ""),
        ("{% set f = '{0.__class__.__init__.__globals__}'.format %}{{ f(tags) }}", ""),
        ("{{ ('{0.__class__}'|attr('format'))(tags) }}", ""),
        ("{{ ([''|attr('format')]|first)('x') }}", ""),
        ("{% include '/etc/passwd' %}", ""),
        ("{% import 'os' as os %}", ""),
        ("{{ 'x' * 2000000000 }}", ""),
        ("{{ 10 ** 10 ** 10 }}", ""),
        ("{% for i in range(10000000) %}x{% endfor %}", ""),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "not rendered within",
        ),
        (
            "{% for a in range(99999) %}{{ a }}{% for b in range(9) %}{{ b }}{% endfor %}{% endfor %}",
            "it writes more than",
        ),
    ],
)
def test_hostile_or_wrong_templates(text: str, told: str) -> None:
    """One line that shows where, within seconds; what the sandbox lets through is text alone."""
    begin = time.monotonic()
    try:
        made = one("x.txt.j2", text)
    except TemplateError as error:
        assert "\n" not in error.line
        assert re.search(told, str(error))
    else:
        assert not told
        assert "<class" not in made
        assert "root:" not in made
        assert "__builtins__" not in made
    assert time.monotonic() - begin < 60


def test_a_folder_of_templates(tmp_path: Path) -> None:
    """Sub-folders too; files land without their suffix, scripts can be run; what is no template stays away."""
    source, root = tmp_path / "templates", tmp_path / "context"
    (source / "client" / "deep").mkdir(parents=True)
    (source / "Dockerfile.template").write_text("FROM ${base_image}\n")
    (source / "create_docker_image.sh.template").write_text("docker build -t ${image} .\n")
    (source / "client" / "deep" / "hello.py.j2").write_text("print('{{ model_name }}')\n")
    (source / "README.md").write_text("${model_name}")
    (source / "link.template").symlink_to("/etc/passwd")
    (root / "client").mkdir(parents=True)
    (root / "Dockerfile").write_text("old")
    made = render(source, KNOWN)
    write(made, root)
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()) == [
        "Dockerfile",
        "client/deep/hello.py",
        "create_docker_image.sh",
    ]
    assert (root / "Dockerfile").read_text() == "FROM docker.io/library/python:3.11-slim\n"
    assert (root / "client/deep/hello.py").read_text() == "print('pltr_model')\n"
    assert os.access(root / "create_docker_image.sh", os.X_OK)
    assert (root / "client/deep/hello.py").stat().st_mode & 0o777 == 0o600


def test_templates_that_make_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt.j2").write_text("")
    (tmp_path / "a.txt.template").write_text("")
    with pytest.raises(TemplateError, match="two templates make"):
        render(tmp_path, KNOWN)
    for name in ("..template", ".j2", "a/../b.j2"):
        with pytest.raises(TemplateError, match="makes no file"):
            render_one(name, "", KNOWN)
    (tmp_path / "a.txt.j2").unlink()
    (tmp_path / "a.txt.template").write_bytes(b"\xff")
    with pytest.raises(TemplateError, match="no UTF-8"):
        render(tmp_path, KNOWN)
    (tmp_path / "a.txt.template").write_bytes(b"x" * 2_000_000)
    with pytest.raises(TemplateError, match="larger than"):
        render(tmp_path, KNOWN)


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (root / "client").symlink_to(outside)
    (outside / "canary").write_text("alive")
    with pytest.raises(TemplateError, match="through a link"):
        write([Rendered("client/canary", "dead")], root)
    (root / "canary").symlink_to(outside / "canary")
    write([Rendered("canary", "new")], root)
    assert (outside / "canary").read_text() == "alive"
    (root / "folder").mkdir()
    with pytest.raises(TemplateError, match="cannot be written"):
        write([Rendered("folder", "x")], root)


def documented(title: str) -> dict[str, str]:
    """The names of a section's table with their meaning."""
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    names = page.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", names, re.MULTILINE))


def test_every_name_is_there_and_documented() -> None:
    """docs/templates.md has the names with their meaning, and no other."""
    assert documented("Names") == dict(NAMES)
    assert set(NAMES) <= KNOWN.keys()
    assert KNOWN.keys() - set(NAMES) == {"FOUNDRY_URL", "MODEL_FOLDER"}
    assert documented("Names of an image") == dict(OF_IMAGE)


def test_no_value_makes_a_comment_a_directive() -> None:
    """BuildKit would run another frontend for `# syntax=…`, and read line ends otherwise for `# escape=…`."""
    for value in ("syntax=evil/frontend", "escape=`", "SYNTAX = evil"):
        with pytest.raises(TemplateError, match="which instructions"):
            one("Dockerfile.j2", "# {{ v }} v8\nFROM x\n", v=value)
        with pytest.raises(TemplateError, match="which instructions"):
            one("Dockerfile.template", "# ${model_folder}\nFROM x\n", model_folder=value)
        assert one("Dockerfile.j2", "# of {{ v }}\nFROM x\n", v=value) == f"# of {value}\nFROM x\n"


def test_a_template_that_writes_nothing_makes_no_file(tmp_path: Path) -> None:
    """A condition around the whole of it decides; what is empty itself, or of the older form, is a file."""
    (tmp_path / "a.py.j2").write_text("{% if command_line == 'no' -%}\nprint(1)\n{% endif -%}\n")
    (tmp_path / "b.py.j2").write_text("{% if command_line -%}\nprint(1)\n{% endif -%}\n")
    (tmp_path / "__init__.py.j2").write_text("")
    (tmp_path / "c.txt.template").write_text("${python_env_file}")
    assert [each.path for each in render(tmp_path, KNOWN)] == ["__init__.py", "b.py", "c.txt"]
