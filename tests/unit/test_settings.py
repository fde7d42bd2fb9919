"""Settings: precedence, what is accepted, and that every fault is told as its user wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from publisher.domain import Platform, Target
from publisher.errors import SettingsError
from publisher.settings import Settings, load
from publisher.settings_keys import Keys

MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, folder: Path | None = None) -> Path:
    path = (folder or Path.cwd()) / "publisher.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def faults(environ: Mapping[str, str] = MLFLOW, text: str = "", **more: object) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(more.pop("flags", {}), environ, written(text) if text else None, **more)  # type: ignore[arg-type]
    return caught.value.faults


def target(text: str = "", environ: Mapping[str, str] | None = None) -> Target:
    """The only target that these lines of its table, or these variables, make."""
    file = written(f'[targets.demo]\nregistry = "localhost:5001/team"\n{text}') if text else None
    (only,) = load({}, {**MLFLOW, **(environ or {})}, file).targets
    return only


def target_fault(text: str) -> str:
    (only,) = faults(text=f'[targets.demo]\nregistry = "quay.io/team"\n{text}')
    return only


def test_the_documents_variables_alone_are_enough() -> None:
    """MLFLOW_TRACKING_URI and REGISTRY_URL imply the documents' target, with every default."""
    settings = load({}, {**MLFLOW, "REGISTRY_URL": "https://quay.io/domino/"})
    assert settings.targets == (
        Target(
            name="PLTR_FOUNDRY",
            tag="EXTERNAL_TARGET_PLTR_FOUNDRY",
            registry="quay.io/domino",
            platforms=(Platform("linux", "amd64"), Platform("linux", "arm64")),
            base="docker.io/library/python:{python}-slim",
        ),
    )
    assert settings.mlflow_tracking_uri == "http://127.0.0.1:5000"
    assert (settings.model_name, settings.work_folder, settings.jobs) == (None, None, 8)


def test_flags_go_before_the_environment_and_that_before_the_file() -> None:
    """Each source overrides the next one key by key."""
    file = written(
        'mlflow_tracking_uri = "http://file"\njobs = 2\ncache_folder = "/file"\nwork_folder = "/file"'
    )
    environ = {"PUBLISHER_JOBS": "3", "PUBLISHER_CACHE_FOLDER": "/environment"}
    settings = load({"jobs": "4", "cache_folder": None}, environ, file)
    assert settings == Settings(
        mlflow_tracking_uri="http://file",
        targets=(),
        cache_folder=Path("/environment"),
        work_folder=Path("/file"),
        jobs=4,
    )


def test_our_own_variable_goes_before_the_shared_one() -> None:
    """PUBLISHER_MODEL_NAME wins over MODEL_NAME, which other tools may have set."""
    environ = {**MLFLOW, "MODEL_NAME": "theirs", "PUBLISHER_MODEL_NAME": "ours", "MODEL_VERSION": "8"}
    settings = load({}, environ)
    assert (settings.model_name, settings.model_version) == ("ours", "8")


def test_the_file_in_the_current_folder_is_found() -> None:
    """./publisher.toml is read without being named, and its absence is no fault."""
    assert load({}, MLFLOW).jobs == 8
    written("jobs = 5")
    assert load({}, MLFLOW).jobs == 5


def test_a_named_file_must_be_there() -> None:
    """A missing --config is told with its path and cause."""
    with pytest.raises(SettingsError, match=r"^/none/p\.toml cannot be read: No such file"):
        load({}, MLFLOW, Path("/none/p.toml"))


def test_a_file_that_is_no_toml_is_told_with_the_line() -> None:
    """A syntax error names file and line, beside the faults of other sources."""
    syntax, jobs = faults({**MLFLOW, "PUBLISHER_JOBS": "0"}, "jobs = 1\njobs =\n")
    assert "publisher.toml is not a TOML file" in syntax
    assert "line 2" in syntax
    assert jobs == "PUBLISHER_JOBS in the environment: expected a whole number from 1 to 64, got '0'"


