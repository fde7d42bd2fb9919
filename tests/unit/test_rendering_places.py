"""Values land where a template puts them, and are nothing but themselves there: the real readers are the judges."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator

import pytest
import yaml

from publisher.errors import TemplateError
from publisher.rendering import dockerfile
from publisher.rendering.render import render_one
from publisher.rendering.values import Values

NASTY = [
    "a b", "$(id)", "`id`", "${HOME}", "$HOME", '"', "'", "\\", "\\\\", '\\"', "a'b", 'a"b', "'; id; '", '"; id; "', "&& id",
    "| id", "> /tmp/x", "#", "a # b", "*", "~", "!", "é ü", "\u4e2d\u6587", "x: y", "[a, b]", "{a: b}", "- a", "a\\", "--privileged", "-x",
    "%s", "{{ 7*7 }}", "{% raw %}", "$$", "$", "<<EOF", ")", "(", "];", '"]', '", "-c", "id', "a=b c=d", "&amp;", "@a", ":", ",", "''", '""',
]  # fmt: skip
ALPHABET = "ab $`\"'\\;&|<>(){}[]#*?~!=:,.-_/@%+\u00e9\u4e2d{}"


def values(count: int) -> Iterator[str]:
    yield from NASTY
    chance = random.Random(4)
    for _ in range(count):
        yield "".join(chance.choice(ALPHABET) for _ in range(chance.randint(1, 12)))


def rendered(name: str, template: str, value: str) -> str | None:
    """What becomes of a template; None where the value is refused."""
    try:
        return render_one(f"{name}.template", template, {"v": value}).text
    except TemplateError as error:
        assert "\n" not in error.line
        return None


@pytest.mark.parametrize(
    "line",
    [
        "show ${v}",
        'show "${v}"',
        "show '${v}'",
        "show pre${v}post",
        'show "a $1 ${v} \\" b"',
        "show 'a b'${v}\"c d\"",
        'x="$(show "${v}")"; printf %s "$x"',
        "(show ${v})",
        "true && show \\\n  ${v}",
        "# it's ${v}\nshow ${v}",
        "if true; then show ${v}; fi # ${v}",
        "show ${v} | cat",
    ],
)
def test_a_shell_sees_the_value_and_nothing_else(line: str) -> None:
    """A real sh runs each line with thousands of values: what it passes on is the value, or the value was refused."""
    parts, expected = ["show() { printf '%s' \"$1\"; }"], []
    template = line.replace("$1", "\\$1")
    for value in values(400):
        text = rendered("x.sh", template, value)
        if text is None:
            continue
        parts += [text, "printf '\\000'"]
        expected.append(render_plain(template, value))
    done = subprocess.run(["sh"], input="\n".join(parts).encode(), capture_output=True, check=True, cwd="/")
    assert done.stderr == b""
    assert done.stdout.decode().split("\0")[:-1] == expected
    assert len(expected) > 300


def render_plain(line: str, value: str) -> str:
    """What `show` prints for that value."""
    for before, after in (("pre", "post"), ("a \\$1 ", ' " b'), ("a b", "c d")):
        if before in line:
            return before.replace("\\$", "$") + value + after
    return value


@pytest.mark.parametrize(
    "line",
    [
        "sh -c 'echo ${v}'",
        'bash -lc "echo ${v}"',
        "eval echo ${v}",
        "echo `echo ${v}`",
        "cat <<EOF\n${v}\nEOF",
        "echo $(( ${v} ))",
        'echo "${HOME:-${v}}"',
        'echo "$(case x in x) echo ${v};; esac)"',
        "ls | xargs echo ${v}",
    ],
)
def test_where_a_shell_reads_twice_only_plain_values_go(line: str) -> None:
    """Where another reader comes after this shell, a value that is more than a word is refused."""
    for value in ("$(id)", "a; id", "'"):
        assert rendered("x.sh", line, value) is None
    assert "model-7" in (rendered("x.sh", line, "model-7") or "")


def test_a_value_is_no_option() -> None:
    assert rendered("x.sh", "docker build ${v} .", "--network=host") is None
    assert rendered("x.sh", 'docker build "${v}" .', "-x") is None
    assert rendered("x.sh", "docker build -t r/${v} .", "--privileged") == "docker build -t r/--privileged ."
    assert rendered("Dockerfile", "FROM x\nADD ${v} model\n", "--chown=0") is None


def _run(text: str) -> object:
    found: dict[str, object] = {}
    exec(compile(text, "x", "exec"), found)  # noqa: S102 - of our own making, which is what is tested
    return found["k"]


@pytest.mark.parametrize(
    ("name", "template", "read"),
    [
        ("x.json", '{"k": "${v}"}', lambda text: json.loads(text)["k"]),
        ("x.json", '{"k": ["a\\"b", "${v}"]}', lambda text: json.loads(text)["k"][1]),
        ("x.json", '{"k": ${v}}', lambda text: str(json.loads(text)["k"])),
        ("x.yaml", 'k: "${v}"\n', lambda text: yaml.safe_load(text)["k"]),
        ("x.yaml", "a: it's\nk: '${v}'\n", lambda text: yaml.safe_load(text)["k"]),
        ("x.yaml", "# \"\nk: [a, '${v}']\n", lambda text: yaml.safe_load(text)["k"][1]),
        ("x.py", "k = '${v}'\n", _run),
        ("x.py", 'k = "${v}"  # "${v}"\n', _run),
        ("x.py", "k = '''${v}'''\n", _run),
        ("x.txt", "${v}", lambda text: text),
    ],
)
def test_other_readers_see_the_value(name: str, template: str, read: object) -> None:
    """JSON, YAML and Python read back what was put in."""
    seen = 0
    for value in values(500):
        text = rendered(name, template, value)
        if text is not None:
            assert str(read(text)) == value  # type: ignore[operator]
            seen += 1
    assert seen > 400


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("x.py", "k = ${v}\n"),
        ("x.py", "k = f'${v}'\n"),
        ("x.py", "k = r'${v}'\n"),
        ("x.yaml", "k: ${v}\n"),
        ("x.yaml", "s: |\n  echo \"hi\n  '${v}'\n"),
        ("x.toml", 'k = "${v}"\n'),
        ("x.unknown", "${v}"),
    ],
)
def test_where_nobody_is_sure_only_plain_values_go(name: str, template: str) -> None:
    for value in ("a b", "'", '"', "{x}", "\\"):
        assert rendered(name, template, value) is None
    assert rendered(name, template, "abc")


@pytest.mark.parametrize(
    "value", ["a\nRUN id", "a\r", "\x00", "\x1b[31m", "a\u2028b", "\u202e", "\ud800", "\ue000", "x" * 9000]
)
@pytest.mark.parametrize("name", ["Dockerfile", "x.sh", "x.txt", "x.json"])
def test_control_characters_go_nowhere(name: str, value: str) -> None:
    """A line break in a tag's value would be a new instruction."""
    assert rendered(name, "${v}", value) is None


