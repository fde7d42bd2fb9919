"""What the documents claim is what the code does."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest

from publisher import errors
from publisher.cli.health import UNHEALTHY
from publisher.domain import Target
from publisher.exits import INTERRUPTED, READER_GONE
from publisher.settings import Settings, load
from publisher.settings_keys import Keys, TargetKeys
from publisher.settings_sources import ALIASES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "publisher.toml.example"


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each table row, without heads and rules."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells and not re.fullmatch(r"-+", cells[0]) and cells[0] not in ("key", "variable", "code"):
            yield cells


def section(title: str) -> list[list[str]]:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    (body,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return list(rows(body))


def unquoted(cell: str) -> str:
    return cell.strip("`")


def all_errors(of: type[errors.PublisherError]) -> Iterator[type[errors.PublisherError]]:
    yield of
    for each in of.__subclasses__():
        yield from all_errors(each)


@pytest.mark.parametrize(("title", "keys"), [("Keys", Keys), ("Keys of a target", TargetKeys)])
def test_every_key_is_documented_and_every_documented_key_exists(title: str, keys: Any) -> None:
    """The tables of docs/settings.md have the model's keys, each once."""
    documented = [unquoted(row[0]) for row in section(title)]
    assert sorted(documented) == sorted(keys.model_fields)


@pytest.mark.parametrize(("title", "keys"), [("Keys", Keys), ("Keys of a target", TargetKeys)])
def test_every_documented_default_is_the_real_one(title: str, keys: Any) -> None:
    """A default in back-ticks is the field's, and `required` says that there is none."""
    checked = 0
    for name, default, *_ in section(title):
        field = keys.model_fields[unquoted(name)]
        assert (default == "required") == field.is_required()
        if default.startswith("`") and unquoted(name) != "tag":
            value = field.default
            text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            assert unquoted(default) == (text.lower() if isinstance(value, bool) else text)
            checked += 1
    assert checked


def test_every_documented_variable_sets_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variable of the tables, set alone, changes exactly the key of its row."""
    monkeypatch.chdir(tmp_path)
    top = {
        "jobs": "9",
        "parallel": "3",
        "memory": "1GB",
        "deadline": "5m",
        "log_format": "json",
        "log_level": "error",
        "model_version": "7",
        "local_artifacts": "true",
        "artifact_hosts": "a:1, b",
        "mirrors": "docker.io=mirror.example.org:5000",
        "context_limit": "3GiB",
        "buildx_builder": "big",
        "buildkit": "tcp://buildkit:1234",
        "kaniko": "podman",
        "kaniko_image": "quay.io/b/executor:v1",
        "executor": "kubernetes",
        "kubernetes_namespace": "builds",
        "kubernetes_patience": "1m",
    }
    base = {"MLFLOW_TRACKING_URI": "http://a", "PUBLISHER_TARGETS__X__REGISTRY": "quay.io/a"}
    before = load({}, base)
    seen = 0
    for name, _, variable, _ in section("Keys"):
        if variable:
            value = top.get(unquoted(name), "/b")
            after = load({}, {**base, unquoted(variable): value})
            assert changed(before, after) == {unquoted(name)}
            assert (ALIASES.get(unquoted(variable)) or unquoted(variable).lower()).endswith(unquoted(name))
            seen += 1
    own = {
        "registry": "quay.io/b",
        "tag": "B",
        "platforms": "linux/arm64",
        "base": "quay.io/b",
        "builder": "layers",
        "templates": "builtin",
        "engine_cache": "true",
        "image": "{registry}/b:{version}",
        "tags": "{alias}, latest",
        "cache": "",
        "python": "3.12",
        "resolve": "latest",
        "user": "5001",
        "bytecode": "false",
        "insecure": "true",
        "deadline": "5m",
        "index": "https://pypi.example.org/simple",
        "constraints": "urllib3>=2.2.2,<3",
        "sdist": "refuse",
        "conda": "pip",
        "trust_dockerfiles": "true",
        "proof": "required",
        "emulate": "true",
        "profile": "kserve",
        "slim": "true",
        "job_template": "large",
        "ca_file": certifi.where(),
        "token_realms": "auth.example.org",
        "chunk_size": "32MiB",
        "api_path": "/hub",
    }
    for name, _, variable, _ in section("Keys of a target"):
        after = load({}, {**base, unquoted(variable).replace("<NAME>", "X"): own[unquoted(name)]})
        assert changed(before.targets[0], after.targets[0]) == {unquoted(name)}
        seen += 1
    assert seen == len(Keys.model_fields) - 1 + len(TargetKeys.model_fields)


def changed(before: Settings | Target, after: Settings | Target) -> set[str]:
    return {name for name in before.__slots__ if getattr(before, name) != getattr(after, name)}


def test_the_example_loads_and_shows_every_key() -> None:
    """publisher.toml.example is valid as it is, and has each key, the optional ones as comments."""
    settings = load({}, {}, EXAMPLE)
    assert [target.name for target in settings.targets] == ["PLTR_FOUNDRY", "edge", "disk"]
    assert settings.targets[0].tag == "EXTERNAL_TARGET_PLTR_FOUNDRY"
    assert settings.targets[2].layout_folder == ROOT / "images"
    document = tomllib.loads(EXAMPLE.read_text("utf-8").replace("# model_", "model_").replace("# ca_", "ca_"))
    assert sorted(document) == sorted(Keys.model_fields)
    assert sorted(document["targets"]["edge"]) == sorted(TargetKeys.model_fields)


def test_exit_codes_are_those_of_the_errors() -> None:
    """docs/exit-codes.md has each error with its code and whether it may work later, and no other."""
    table = list(rows((ROOT / "docs" / "exit-codes.md").read_text("utf-8")))
    documented = {
        (int(code), unquoted(name), later == "yes") for code, name, _, later in table if unquoted(name)
    }
    real = {(each.exit_code, each.__name__, each.retryable) for each in all_errors(errors.PublisherError)}
    # The tree as it is drawn, without what tests of other files may have derived from it.
    real = {entry for entry in real if hasattr(errors, entry[1])}
    assert documented == real
    bare = {int(code) for code, name, *_ in table if not unquoted(name)}
    assert bare == {0, 2, errors.SOME_FAILED, UNHEALTHY, INTERRUPTED, READER_GONE}
    assert len(table) == len(documented) + len(bare) == len({row[0] for row in table})


def test_the_error_trees_drawing_is_the_tree() -> None:
    """The drawing at the top of errors.py has each class with its exit code."""
    drawn = dict(re.findall(r"── (\w+Error) +(\d+)", errors.__doc__ or ""))
    real = {
        e.__name__: str(e.exit_code) for e in all_errors(errors.PublisherError) if hasattr(errors, e.__name__)
    }
    real.pop("PublisherError")
    assert drawn == real


def test_paths_that_the_settings_document_names_exist() -> None:
    """Links in our documents lead to files of the repository."""
    for document in (ROOT / "docs" / f"{name}.md" for name in ("settings", "exit-codes", "profiles")):
        for link in re.findall(r"\]\((?!http)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