def test_all_faults_come_at_once_with_their_keys_and_places() -> None:
    """One error lists every fault of every source, each spelled as its user spelled it."""
    text = """
        tokn = 1
        [targets.my-target]
        registry = "quay.io/team"
        builder = "bazel"
        pythn = "3.11"
        [targets.two]
        insecure = "maybe"
    """
    environ = {"PUBLISHER_TARGETS__MY_TARGET__RESOLVE": "newest", "PUBLISHER_JOB": "3"}
    told = {fault.replace(f"{Path.cwd()}/", "") for fault in faults(environ, text, flags={"jobs": "many"})}
    registry = "expected host[:port][/prefix] in lower case, such as quay.io/team, or oci:DIR"
    assert told == {
        "mlflow_tracking_uri is not set: expected the address of an MLflow server, such as "
        "https://mlflow.example.org, in MLFLOW_TRACKING_URI or in publisher.toml",
        "the flag --jobs: expected a whole number from 1 to 64, got 'many'",
        "PUBLISHER_JOB in the environment: unknown key; did you mean PUBLISHER_JOBS?",
        "PUBLISHER_TARGETS__MY_TARGET__RESOLVE in the environment: expected registered or latest, got 'newest'",
        "targets.my-target.builder in publisher.toml: expected auto, layers, buildx, kaniko or buildah, got 'bazel'",
        "targets.my-target.pythn in publisher.toml: unknown key; did you mean python?",
        f"targets.two in publisher.toml: has no registry: {registry}",
        "targets.two.insecure in publisher.toml: expected true or false, got 'maybe'",
        f"tokn in publisher.toml: unknown key; expected one of {', '.join(sorted(Keys.model_fields))}",
    }


def test_no_target_is_a_fault_only_where_one_is_needed() -> None:
    """A mere download works without a target, by the documents' tag; publishing does not."""
    assert load({}, MLFLOW).tags == ("EXTERNAL_TARGET_PLTR_FOUNDRY",)
    (fault,) = faults(need_target=True)
    assert fault.startswith("no target: expected REGISTRY_URL in the environment, or a table [targets.NAME]")


def test_tags_name_each_tag_once() -> None:
    """Two targets may share a tag, and then versions are searched for it once."""
    text = '[targets.a]\nregistry="oci:a"\ntag="SHIP"\n[targets.b]\nregistry="oci:b"\ntag="SHIP"\n'
    settings = load({}, MLFLOW, written(text))
    assert settings.tags == ("SHIP",)
    assert [each.name for each in settings.targets] == ["a", "b"]


def test_variables_reach_a_target_of_the_file_by_its_name_in_capitals() -> None:
    """PUBLISHER_TARGETS__MY_TARGET__… changes [targets.my-target], and makes no second target."""
    file = written('[targets.my-target]\nregistry = "quay.io/team"\n')
    environ = {
        **MLFLOW,
        "PUBLISHER_TARGETS__MY_TARGET__PLATFORMS": "linux/arm64, linux/arm64/v8",
        "PUBLISHER_TARGETS__MY_TARGET__BYTECODE": "false",
        "PUBLISHER_TARGETS__MY_TARGET__CACHE": "",
        "PUBLISHER_TARGETS__MY_TARGET__TAG": "",
    }
    (only,) = load({}, environ, file).targets
    assert (only.name, only.tag) == ("my-target", "EXTERNAL_TARGET_MY_TARGET")
    assert only.platforms == (Platform("linux", "arm64"),)
    assert (only.bytecode, only.cache) == (False, "")


def test_variables_alone_make_a_target() -> None:
    """A pod without a file can name its targets in its environment."""
    only = target(environ={"PUBLISHER_TARGETS__EDGE__REGISTRY": "registry.example.org:5000/edge"})
    assert (only.name, only.registry) == ("EDGE", "registry.example.org:5000/edge")