DOCKERFILE = """\
# syntax=docker/dockerfile:1
FROM scratch
ENV A=${v} B="${v}" C='${v}' D=x
LABEL a.b=${v} \\
  # don't ${v}
  c="q ${v}"
RUN echo ${v} "${v}" '${v}' \\
# it's a comment
  && echo ${v}
ENTRYPOINT ["${v}", "a\\"b"]
CMD ["x ${v}"]
"""


def test_a_value_never_adds_an_instruction() -> None:
    """Whatever the value, the Dockerfile has the instructions of the template, and each exec form its words."""
    plain = [each.keyword for each in dockerfile.instructions(DOCKERFILE)]
    taken = 0
    for value in values(3000):
        text = rendered("Dockerfile", DOCKERFILE, value)
        if text is None:
            continue
        taken += 1
        found = list(dockerfile.instructions(text))
        assert [each.keyword for each in found] == plain
        assert "".join(each.text for each in found) == text
        entry = next(each.text for each in found if each.keyword == "ENTRYPOINT").removeprefix("ENTRYPOINT ")
        assert json.loads(entry) == [value, 'a"b']
        pairs = next(each.text for each in found if each.keyword == "ENV").removeprefix("ENV ")
        assert _words(pairs) == [f"A={value}", f"B={value}", f"C={value}", "D=x"]
    assert taken > 1000


def _words(text: str) -> list[str]:
    """The words of ENV as BuildKit's own reader splits, unquotes and expands them (its shell/lex.go), no variable set."""
    found, word, quote, place = [], "", "", 0
    text = text.rstrip("\n") + " "
    while place < len(text):
        c = text[place]
        place += 1
        if c == "\\" and quote != "'":
            following = text[place]
            keep = quote == '"' and following not in '"$\\'
            word, place = word + ("\\" if keep else "") + following, place + 1
        elif quote:
            assert c != "$" or quote == "'", "a variable would be expanded"
            quote, word = ("", word) if c == quote else (quote, word + c)
        elif c in "\"'":
            quote = c
        elif c == " ":
            found, word = [*found, word] if word else found, ""
        else:
            assert c != "$", "a variable would be expanded"
            word += c
    return found


@pytest.mark.parametrize(
    "line",
    [
        "ADD ${v} model",
        "FROM ${v}",
        "WORKDIR ${v}",
        "ENV ${v}=x",
        "ENV A ${v}",
        'COPY ["${v}", "model"]',
        "RUN --mount=type=cache,target=${v} id",
        "RUN <<EOF\necho ${v}\nEOF",
        'SHELL ["powershell", "-c"]\nRUN echo \'${v}\'',
        "# syntax=${v}",
        "# escape=`\nRUN echo '${v}'",
        "# syntax=${v}",
        "HEALTHCHECK CMD echo '${v}'",
    ],
)
def test_places_of_a_dockerfile_without_quotes(line: str) -> None:
    for value in ("a b", "$HOME", "a\\", '"', "'"):
        assert rendered("Dockerfile", line, value) is None
    assert "mymodel" in (rendered("Dockerfile", line, "mymodel") or "")


def test_what_was_filled_in_is_compared() -> None:
    """The last line of defence holds by itself: no encoding is trusted to keep the instructions as they were."""
    marks = Values()
    text = f"FROM x\nRUN echo {marks.mark('v', 'a')}\n"
    marks._values[0] = ("v", "a\nRUN id")
    with pytest.raises(TemplateError):
        dockerfile.fill(text, marks)
