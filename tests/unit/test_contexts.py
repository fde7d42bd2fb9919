"""Build contexts: what may stand in them, and what is wrong with some templates, told in one line."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from publisher import runtime
from publisher.builders.layers.build import LayerBuilder
from publisher.choices import choose
from publisher.contexts import Contexts, Wanted, builtin
from publisher.describe import describe
from publisher.domain import Environment, Lock, Wheel
from publisher.errors import BuildError, EngineError, TemplateError
from tests.golden.versions import BASE, CONDA, LIMIT, PLATFORMS, fetched, ours, own, target, version

DOCKERFILE = "FROM ${base_image}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("FROM x\nLABEL a={{ nobody }}\n", r"line 2 of Dockerfile\.j2: 'nobody' is undefined \(in: LABEL a="),
        (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            "was not rendered within",
        ),
        ("FROM {{ ''.__class__.__mro__ }}\n", "unsafe"),
        ("FROM {{ tags.MODEL_NOTE }}\n", "U\\+000A"),
        ("FROM x\nRUN echo {{ tags.MODEL_WORDS }} {{ tags.MODEL_FLAG }}\n", "would take for an option"),
        ("FROM x\nADD {{ tags.MODEL_WORDS }} /\n", "cannot be written safely in line 2, ADD"),
    ],
)
def test_a_template_that_cannot_be_rendered(text: str, told: str, tmp_path: Path) -> None:
    """One line, which names the template; nothing of it is written."""
    model = version(MODEL_NOTE="x\nRUN evil", MODEL_WORDS='it\'s "quoted"', MODEL_FLAG="--evil")
    with pytest.raises(TemplateError) as caught:
        own(tmp_path, model, target(), {"Dockerfile.j2": text})
    assert re.search(told, str(caught.value))
    assert "\n" not in caught.value.line
    assert not (tmp_path / "files" / "Dockerfile").exists()


def test_a_quote_in_a_tag_is_a_quote_in_the_image(tmp_path: Path) -> None:
    made = own(
        tmp_path,
        version(NOTE='say "hi" $HOME'),
        target(),
        {"Dockerfile.j2": 'FROM x\nENV A="{{ tags.NOTE }}"\n'},
    )
    assert made
    assert (made.folder / "Dockerfile").read_text() == 'FROM x\nENV A="say \\"hi\\" \\$HOME"\n'


def test_two_templates_for_one_file(tmp_path: Path) -> None:
    templates = {"Dockerfile.j2": "FROM x\n", "Dockerfile.template": DOCKERFILE}
    with pytest.raises(TemplateError, match="two templates make the file Dockerfile"):
        own(tmp_path, version(), target(), templates)


def test_templates_without_a_dockerfile(tmp_path: Path) -> None:
    """A version's still make its other files, and leave the image to others; a site's must have one."""
    assert own(tmp_path, version(), target(), {"client/rows.txt.j2": "{{ model_name }}\n"}) is None
    assert (tmp_path / "files" / "client" / "rows.txt").read_text() == "Pricing model\n"
    site = tmp_path / "site"
    site.mkdir()
    (site / "README.md.j2").write_text("{{ model_name }}\n")
    with pytest.raises(TemplateError, match=r"has no Dockerfile\.j2 and no Dockerfile\.template"):
        ours(tmp_path / "b", version(), target(templates=str(site)))


@pytest.mark.parametrize("name", ["mymodel/MLmodel", "mymodel/deep/new.txt"])
def test_no_template_writes_among_the_models_files(name: str, tmp_path: Path) -> None:
    """The image holds the model that was registered; a client's file may be replaced."""
    templates = {"Dockerfile.template": DOCKERFILE, "client/execute_model.py.template": "print('new')\n"}
    made = own(tmp_path / "a", version(), target(), templates)
    assert made
    assert (made.folder / "client" / "execute_model.py").read_text() == "print('new')\n"
    with pytest.raises(TemplateError, match="would write among the model's files"):
        own(tmp_path / "b", version(), target(), {**templates, f"{name}.template": "evil"})
    assert (tmp_path / "b" / "files" / "mymodel" / "MLmodel").read_text() == "flavors: {}\n"


@pytest.mark.parametrize("name", ["environment/requirements-x86_64.txt", "model/MLmodel", "environment"])
def test_no_site_template_changes_what_was_locked(name: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / name).parent.mkdir(parents=True, exist_ok=True)
    (site / f"{name}.template").write_text("evil")
    (site / "Dockerfile.template").write_text(DOCKERFILE)
    with pytest.raises(TemplateError, match="would write among"):
        ours(tmp_path / "b", version(), target(templates=str(site)))