@pytest.mark.parametrize("variable", ["PUBLISHER_TARGETS", "PUBLISHER_TARGETS__REGISTRY"])
def test_a_variable_that_names_no_key_of_a_target_is_a_fault(variable: str) -> None:
    """A variable of the wrong shape is told, and shadows nothing of the file."""
    text = '[targets.demo]\nregistry = "quay.io/team"\n'
    assert faults({**MLFLOW, variable: "x"}, text) == [
        f"{variable} in the environment: expected a variable PUBLISHER_TARGETS__<NAME>__<KEY>"
    ]


def test_registry_url_makes_no_target_beside_named_ones() -> None:
    """With targets in the file, REGISTRY_URL only binds credentials."""
    assert target("bytecode = true", {"REGISTRY_URL": "quay.io/other"}).name == "demo"


def test_the_implied_target_can_be_named_and_changed() -> None:
    """PUBLISHER_TARGET names the implied target, and variables with its name change it."""
    only = target(
        environ={
            "REGISTRY_URL": "http://registry.internal:5000",
            "PUBLISHER_TARGET": "my-edge",
            "PUBLISHER_TARGETS__MY_EDGE__INSECURE": "true",
        }
    )
    assert (only.name, only.tag) == ("my-edge", "EXTERNAL_TARGET_MY_EDGE")
    assert (only.registry, only.insecure) == ("registry.internal:5000", True)


def test_service_links_of_kubernetes_are_no_keys() -> None:
    """The variables that a Service named publisher puts into every pod are not taken for unknown keys."""
    links = {
        "PUBLISHER_SERVICE_HOST": "10.0.0.1",
        "PUBLISHER_SERVICE_PORT_HTTP": "80",
        "PUBLISHER_PORT": "tcp://10.0.0.1:80",
        "PUBLISHER_PORT_80_TCP_ADDR": "10.0.0.1",
        "PUBLISHER_STATUS_PAGE_SERVICE_HOST": "10.0.0.2",
    }
    assert load({}, {**MLFLOW, **links}).targets == ()


def test_relative_folders_are_relative_to_where_they_are_written(tmp_path: Path) -> None:
    """A folder in the file starts at the file's folder; one in a variable at the current folder."""
    file = written(
        'cache_folder = "cache"\n[targets.disk]\nregistry = "oci:images"\nbase = "oci:../base"\n',
        tmp_path / "conf",
    )
    settings = load({}, {**MLFLOW, "PUBLISHER_WORK_FOLDER": "work"}, file)
    assert settings.cache_folder == tmp_path / "conf" / "cache"
    assert settings.work_folder == tmp_path / "work"
    assert settings.targets[0].layout_folder == tmp_path / "conf" / "images"
    assert settings.targets[0].base == f"oci:{tmp_path}/conf/../base"


@pytest.mark.parametrize(
    ("url", "registry"),
    [
        ("quay.io/domino", "quay.io/domino"),
        ("https://Quay.IO/domino/", "quay.io/domino"),
        ("docker.io/account", "docker.io/account"),
        ("localhost:5000", "localhost:5000"),
        ("http://127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("http://[::1]:5000", "[::1]:5000"),
    ],
)
def test_registries_that_are_accepted(url: str, registry: str) -> None:
    """A scheme and a final slash are dropped, a host has no capitals, and loopback may be plain HTTP."""
    assert target(environ={"REGISTRY_URL": url}).registry == registry


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("account", "must begin with a host, got 'account'; Docker Hub's is docker.io/account"),
        ("http://registry.example.org", "http:// sends everything to registry.example.org unencrypted"),
        ("http://127.0.0.1.example.org", "unencrypted"),
        ("ftp://registry.example.org", "or a URL that begins with https://"),
        ("quay.io/Team", "in lower case"),
        ("quay.io/team:v1", "expected host[:port][/prefix]"),
        ("quay.io/../x", "expected host[:port][/prefix]"),
        ("quay.io/x\nRUN y", "expected host[:port][/prefix]"),
        ("oci:", "expected host[:port][/prefix]"),
    ],
)
def test_registries_that_are_refused(url: str, expected: str) -> None:
    """Each wrong registry is told with what is expected instead."""
    (fault,) = faults({**MLFLOW, "REGISTRY_URL": url})
    assert fault.startswith("REGISTRY_URL in the environment: ")
    assert expected in fault


