"""Whether an answer is one that the model's signature allows.

As lenient as MLflow is with inputs: columns by name or by place, more columns than are named, an integer for a
float, an integral float for an integer (as pandas makes it of integers with gaps), a missing value anywhere. MLflow
itself looks at no output.
"""

from __future__ import annotations

import datetime as dates
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from publisher.checks.values import shown, step
from publisher.oci.layout import decode

WHOLE = "predictions"
_NUMBERS = ("integer", "long")
_FLOATS = ("float", "double")
_TEXTS = ("string", "binary")


def fault(predictions: Any, outputs: str) -> str:
    """The first place that is not as `outputs`, a schema of MLflow as JSON, says; empty where all is.

    Raises ValueError where that is no schema.
    """
    try:
        columns = decode(outputs)
        if not isinstance(columns, list) or not all(isinstance(each, dict) for each in columns):
            raise ValueError("it is no list of columns")
        if columns and predictions is None:
            return f"{WHOLE} is null, and the signature says that there is an answer"
        if columns and all(each.get("type") == "tensor" for each in columns):
            return next(_tensors(predictions, columns), "")
        return next(_columns(predictions, columns), "")
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it has not what belongs to it: {error!r}") from error


def _columns(predictions: Any, columns: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not columns:
        return
    if isinstance(predictions, dict) and not _whole(columns):  # columns of values, or a single row
        for column, name in zip(columns, _names(columns, predictions), strict=True):
            if name not in predictions:
                yield from _missing(WHOLE, column, predictions)
                continue
            value, place = predictions[name], WHOLE + step(name)
            if column["type"] != "array" and isinstance(value, list):
                for number, each in enumerate(value):
                    yield from _value(each, column, place + step(number))
            else:
                yield from _value(value, column, place)
        return
    if not isinstance(predictions, list):
        yield from _row(predictions, columns, WHOLE)
        return
    for number, row in enumerate(predictions):
        yield from _row(row, columns, WHOLE + step(number))


def _row(row: Any, columns: Sequence[Mapping[str, Any]], place: str) -> Iterator[str]:
    if isinstance(row, dict) and not _whole(columns):
        for column, name in zip(columns, _names(columns, row), strict=True):
            if name in row:
                yield from _value(row[name], column, place + step(name))
            else:
                yield from _missing(place, column, row)
    elif isinstance(row, list) and (len(columns) > 1 or columns[0]["type"] != "array"):
        if len(row) != len(columns):
            yield f"{place} has {len(row)} values, and the signature {len(columns)} columns"
        for number, (value, column) in enumerate(zip(row, columns, strict=False)):
            yield from _value(value, column, place + step(number))
    elif len(columns) > 1:
        yield f"{place} is {shown(row)}, and the signature has {len(columns)} columns"
    else:
        yield from _value(row, columns[0], place)


def _whole(columns: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an object is one value, and not a row."""
    return len(columns) == 1 and "name" not in columns[0] and columns[0]["type"] in ("object", "map")


def _names(columns: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> list[str]:
    """The columns' names; of those without one, as of a Series, the row's own."""
    own = [*row, *("" for _ in columns)]
    return [str(column.get("name", own[number])) for number, column in enumerate(columns)]


def _missing(place: str, column: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[str]:
    if _required(column):
        names = ", ".join(map(shown, list(there)[:5])) or "nothing"
        yield f"{place} has no {shown(column.get('name', 'column'))}, which the signature names, but {names}"


def _required(column: Mapping[str, Any]) -> bool:
    return bool(column.get("required", not column.get("optional", False)))  # the latter before MLflow 2.10


def _value(value: Any, kind: Mapping[str, Any], place: str) -> Iterator[str]:
    """`kind`: a column, or a part of one: MLflow's types.schema."""
    name = str(kind["type"])
    if value is None:
        return
    if name == "array":
        if not isinstance(value, list):
            yield _wrong(place, value, "a list")
            return
        for number, each in enumerate(value):
            yield from _value(each, kind["items"], place + step(number))
    elif name in ("object", "map"):
        if not isinstance(value, dict):
            yield _wrong(place, value, "an object")
            return
        inside = kind["properties"] if name == "object" else dict.fromkeys(value, kind["values"])
        for key, each in inside.items():
            if key in value:
                yield from _value(value[key], each, place + step(key))
            else:
                yield from _missing(place, {"name": key, **each}, value)
    elif not _is(value, name):
        yield _wrong(place, value, name)


def _is(value: Any, name: str) -> bool:
    """Whether a value of JSON may stand for one of MLflow's data types; types that are not known take all."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "boolean":
        return isinstance(value, bool)
    if name in _NUMBERS:
        # NaN is how pandas writes a missing integer.
        return number and (isinstance(value, int) or value.is_integer() or value != value)  # noqa: PLR0124
    if name in _FLOATS:
        return number
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "datetime":
        return number or (isinstance(value, str) and _is_date(value))
    return True


def _is_date(text: str) -> bool:
    try:
        # numpy writes nanoseconds, which Python's own dates do not have.
        dates.datetime.fromisoformat(text[:26] if "." in text else text)
    except ValueError:
        return text == "NaT"
    return True


def _wrong(place: str, value: Any, wanted: str) -> str:
    return f"{place} is {shown(value)}, and the signature says {wanted}"


def _tensors(predictions: Any, specs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if "name" not in specs[0]:
        yield from _tensor(_plain(predictions), specs[0]["tensor-spec"], WHOLE)
        return
    rows = predictions if isinstance(predictions, list) else []
    for spec in specs:
        name = str(spec["name"])
        if isinstance(predictions, dict):
            if name in predictions:
                yield from _tensor(predictions[name], spec["tensor-spec"], WHOLE + step(name))
            else:
                yield from _missing(WHOLE, spec, predictions)
        elif rows and all(isinstance(row, dict) and name in row for row in rows):
            yield from _tensor([row[name] for row in rows], spec["tensor-spec"], f"{WHOLE}[…]{step(name)}")
        elif len(specs) == 1:
            yield from _tensor(_plain(predictions), spec["tensor-spec"], WHOLE)
        else:
            yield f"{WHOLE} is {shown(predictions)}, and the signature names {len(specs)} tensors"


def _plain(predictions: Any) -> Any:
    """The values of a data frame alone."""
    if isinstance(predictions, dict) and len(predictions) == 1:
        return next(iter(predictions.values()))
    if isinstance(predictions, list) and predictions and all(isinstance(row, dict) for row in predictions):
        return [list(row.values()) for row in predictions]
    return predictions


def _tensor(value: Any, spec: Mapping[str, Any], place: str) -> Iterator[str]:
    wanted, kind = [int(size) for size in spec["shape"]], str(spec["dtype"])
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    if 0 in shape:
        return
    have = shape
    if len(have) != len(wanted):  # (n, 1) and (n,) are taken for each other
        have, wanted = _short(have), _short(wanted)
    if len(have) != len(wanted) or any(size not in (-1, is_) for size, is_ in zip(wanted, have, strict=True)):
        yield f"{place} has the shape {_shape(shape)}, and the signature says {_shape(wanted)}"
        return
    yield from _leaves(value, _named(kind), place, shape)


def _leaves(value: Any, kind: str, place: str, shape: Sequence[int]) -> Iterator[str]:
    if not shape:
        if value is not None and not _is(value, kind):
            yield _wrong(place, value, kind or "one value")
    elif not isinstance(value, list) or len(value) != shape[0]:
        yield f"{place} is {shown(value)}, and what stands before it is a list of {shape[0]}"
    else:
        for number, each in enumerate(value):
            yield from _leaves(each, kind, place + step(number), shape[1:])


def _named(kind: str) -> str:
    """numpy's type as one of MLflow's; empty for what anything may stand for."""
    for begin, name in (
        ("float", "double"),
        ("int", "long"),
        ("uint", "long"),
        ("bool", "boolean"),
        ("str", "string"),
    ):
        if kind.startswith(begin):
            return name
    return "string" if kind.startswith(("<U", "bytes")) else ""  # object, datetime64 …


def _short(shape: Sequence[int]) -> list[int]:
    short = list(shape)
    while len(short) > 1 and short[-1] == 1:
        short.pop()
    return short or [1]


def _shape(shape: Sequence[int]) -> str:
    return f"({', '.join('any' if size < 0 else str(size) for size in shape)})"
