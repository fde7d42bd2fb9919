"""The command line: help, exit codes, what stdout and stderr say. The App is the port's smallest listener here."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer

from publisher import __version__
from publisher.cli import download, main, status, withdraw
from publisher.cli import publish as publish_command
from publisher.cli.polling import Polls
from publisher.cli.program import COMMANDS
from publisher.domain import ModelVersion, Outcome
from publisher.errors import AuthenticationError, BuildError, ResolutionError, SettingsError
from publisher.exits import guarded
from publisher.progress import Silent
from publisher.running import Running

ROOT = Path(__file__).resolve().parents[2]
VERSION = ModelVersion("pltr_model", "3", "models:/m-1", datetime(2026, 11, 22, tzinfo=UTC))
MLFLOW = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


@dataclass
class App:
    """Answers with what it was given, and remembers what it was asked."""

    outcomes: list[Outcome] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)

    def poll(self) -> list[Outcome]:
        return self.outcomes

    def publish(
        self, name: str, version: str, targets: Sequence[str] | None, *, dry_run: bool, force: bool
    ) -> list[Outcome]:
        self.asked.append((name, version, targets, dry_run, force))
        return self.outcomes

    def status(self, name: str | None = None, version: str | None = None) -> list[Any]:
        self.asked.append((name, version))
        return []

    def download(
        self, folder: Path, name: str | None = None, version: str | None = None
    ) -> list[tuple[ModelVersion, Path]]:
        self.asked.append((folder, name, version))
        return [(VERSION, folder / "pltr_model" / "v3")]


def outcome(state: Any, code: int = 0, target: str = "DEMO") -> Outcome:
    return Outcome(VERSION, target, state, "the reason", exit_code=code)


def poll(*outcomes: Outcome, as_json: bool = False) -> int:
    app: Any = App(list(outcomes))
    return Polls(lambda: nullcontext(app), Silent(), Running(), as_json).once()


def publish(*outcomes: Outcome) -> int:
    session: Any = nullcontext(App(list(outcomes)))
    return publish_command.run(session, "pltr_model", "3", None, dry_run=False, force=False, json=False)


def run(
    *arguments: str, program: Sequence[str] = (sys.executable, "-m", "publisher.cli"), **variables: str
) -> subprocess.CompletedProcess[str]:
    """A real process with these variables and nothing else of ours."""
    code = "import sys; from publisher.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code] if "publisher.cli" in program else list(program)
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE") if key in os.environ}
    return subprocess.run(
        [*command, *arguments],
        env={**kept, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )


@pytest.fixture(autouse=True)
def _no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in list(os.environ):
        if variable.startswith(("PUBLISHER_", "MLFLOW_", "REGISTRY_", "MODEL_")):
            monkeypatch.delenv(variable)


def test_poll_ends_with_20_when_some_version_failed() -> None:
    """One failed version among others is exit code 20, whatever its own code; none is 0."""
    assert poll(outcome("published"), outcome("skipped")) == 0
    assert poll() == 0
    assert poll(outcome("published"), outcome("failed", 9)) == 20


def test_publish_ends_with_the_first_failures_own_code() -> None:
    """The exit code says why, and a failure that forgot its code is still none of success."""
    assert publish(outcome("published"), outcome("planned")) == 0
    assert publish(outcome("published"), outcome("failed", 9), outcome("failed", 13)) == 9
    assert publish(outcome("failed", 0)) == 1


def test_json_is_the_only_thing_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json, stdout parses as one document."""
    assert poll(outcome("failed", 9), as_json=True) == 20
    out = capsys.readouterr().out
    assert [each["exit_code"] for each in json.loads(out)["outcomes"]] == [9]
    session: Any = nullcontext(App())
    assert status.run(session, None, None, json=True) == 0
    assert json.loads(capsys.readouterr().out) == {"versions": []}
    assert download.run(session, Path("/d"), None, None, json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "downloads": [{"model": "pltr_model", "version": "3", "folder": "/d/pltr_model/v3"}]
    }


def test_arguments_arrive_at_the_app(capsys: pytest.CaptureFixture[str]) -> None:
    """Names, versions, targets and switches are passed on as they were given."""
    app = App([outcome("planned")])
    session: Any = nullcontext(app)
    publish_command.run(session, "m", "7", ["DEMO"], dry_run=True, force=True, json=False)
    status.run(session, "m", "7", json=False)
    download.run(session, Path("/d"), "m", "7", json=False)
    assert app.asked == [("m", "7", ["DEMO"], True, True), ("m", "7"), (Path("/d"), "m", "7")]
    assert "pltr_model v3: /d/pltr_model/v3" in capsys.readouterr().out