@pytest.mark.parametrize(
    "environ",
    [
        {**MLFLOW, "REGISTRY_URL": "https://robot:hunter2@quay.io/team"},
        {**MLFLOW, "REGISTRY_URL": "robot:hunter2@quay.io/team"},
        {"MLFLOW_TRACKING_URI": "https://robot:hunter2@mlflow.example.org"},
        {**MLFLOW, "PUBLISHER_REGISTRY_TOKEN": "hunter2"},
    ],
)
def test_a_password_in_the_wrong_place_is_refused_and_not_shown(environ: dict[str, str]) -> None:
    """Credentials in an address or a key are told to be in the wrong place, without being printed."""
    with pytest.raises(SettingsError) as caught:
        load({}, environ)
    assert "credentials" in str(caught.value)
    assert "hunter2" not in repr(caught.value.args) + "".join(caught.value.faults)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('user = "0"', "must not be root"),
        ('user = "mlflow"', "expected a numeric uid or uid:gid"),
        ('user = "٣"', "expected a numeric uid or uid:gid"),
        ("python = 3.10", 'expected a minor version in quotes, such as "3.11"'),
        ('python = "3.11.4"', "expected a minor version"),
        ('platforms = ["linux/riscv64"]', "linux/riscv64 cannot be built yet"),
        ('platforms = ["arm64"]', "'arm64' is not a platform such as linux/amd64"),
        ("platforms = []", "expected a list of linux/amd64 and linux/arm64"),
        ('image = "{registry}/{model}:latest"', "must contain {version}"),
        (
            'image = "{registry}/{modl}:v{version}"',
            "{modl} is not a placeholder here; known: {registry}, {model}",
        ),
        ('image = "{registry.__class__}:v{version}"', "is not a placeholder here"),
        ('image = "{registry}/{model}:v{version"', "has a brace without its pair"),
        ('image = "evil.example.org/{model}:v{version}"', "must lead into the target's own registry"),
        (
            'image = "{registry}.evil.example.org/{model}:v{version}"',
            "must lead into the target's own registry",
        ),
        ('image = "{registry}/{model}:v {version}"', "does not make an image reference"),
        ('cache = "{registry}/cache:tag"', "does not make an image reference"),
        ('base = "docker.io/library/python:{py}"', "{py} is not a placeholder here; known: {python}"),
        ('base = "Not An Image"', "does not make an image reference"),
        ('tag = "a`b"', "expected a tag's key: letters, digits and _ . - : /"),
        ('builder = "bazel"', "expected auto, layers, buildx, kaniko or buildah"),
        ('resolve = "newest"', "expected registered or latest"),
        ('platfroms = ["linux/arm64"]', "did you mean platforms?"),
        ('username = "x"', "credentials are no settings"),
        ("base = {}", "or a table such as"),
        ('base = { "3" = "quay.io/base" }', 'a minor version is written "3.11"'),
        ('base = { "3.11" = "Not An Image" }', "does not make an image reference"),
        ('index = ["corp=https://me:canary@pypi.example.org/simple"]', "UV_INDEX_CORP_PASSWORD"),
        ('index = ["http://pypi.example.org/simple"]', "lets anybody on the way change packages"),
        ('index = ["pypi"]', "expected the URL of a package index"),
        ('constraints = ["numpy =< 2"]', "expected a constraint such as numpy<2"),
        ("constraints = 2", "expected a list of constraints"),
    ],
)
def test_values_of_a_target_that_are_refused(line: str, expected: str) -> None:
    """Each wrong value is one fault, at its key in the file, that says what is expected."""
    fault = target_fault(line)
    assert fault.startswith(f"targets.demo.{line.split(' ', maxsplit=1)[0]} in ")
    assert expected in fault


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ('user = "5001"', "user", "5001"),
        ("user = 5001", "user", "5001"),
        ('user = "5001:0"', "user", "5001:0"),
        ('image = "{registry}/models/{model}:{target}-{version}"', "image", None),
        ('cache = ""', "cache", ""),
        ('base = "registry.example.org/base/python:{python}"', "base", None),
        ('python = "3.12"', "python", "3.12"),
        (
            'base = { "3.11" = "quay.io/b:1", "3.12" = "quay.io/b:2" }',
            "base",
            {"3.11": "quay.io/b:1", "3.12": "quay.io/b:2"},
        ),
        (
            'base = "3.11=quay.io/b:1,3.12=quay.io/b:2"',
            "base",
            {"3.11": "quay.io/b:1", "3.12": "quay.io/b:2"},
        ),
        ('constraints = ["numpy >=1, <2"]', "constraints", ("numpy<2,>=1",)),
        (
            'index = ["corp=https://pypi.example.org/simple"]',
            "index",
            ("corp=https://pypi.example.org/simple",),
        ),
        ('platforms = "linux/amd64"', "platforms", (Platform("linux", "amd64"),)),
    ],
)
def test_values_of_a_target_that_are_accepted(line: str, key: str, value: object) -> None:
    """Each accepted value arrives in the target as it was written."""
    assert getattr(target(line), key) == (line.split('"')[1] if value is None else value)


