"""Answers of models beside the schemas of MLflow and beside recorded answers, as plain data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.checks import conforming
from publisher.checks.values import difference

NAMED = [{"name": "a", "type": "double"}, {"name": "b", "type": "string", "required": False}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def tensor(dtype: str, *shape: int, **name: str) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": list(shape)}, **name}


def column(kind: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": kind, **more}]


@pytest.mark.parametrize(
    ("predictions", "schema"),
    [
        ([{"a": 1, "b": "x", "more": 3}, {"a": None}], NAMED),
        ([[1.5, "x"]], NAMED),
        ({"a": [1, 2], "b": ["x", "y"]}, NAMED),
        ([{"0": 1.0}], column("double")),
        ([[1.0], [2.0]], column("double")),
        (1.0, column("double")),
        ([2.0, float("nan"), 3], column("long")),
        ([True, None], column("boolean")),
        (["2026-01-02T03:04:05.123456789", "2026-01-02", "NaT", 1767225600], column("datetime")),
        ([[1, 2], []], column("array", items={"type": "long"})),
        ({"x": {"y": 1}}, column("map", values={"type": "map", "values": {"type": "long"}})),
        (
            [{"x": 1}],
            column("object", properties={"x": {"type": "long"}, "y": {"type": "long", "required": False}}),
        ),
        (["anything", 1], column("any")),
        ([1.5, 2.5], [tensor("float64", -1)]),
        ([[1.5], [2.5]], [tensor("float64", -1)]),
        ([1, 2], [tensor("float32", -1, 1)]),
        ([{"p": 0.5, "q": 0.5}], [tensor("float64", -1, 2)]),
        ([], [tensor("float64", -1, 2)]),
        ({"y": [[1]], "z": [1]}, [tensor("int64", -1, 1, name="y"), tensor("int64", 1, name="z")]),
        ([[1]], [tensor("int64", -1, 1, name="y")]),
        (["a"], [tensor("<U3", -1)]),
        ([{"x": 1}], [tensor("object", -1, -1)]),
        ([1, "x"], []),
    ],
)
def test_what_a_schema_allows(predictions: Any, schema: Any) -> None:
    assert conforming.fault(predictions, json.dumps(schema)) == ""


@pytest.mark.parametrize(
    ("predictions", "schema", "said"),
    [
        ([{"b": "x"}], NAMED, "predictions[0] has no 'a', which the signature names, but 'b'"),
        ([{"a": 1}, {"a": "1"}], NAMED, "predictions[1]['a'] is '1', and the signature says double"),
        ([[1.5]], NAMED, "predictions[0] has 1 values, and the signature 2 columns"),
        ([1.5], NAMED, "predictions[0] is 1.5, and the signature has 2 columns"),
        ({"a": [1, "x"], "b": []}, NAMED, "predictions['a'][1] is 'x'"),
        ([True], column("long"), "predictions[0] is True, and the signature says long"),
        ([1], column("boolean"), "is 1, and the signature says boolean"),
        ([1], column("string"), "is 1, and the signature says string"),
        (["yesterday"], column("datetime"), "is 'yesterday', and the signature says datetime"),
        ([[1, "x"]], column("array", items={"type": "long"}), "predictions[0][1] is 'x'"),
        (
            [[1, 2], [3]],
            [tensor("int64", -1, 2)],
            "predictions[1] is a list of 1, and what stands before it is a list",
        ),
        (
            [[[1]]],
            [tensor("int64", -1, -1, 2)],
            "has the shape (1, 1, 1), and the signature says (any, any, 2)",
        ),
        ({"y": [1]}, [tensor("int64", 1, name="y"), tensor("int64", 1, name="z")], "has no 'z'"),
        (
            [1],
            [tensor("int64", 1, name="y"), tensor("int64", 1, name="z")],
            "and the signature names 2 tensors",
        ),
        (None, column("any"), "predictions is null"),
    ],
)
def test_what_it_does_not(predictions: Any, schema: Any, said: str) -> None:
    assert said in conforming.fault(predictions, json.dumps(schema))


@given(JSON, JSON)
def test_any_answer_and_any_schema(predictions: Any, schema: Any) -> None:
    """Whatever a model says of itself: a verdict, or a ValueError that says what is wrong with the schema."""
    for each in (
        schema,
        [schema],
        [{"type": "tensor", "tensor-spec": schema}],
        [{"type": schema, "name": "x"}],
    ):
        try:
            told = conforming.fault(predictions, json.dumps(each))
        except ValueError:
            continue
        assert isinstance(told, str)


@pytest.mark.parametrize(
    ("got", "wanted", "said"),
    [
        ([1.0, 2], [1.000001, 2.0], ""),
        ([0.0], [1e-9], ""),
        ([None], [float("nan")], ""),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, ""),
        ([1.0], [1.001], "p[0] is 1.0, and 1.001 is recorded"),
        ([1], [2], "p[0] is 1, and 2 is recorded"),
        ([1], [True], "p[0] is 1, and True is recorded"),
        ([1], ["1"], "p[0] is 1, and '1' is recorded"),
        ([10**400], [1.5], "is recorded"),
        (["2026-01-02T00:00:00"], ["2026-01-02"], "is recorded"),
        ([1, 2], [2, 1], "p[0] is 1"),
        ([1, 2], [1], "p has 2 values, and 1 are recorded"),
        ([{"a": 1}], [{"b": 1}], "p[0] has no 'b', and one is recorded"),
        ([{"a": 1, "b": 2}], [{"a": 1}], "p[0] has 'b', and none is recorded"),
        ([None], [0.0], "p[0] is null, and 0.0 is recorded"),
        (["x" * 500], ["y"], "…, and 'y' is recorded"),
    ],
)
def test_answers_beside_recorded_ones(got: Any, wanted: Any, said: str) -> None:
    told = difference(got, wanted, "p")
    assert said in told
    assert bool(said) == bool(told)


@given(JSON)
def test_an_answer_is_equal_to_itself(answer: Any) -> None:
    assert difference(answer, json.loads(json.dumps(answer)), "p") == ""
