"""Tools that build, as real processes: what they print is told and kept, and nothing of them stays."""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from publisher.builders.command import TAIL, Commands
from publisher.errors import BuildError, DeadlineError, EngineError, PublisherError
from publisher.progress import Report, Silent
from publisher.redaction import redacted


class Told(Silent):
    """Keeps lines with the time at which they came."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def line(self, subject: str, text: str) -> None:
        self.lines.append((time.monotonic(), text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


class Tool:
    """A Python program as a tool; `check` is the report's."""

    def __init__(self, folder: Path) -> None:
        self.told = Told()
        self.log = folder / "logs" / "build.log"
        self.check: Callable[[], None] = lambda: None
        self.folder = folder

    def run(self, program: str, *arguments: str, **more: object) -> None:
        report = Report(self.told, "a model", self.check)
        commands = Commands(report, self.log, dict(os.environ))
        commands.run([sys.executable, "-uc", program, *arguments], what="the build", **more)  # type: ignore[arg-type]

    def fails(self, program: str, *arguments: str) -> PublisherError:
        with pytest.raises(PublisherError) as raised:
            self.run(program, *arguments)
        return raised.value


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    return Tool(tmp_path)


def gone(file: Path) -> bool:
    """Whether the process whose number `file` holds ends soon."""
    status = Path(f"/proc/{file.read_text()}/stat")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_lines_are_told_when_they_are_printed(tool: Tool) -> None:
    """Somebody watches: the first line is there before the last one is printed."""
    tool.run("import time; print('one'); time.sleep(0.7); print('two')")
    assert tool.told.texts == ["one", "two"]
    assert tool.told.lines[1][0] - tool.told.lines[0][0] > 0.5


def test_both_streams_go_to_the_log_which_is_for_its_owner_alone(tool: Tool) -> None:
    """What a RUN prints may be confidential."""
    tool.run("import sys; print('out'); print('err', file=sys.stderr)")
    assert tool.log.read_text() == "out\nerr\n"
    assert stat.S_IMODE(tool.log.stat().st_mode) == 0o600


def test_a_link_in_the_place_of_the_log_is_not_followed(tool: Tool) -> None:
    """Nobody leads what is written somewhere else."""
    tool.log.parent.mkdir()
    tool.log.symlink_to(tool.folder / "elsewhere")
    with pytest.raises(OSError):
        tool.run("print('x')")
    assert not (tool.folder / "elsewhere").exists()


def test_an_error_has_the_last_lines_and_says_where_all_of_them_are(tool: Tool) -> None:
    """Twenty lines tell what went wrong; the log has the rest."""
    error = tool.fails("for n in range(100): print('line', n)\nraise SystemExit(3)")
    assert isinstance(error, BuildError)
    assert error.detail.splitlines() == [f"line {n}" for n in range(100 - TAIL, 100)]
    assert "line 99" in str(error)
    assert str(tool.log) in error.hint
    assert len(tool.log.read_text().splitlines()) == 100


def test_secrets_are_masked_everywhere(tool: Tool) -> None:
    """In lines, in the log, in the error, and in the middle of a line of any length."""
    secret = "hunter2-of-the-index"
    redacted.learn(secret)
    program = """
import sys
secret = sys.argv[1]
print((secret + "xyz") * 10000); print(secret); raise SystemExit(1)
"""
    error = tool.fails(program, secret)
    log = tool.log.read_text()
    for text in (log, error.detail, str(error), *tool.told.texts):
        assert not any(part in text for part in ("hunter2", "the-index"))
    assert log.replace("\n", "").count("***") == 10_001
    assert log.replace("\n", "").count("xyz") == 10_000


def test_a_very_long_line_is_cut_for_those_who_watch(tool: Tool) -> None:
    """The log has all of it."""
    tool.run("print('y' * 10_000_000)")
    assert max(map(len, tool.told.texts)) < 5000
    assert tool.log.read_text().count("y") == 10_000_000


def test_bytes_that_are_no_text(tool: Tool) -> None:
    """Binary output harms neither log nor terminal; a character that arrives in halves is whole."""
    tool.run(
        "import os, time; os.write(1, b'\\xff\\x00\\xfe ok \\xc3'); time.sleep(0.2); os.write(1, b'\\xa4\\n')"
    )
    assert tool.told.texts == ["\ufffd\ufffd ok ä"]


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r50%\r100%\r\n", "100%"),
        ("a\x1b[2Jb\x07\x08c\td", "abc\td"),
        ("\x9b31mx", "31mx"),
    ],
)
def test_nothing_moves_the_cursor_of_who_watches(tool: Tool, printed: str, shown: str) -> None:
    """A Dockerfile's author writes no title, colour or earlier line of somebody's terminal."""
    tool.run("import sys; print(sys.argv[1])", printed)
    assert tool.told.texts == [shown]
    assert tool.log.read_text() == f"{shown}\n"


