"""Two answers compared, and places in an answer named, as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

# Of floats: other processors and builds of a library round the last digits differently.
RELATIVE, ABSOLUTE = 1e-5, 1e-8
_LONGEST = 60  # characters of a value that is shown


def difference(got: Any, wanted: Any, place: str) -> str:
    """The first place where `got` is not what is recorded; empty where it is equal.

    Floats are equal within 1e-5 of the larger or 1e-8, and a float may stand for an integer of its value; NaN and null
    are one. All else is equal or not: dates are text, rows have an order, the keys of an object have none.
    """
    return next(_differences(got, wanted, place), "")


def _differences(got: Any, wanted: Any, place: str) -> Iterator[str]:
    if isinstance(got, dict) and isinstance(wanted, dict):
        for key, value in wanted.items():
            if key in got:
                yield from _differences(got[key], value, place + step(key))
            else:
                yield f"{place} has no {shown(key)}, and one is recorded"
        yield from (f"{place} has {shown(key)}, and none is recorded" for key in got if key not in wanted)
    elif isinstance(got, list) and isinstance(wanted, list):
        for number, pair in enumerate(zip(got, wanted, strict=False)):
            yield from _differences(*pair, place + step(number))
        if len(got) != len(wanted):
            yield f"{place} has {len(got)} values, and {len(wanted)} are recorded"
    elif not _equal(got, wanted):
        yield f"{place} is {shown(got)}, and {shown(wanted)} is recorded"


def _equal(got: Any, wanted: Any) -> bool:
    if _none(got) or _none(wanted):
        return _none(got) and _none(wanted)
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (got, wanted))
    if numbers and (isinstance(got, float) or isinstance(wanted, float)):
        try:
            return math.isclose(got, wanted, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        except OverflowError:  # an integer that no float can be
            return False
    return type(got) is type(wanted) and bool(got == wanted)


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def step(key: str | int) -> str:
    """The way from a value to one that is inside it."""
    return f"[{key}]" if isinstance(key, int) else f"[{shown(key)}]"


def shown(value: Any) -> str:
    """A value as a person reads it, cut where it is long."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    text = "null" if value is None else repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