def test_a_sites_templates_know_the_names_of_an_image(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "Dockerfile.j2").write_text("FROM {{ base_image }}\nUSER {{ user }}\n")
    (site / "older.txt.template").write_text("$ports $entrypoint $files")
    (site / "where.txt.j2").write_text(
        "{{ model_folder }} {{ requirements_file }} {{ files[1].destination }}\n"
    )
    made = ours(tmp_path / "b", version(), target(templates=str(site)))
    assert (made.own, made.bases) == (True, (f"docker.io/library/python@{BASE.digest}",))
    assert (made.folder / "older.txt").read_text() == "8080 python $files"
    assert (made.folder / "where.txt").read_text() == "model model/requirements.txt /app/model\n"


def test_a_context_over_the_limit(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="larger than 0 MiB") as caught:
        ours(tmp_path, version(), target(), contexts=Contexts(100))
    assert "context_limit" in caught.value.hint


def test_a_person_may_edit_what_was_rendered(tmp_path: Path) -> None:
    """No file of a context is a further name of one of publisher's own."""
    made = ours(tmp_path, version(), target())
    installed = Path(next(iter(runtime.__path__))) / "serve.py"
    assert (made.folder / "runtime" / "serve.py").read_bytes() == installed.read_bytes()
    assert (made.folder / "runtime" / "serve.py").stat().st_ino != installed.stat().st_ino


def test_the_same_files_make_the_same_digest(tmp_path: Path) -> None:
    """Modes of the disk do not count, what runs does."""
    one, two = ours(tmp_path / "a", version(), target()), ours(tmp_path / "b", version(), target())
    assert one.digest == two.digest
    assert ours(tmp_path / "c", version(NOTE="x"), target()).digest == one.digest
    assert ours(tmp_path / "d", version(), target(user="5:5")).digest != one.digest


def test_wheels_that_no_index_has(tmp_path: Path) -> None:
    """A wheel on disk goes along; one that a requirement names by its URL is asked for there."""
    (tmp_path / "mine-1.0-py3-none-any.whl").write_bytes(b"wheel")
    local = Wheel(
        "mine",
        "1.0",
        "mine-1.0-py3-none-any.whl",
        (tmp_path / "mine-1.0-py3-none-any.whl").as_uri(),
        "1" * 64,
    )
    direct = Wheel(
        "my-other",
        "2.0",
        "my_other-2.0-py3-none-any.whl",
        "https://a.test/my_other-2.0-py3-none-any.whl",
        "2" * 64,
    )
    found = fetched(tmp_path / "files", {"mymodel/MLmodel": "{}"}, client=False, templates=False)
    locks = {platform: Lock(platform, "3.11", (local, direct)) for platform in PLATFORMS}
    spec = describe(version(), target(), found, BASE, locks)
    (tmp_path / "context").mkdir()
    environment = Environment((f"My.Other @ {direct.url}", "mine @ ./local/mine-1.0-py3-none-any.whl"))
    made = Contexts(LIMIT).ours(
        Wanted(version(), target(), "quay.io/team/x:v8", found), spec, environment, tmp_path / "context"
    )
    folder = made.folder / "environment"
    assert (folder / "wheels" / local.filename).read_bytes() == b"wheel"
    assert (folder / "requirements-aarch64.txt").read_text() == (
        f"mine==1.0 --hash=sha256:{'1' * 64}\nmy-other @ {direct.url} --hash=sha256:{'2' * 64}\n"
    )
    assert "--find-links /opt/publisher-environment/wheels \\" in (made.folder / "Dockerfile").read_text()


def test_a_version_of_conda_is_for_engines_that_run_a_dockerfile(tmp_path: Path) -> None:
    """The embedded builder says so at once, and the error names the way out."""
    found = fetched(tmp_path / "files", {"mymodel/conda.yaml": CONDA}, client=False, templates=False)
    none = {platform: Lock(platform, "", ()) for platform in PLATFORMS}
    spec = describe(version(), target(), found, BASE, none, conda=True)
    builder = LayerBuilder(None, None, None)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="conda makes the environment") as caught:
        choose(spec, target(), {"layers": builder})
    assert 'conda = "pip"' in caught.value.hint
    site = target(templates=str(tmp_path))
    with pytest.raises(EngineError, match="the target's templates make the image"):
        choose(replace(spec, conda=False), site, {"layers": builder})


def test_our_templates_are_there() -> None:
    assert sorted(path.name for path in builtin().iterdir()) == [
        "Dockerfile.j2",
        "create_docker_image.sh.j2",
        "example_client.py.j2",
    ]