def test_names_that_only_tags_and_variables_confuse_are_refused() -> None:
    """`a-b` and `A_B` would share a default tag and their variables, so one must be renamed."""
    text = '[targets.a-b]\nregistry = "quay.io/x"\n[targets.A_B]\nregistry = "quay.io/y"\n'
    (fault,) = faults(text=text)
    assert "targets.A_B" in fault
    assert "targets.a-b only in case" in fault


def test_a_targets_name_is_letters_digits_dash_and_underscore() -> None:
    """Another name is refused where it was written, in the file and in PUBLISHER_TARGET."""
    (fault,) = faults(text='[targets."a b"]\nregistry = "quay.io/x"\n')
    assert fault.endswith("expected a name of letters, digits, - and _")
    Path("publisher.toml").unlink()
    (fault,) = faults({**MLFLOW, "REGISTRY_URL": "quay.io/x", "PUBLISHER_TARGET": "a b"})
    assert fault == "PUBLISHER_TARGET in the environment: expected a name of letters, digits, - and _"


def test_a_target_must_be_a_table() -> None:
    """A value in the place of a table is told as such."""
    (fault,) = faults(text='[targets]\ndemo = "quay.io/x"\n')
    assert fault == f"targets.demo in {Path.cwd()}/publisher.toml: expected a table [targets.NAME]"


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the mapping that was passed in counts."""
    monkeypatch.setenv("JOBS", "3")
    monkeypatch.setenv("PUBLISHER_JOBS", "3")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere")
    settings = load({}, MLFLOW)
    assert (settings.jobs, settings.mlflow_tracking_uri) == (8, "http://127.0.0.1:5000")


def test_where_artifacts_may_be() -> None:
    """Hosts of artifacts and the permission for local files come from the file and from variables."""
    written('artifact_hosts = ["A.example.org:5500", "b"]\nlocal_artifacts = false')
    settings = load({}, MLFLOW)
    assert settings.artifact_hosts == ("a.example.org:5500", "b")
    assert settings.local_artifacts is False
    settings = load(
        {}, {**MLFLOW, "PUBLISHER_ARTIFACT_HOSTS": "[::1]:5000", "PUBLISHER_LOCAL_ARTIFACTS": "true"}
    )
    assert (settings.artifact_hosts, settings.local_artifacts) == (("[::1]:5000",), True)


@pytest.mark.parametrize("value", ["https://a.example.org", "a b", "a/b", "", "a:b", "someone:canary@a"])
def test_a_host_that_is_none(value: str) -> None:
    """What is no host is told with an example, and what stands before an @ is never shown."""
    [fault] = faults(MLFLOW, f"artifact_hosts = [{value!r}]")
    assert fault.startswith("artifact_hosts in ")
    assert "canary" not in fault
