"""Renders one Jinja2 template, as a process of its own with little time and memory: a template is a stranger's.

A job comes as JSON on standard input, and the text, or what is wrong with the template, goes to standard output.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS = 3  # of processor time; nested loops go on for ever otherwise
MEMORY = 512 << 20  # bytes
OUTPUT = 16 << 20  # characters
VALUES = 100_000
_OPEN, _CLOSE = "\ue000", "\ue001"


class _Ready(str):
    """Text that is written as it is: what `tojson` made."""

    __slots__ = ()


def render(source: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """``{"text", "values"}``: a mark for each value in the text; or ``{"error", "line"}``."""
    values: list[str] = []

    def mark(value: object) -> str:
        if isinstance(value, _Ready):
            return str(value)
        text = "" if value is None else str(value)
        if not text:
            return ""
        values.append(text)
        return f"{_OPEN}{len(values) - 1}{_CLOSE}"

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, StrictUndefined) else mark(value),
        keep_trailing_newline=True,
        autoescape=False,
    )
    # Loops over numbers, and dict or list as they are, are all that is left of the globals.
    for name in ("lipsum", "cycler", "joiner", "namespace"):
        environment.globals.pop(name, None)
    environment.filters["tojson"] = lambda value: _Ready(json.dumps(value, sort_keys=True))
    try:
        parts: list[str] = []
        length = 0
        for part in environment.from_string(source).generate(dict(context)):
            length += len(part)
            if length > OUTPUT or len(values) > VALUES:
                return {"error": f"it writes more than {OUTPUT:,} characters or {VALUES:,} values", "line": 0}
            parts.append(part)
    except TemplateSyntaxError as error:
        return {"error": error.message or "it is no template", "line": error.lineno}
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
        return {"error": str(error) or type(error).__name__, "line": _line(error)}
    except MemoryError:
        return {"error": f"it needs more than {MEMORY >> 20} MiB of memory", "line": 0}
    return {"text": "".join(parts), "values": values}


def _line(error: BaseException) -> int:
    """The template's line at which it went wrong: Jinja2 rewrites tracebacks to show it."""
    trace, line = error.__traceback__, 0
    while trace:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    job = json.load(sys.stdin)
    json.dump(render(job["source"], job["context"]), sys.stdout)


if __name__ == "__main__":
    main()
