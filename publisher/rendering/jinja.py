"""Templates in Jinja2's form (``*.j2``): strict, sandboxed, and rendered by a process that has little."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from publisher.errors import HostError, TemplateError
from publisher.rendering import sandbox
from publisher.rendering.values import Values

_WALL = 30  # seconds; a machine may be busy


def render(path: str, source: str, context: Mapping[str, Any], values: Values) -> str:
    """The text with a mark for each value; raises TemplateError that shows the template's line."""
    job = json.dumps({"source": source, "context": context})
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", sandbox.__name__],
            input=job,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": "", "LC_ALL": "C.UTF-8"},
            timeout=_WALL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _endless(path) from None
    except OSError as error:
        raise HostError(f"no process can be started to render {path}: {error}") from error
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _endless(path)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise TemplateError(f"{path} cannot be rendered: {lines[-1] if lines else done.returncode}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise _wrong(path, source, answer["error"], answer["line"])
    # The sandbox numbers its own marks; here each becomes one of this text's.
    text, found = answer["text"], answer["values"]
    return _renumbered(text, [values.mark(f"what {path} writes", value) for value in found])


def _renumbered(text: str, marks: list[str]) -> str:
    parts = text.split(sandbox._OPEN)
    done = [parts[0]]
    for part in parts[1:]:
        number, _, rest = part.partition(sandbox._CLOSE)
        done += [marks[int(number)], rest]
    return "".join(done)


def _endless(path: str) -> TemplateError:
    return TemplateError(
        f"{path} was not rendered within {sandbox.SECONDS} s",
        hint="templates are for text: a loop in it has no end, or nearly none",
    )


def _wrong(path: str, source: str, what: str, line: int) -> TemplateError:
    lines = source.splitlines()
    shown = lines[line - 1].strip()[:120] if 0 < line <= len(lines) else ""
    place = f"line {line} of {path}" if line else path
    return TemplateError(
        f"{place}: {' '.join(what.split())[:300]}" + (f" (in: {shown})" if shown else ""),
        hint="docs/templates.md lists the names that a template may use",
    )
