"""JSON of registries and images: nested without end, or made so that reading it takes long."""

from __future__ import annotations

import gc
import json
import sys
import time

import pytest

from publisher.oci.layout import decode


class _Handle:
    """Trash that Python's collector finds, and that needs a little of the stack to be closed, as a connection does."""

    closed = 0

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in map(str, [1]):
            _Handle.closed += 1


@pytest.mark.parametrize("text", ["[" * 5000, '{"a":' * 5000, '["\\"]",' + "[" * 5000])
def test_nested_without_end_leaves_the_stack_alone(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused before the parser uses up the stack: what Python frees meanwhile ends as it should."""
    failed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: failed.append(told.exc_type))
    kept = gc.get_threshold()
    gc.freeze()  # what was there before need not be looked at again and again
    try:
        for lists in range(700, 1000):  # after so many the collector runs, some time at the end of the stack
            gc.collect()
            _Handle()
            gc.set_threshold(lists)
            with pytest.raises(ValueError, match="nested too deeply"):
                decode(text.encode())
            gc.set_threshold(*kept)
    finally:
        gc.set_threshold(*kept)
        gc.unfreeze()
    assert not failed


def test_brackets_in_strings_and_beside_each_other_are_no_nesting() -> None:
    """Only lists and objects within each other count, whatever text there is with quotes and backslashes."""
    document = {"a": "[{" * 500 + '\\"[', "b\\": [[1]] * 500, '"': ["]" * 500 + "[" * 500]}
    assert decode(json.dumps(document)) == document
    assert decode(json.dumps(document).encode()) == document


@pytest.mark.parametrize("text", ['"' + '\\"' * 2_000_000 + "[" * 200, '"' * 4_000_000 + "[" * 200 + "\\"])
def test_a_string_without_end_takes_no_long_look(text: str) -> None:
    """Quotes and backslashes by the million are read once, not once for each of them."""
    begin = time.monotonic()
    with pytest.raises(ValueError):
        decode(text)
    assert time.monotonic() - begin < 20