def test_a_tool_that_is_missing(tool: Tool) -> None:
    """The site can install it: the version is tried again."""
    with pytest.raises(EngineError, match=r"no-such-tool cannot be started: No such file"):
        Commands(Report(tool.told, "x"), tool.log, {}).run(["/no-such-tool"], what="the build")


@pytest.mark.parametrize("program", ["import os; os.kill(os.getpid(), 9)", "raise SystemExit(137)"])
def test_a_tool_that_is_killed(tool: Tool, program: str) -> None:
    """Want of memory is no fault of the version, in a container too, whose end is told by a number."""
    error = tool.fails(f"print('busy')\n{program}")
    assert isinstance(error, EngineError)
    assert "was killed (SIGKILL) during the build" in str(error)
    assert "memory" in error.hint
    assert error.detail == "busy"


def test_what_a_check_raises_ends_the_tool_and_its_children(tool: Tool) -> None:
    """A deadline leaves nobody behind, not even who does not listen to SIGTERM."""
    program = """
import os, signal, subprocess, sys, time
child = "import os, signal, sys, time; signal.signal(15, signal.SIG_IGN); " \\
    "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", child, sys.argv[1]])
print("started"); time.sleep(60)
"""
    number = tool.folder / "number"

    def check() -> None:
        if number.exists() and number.read_text():
            raise DeadlineError("over")

    tool.check = check
    began = time.monotonic()
    with pytest.raises(DeadlineError):
        tool.run(program, str(number))
    assert time.monotonic() - began < 10
    assert gone(number)


@pytest.mark.parametrize("own_session", [False, True])
@pytest.mark.parametrize("talks", [False, True])
def test_a_child_that_survives_is_not_waited_for(tool: Tool, own_session: bool, talks: bool) -> None:
    """The tool is done when it is done, whoever still holds its output; of its own session nobody stays."""
    program = """
import subprocess, sys, time
child = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid()))\\nfor _ in range(2000):\\n" \\
    " time.sleep(0.01)\\n if sys.argv[2]: print('noise', flush=True)"
subprocess.Popen([sys.executable, "-c", child, *sys.argv[1:3]], start_new_session=bool(sys.argv[3]))
while True:
    time.sleep(0.02)
    try:
        if open(sys.argv[1]).read(): break
    except OSError: pass
print("done")
"""
    number = tool.folder / "number"
    began = time.monotonic()
    tool.run(program, str(number), "yes" * talks, "yes" * own_session)
    assert time.monotonic() - began < 9
    assert "done" in "".join(tool.told.texts)
    if own_session:
        os.kill(int(number.read_text()), 9)
    assert gone(number)


def test_a_tool_that_closes_its_output_works_on(tool: Tool) -> None:
    """Its end counts, and so does its exit code; the check is asked meanwhile."""
    asked = []
    tool.check = lambda: asked.append(1)
    error = tool.fails(
        "import os, time; print('bye'); os.close(1); os.close(2); time.sleep(1.2); os._exit(4)"
    )
    assert isinstance(error, BuildError)
    assert len(asked) >= 3


def test_output_without_end_neither_fills_disk_nor_memory(
    tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log has a largest size; who watches and the error go on."""
    monkeypatch.setattr("publisher.builders.command._MOST", 50_000)
    error = tool.fails("for n in range(20000): print('line', n)\nraise SystemExit(1)")
    assert 50_000 <= tool.log.stat().st_size < 51_000
    assert tool.log.read_text().endswith("MiB.\n")
    assert error.detail.endswith("line 19999")
    assert len(tool.told.texts) == 20_000


def test_a_slow_watcher_slows_the_tool(tool: Tool) -> None:
    """What is printed waits in the pipe, not in memory."""
    ready = threading.Event()
    tool.told.line = lambda subject, text: ready.wait(0.3)  # type: ignore[method-assign]
    place = tool.folder / "printed"
    tool.check = lambda: None
    program = "import sys\nfor n in range(40):\n print('z' * 50000)\n open(sys.argv[1], 'w').write(str(n))"
    thread = threading.Thread(target=tool.run, args=(program, str(place)))
    thread.start()
    time.sleep(0.8)
    assert int(place.read_text() or 0) < 20
    ready.set()
    thread.join(20)
    assert place.read_text() == "39"


def test_input_and_output_of_ones_own(tool: Tool, tmp_path: Path) -> None:
    """With a sink, stdout is no output to tell of; stderr still is."""
    (tmp_path / "in").write_bytes(b"\x00abc")
    program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); print('said', file=sys.stderr)"
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as sink:
        tool.run(program, source=source, sink=sink)
    assert (tmp_path / "out").read_bytes() == b"\x00abc"
    assert tool.told.texts == ["said"]