def test_an_error_is_one_line_with_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    """Message and hint stand on one line, a tool's own words indented below, escapes spelled out."""

    def work() -> int:
        raise ResolutionError("no wheel for\x1b[31m arm64", hint="Pin numpy>=2", detail="line 1\nline 2")

    assert guarded(work) == 9
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "error: no wheel for\\x1b[31m arm64. Pin numpy>=2",
        "  line 1",
        "  line 2",
    ]


def test_several_wrong_settings_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault has its own line; a single one is the line."""

    def several() -> int:
        raise SettingsError(["a is wrong", "b is wrong"], hint="Read on")

    def one() -> int:
        raise SettingsError(["a is wrong"])

    assert guarded(several) == guarded(one) == 3
    assert capsys.readouterr().err.splitlines() == [
        "error: 2 faults in the settings. Read on",
        "  a is wrong",
        "  b is wrong",
        "error: a is wrong",
    ]


def test_a_bug_is_told_without_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception is one line with its place, exit 1; its text may hold a password."""

    def work() -> int:
        raise KeyError("hunter2")

    assert guarded(work) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: this is a bug in publisher (KeyError at test_cli.py:")
    assert "--debug" in error
    assert "hunter2" not in error
    assert error.count("\n") == 1


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """With --debug the traceback comes before the line, also for expected errors."""

    def work() -> int:
        raise BuildError("impossible")

    assert guarded(work, debug=True) == 11
    error = capsys.readouterr().err
    assert error.startswith("Traceback (most recent call last)")
    assert error.endswith("error: impossible\n")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (AuthenticationError("no", status=401), 13, "error: no"),
        (PermissionError(13, "Permission denied", "/cache"), 17, "error: /cache: Permission denied"),
        (OSError(28, "No space left on device"), 17, "No space left on device"),
        (ModuleNotFoundError("x", name="typer"), 16, "the Python package typer is not installed. Run: "),
        (ModuleNotFoundError("x", name="publisher.gone"), 1, "this is a bug"),
        (BrokenPipeError(32, "Broken pipe"), 1, "this is a bug"),
    ],
)
def test_every_end_has_its_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C, a full disk, a missing package and a tool's broken pipe are told apart."""

    def work() -> int:
        raise error

    assert guarded(work) == code
    assert words in capsys.readouterr().err


def test_the_version_is_the_packages() -> None:
    """`publisher --version` says the installed version."""
    assert run("--version").stdout == f"publisher {__version__}\n"


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_each_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help of each command ends with examples, line by line."""
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"\n  Examples:\n    publisher {command}" in text


def test_help_imports_nothing_heavy() -> None:
    """What takes long to import is imported by the commands that need it, so help answers at once."""
    code = (
        "import sys\nfrom publisher.cli import main\nmain(['--help'])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    modules = run(program=(sys.executable, "-c", code)).stderr
    assert "'typer'" in modules
    for heavy in ("mlflow", "requests", "pydantic", "pydantic_settings", "rich", "yaml", "isal"):
        assert f"'{heavy}'" not in modules


def test_a_wrong_command_line_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown command, a missing argument and a name without its version are told on stderr."""
    assert main(["nope"]) == main(["publish", "m"]) == main(["download", "/d", "m"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "No such command 'nope'" in captured.err
    assert "Missing argument 'VERSION'" in captured.err
    assert "NAME needs a VERSION" in captured.err


def test_an_unknown_target_is_told_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """--target is checked against the settings before anything is connected to."""
    Path("publisher.toml").write_text(
        'mlflow_tracking_uri="http://127.0.0.1:9"\n[targets.DEMO]\nregistry="oci:x"\n'
    )
    assert main(["publish", "m", "1", "--target", "DEMOO"]) == 2
    assert "DEMOO is none of the targets: DEMO" in capsys.readouterr().err


def test_a_wrong_platform_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """base-image checks its platforms before it builds."""
    assert main(["base-image", "oci:x", "--platform", "arm64"]) == 2
    assert "is not a platform such as linux/amd64" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["poll", "--once"], ["publish", "m", "1"], ["status"], ["publish-models"]]
)
def test_wrong_settings_end_every_command_with_3(command: list[str]) -> None:
    """A real process with no settings says all that is missing, on stderr, and nothing on stdout."""
    done = run(*command, "--json")
    assert (done.returncode, done.stdout) == (3, "")
    first, *faults = done.stderr.splitlines()
    assert first.startswith("error: 2 faults in the settings. ")
    assert faults[0].startswith("  no target: ")
    assert faults[1].startswith("  mlflow_tracking_uri is not set: ")


def test_debug_may_stand_anywhere_before_a_double_dash() -> None:
    """People add --debug at the end of what they just typed."""
    assert run("poll", "--debug").stderr.startswith("Traceback")
    assert run("--debug", "poll").stderr.startswith("Traceback")
    assert run("publish", "--", "m", "--debug").stderr.startswith("error: ")


def test_global_options_are_settings() -> None:
    """A flag's value is validated as a setting and told as a flag; --config names the file."""
    done = run("--jobs", "x", "--config", "/none.toml", "download", "/d", **MLFLOW)
    assert done.returncode == 3
    assert "  /none.toml cannot be read: No such file or directory" in done.stderr
    assert "  the flag --jobs: expected a whole number from 1 to 64, got 'x'" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(unbuffered: str) -> None:
    """`publisher --help | true` ends with 141 and without a word on stderr, buffered or not."""
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from publisher.cli import main; sys.exit(main(['--help']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_names_print_where_the_locale_knows_no_such_letter() -> None:
    """An arrow on an ASCII stdout is spelled out; it ends no run."""
    code = (
        "import sys; from publisher import terminal; from publisher.cli import program\n"
        "program._run = lambda arguments: print(terminal.plain('m → D')) or 0\n"
        "sys.exit(program.main([]))"
    )
    done = run(program=(sys.executable, "-c", code), PYTHONIOENCODING="ascii:strict", PYTHONUTF8="0")
    assert (done.returncode, done.stdout) == (0, "m \\u2192 D\n")


@pytest.mark.parametrize("script", ["download_models.py", "publish_models.py"])
def test_the_scripts_run_from_a_checkout(script: str) -> None:
    """The documents' scripts are executable, need no installation of publisher, and share its exit codes."""
    path = ROOT / script
    assert os.access(path, os.X_OK)
    done = run("/d" if "download" in script else "--json", program=(sys.executable, str(path)))
    assert done.returncode == 3
    assert "mlflow_tracking_uri is not set" in done.stderr


def test_a_script_without_its_dependencies_says_what_to_install() -> None:
    """A Python that lacks the dependencies is told the package and the command that installs them."""
    done = run("/d", program=(sys.executable, "-S", str(ROOT / "download_models.py")))
    assert done.returncode == 16
    assert done.stderr.startswith("error: the Python package typer is not installed. Run: ")
    assert f"-m pip install {ROOT}" in done.stderr


def test_publish_models_wants_both_name_and_version_or_neither() -> None:
    """MODEL_NAME without MODEL_VERSION is told, rather than polled past."""
    done = run("publish-models", **MLFLOW, REGISTRY_URL="localhost:9", MODEL_NAME="m")
    assert done.returncode == 3
    assert done.stderr == (
        "error: MODEL_VERSION is not set: expected both MODEL_NAME and MODEL_VERSION, or neither\n"
    )


def test_withdraw_asks_on_a_terminal_and_wants_yes_elsewhere() -> None:
    """Without a terminal nobody is asked: --yes has to be said, and nothing was done without it."""
    done = run("withdraw", "m", "1", **MLFLOW, REGISTRY_URL="localhost:9")
    assert done.returncode == 2
    assert "there is no terminal to ask on: say --yes" in done.stderr


def test_withdraw_goes_on_with_y_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked goes to stderr, and anything but yes ends as Ctrl-C does."""
    terminal, ours = pty.openpty()
    monkeypatch.setattr("sys.stdin", os.fdopen(ours, "r"))
    os.write(terminal, b"n\n")
    with pytest.raises(typer.Exit) as ended:
        withdraw.confirm("m v1", None)
    assert ended.value.exit_code == 130
    os.write(terminal, b"y\n")
    withdraw.confirm("m v1", ["DEMO"])


def test_a_shell_completes_the_names_of_targets() -> None:
    """What a shell asks by its variable is answered from the settings; where they are wrong, with nothing."""
    Path("publisher.toml").write_text(
        'mlflow_tracking_uri="http://127.0.0.1:9"\n[targets.DEMO]\nregistry="oci:x"\n[targets.edge]\nregistry="oci:y"\n'
    )
    config = str(Path("publisher.toml").absolute())
    asked = {"_PUBLISHER_COMPLETE": "complete_bash", "COMP_CWORD": "5", "PUBLISHER_CONFIG": config}
    assert run(COMP_WORDS="publisher publish m 1 --target ", **asked).stdout.split() == ["DEMO", "edge"]
    assert run(COMP_WORDS="publisher publish m 1 --target e", **asked).stdout.split() == ["edge"]
    wrong = run(COMP_WORDS="publisher publish m 1 --target ", **{**asked, "PUBLISHER_CONFIG": "/none"})
    assert (wrong.returncode, wrong.stdout.strip(), wrong.stderr) == (0, "", "")
