"""What the replay of a model's own input example finds, with MLflow's own server and models that people log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pandas
import pytest

from publisher.checks import replay
from publisher.checks.prediction import prediction
from publisher.checks.surveys import Surveys
from publisher.domain import Platform
from tests.checks.replaying import CLIENT, SERVES, Here, look, packed, recorded, save

ROWS = pandas.DataFrame({"length": [1.0, 2.5], "width": [0.5, 4.0]})
Save = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Save:
    def one(body: str, example: Any = ROWS, outputs: Any = None, **files: str) -> Path:
        return save(tmp_path / "model", body, example, outputs, **files)

    return one


@pytest.mark.parametrize(
    ("body", "example", "outputs"),
    [
        ("return model_input.sum(axis=1).tolist()", ROWS, [1.5, 6.5]),
        ("return model_input", ROWS, ROWS),
        ("return model_input['length']", ROWS, pandas.Series([1.0, 2.5], name="length")),
        ("return model_input['length'].rename(None)", ROWS, pandas.Series([1.0, 2.5])),
        ("return model_input.to_numpy()", ROWS, ROWS.to_numpy()),
        ("return {'y': model_input.to_numpy()}", ROWS, {"y": ROWS.to_numpy()}),
        ("return model_input * 2", numpy.ones((3, 2)), numpy.ones((3, 2))),
        ("return {'a': {'b': [1, 2]}, 'c': 'x'}", {"text": "a"}, {"a": {"b": [1, 2]}, "c": "x"}),
        ("return [{'label': 'x', 'score': 0.5}]", ["a"], [{"label": "x", "score": 0.5}]),
        ("return ['a'] * len(model_input)", ["x", "y"], ["a", "a"]),
        (
            "return model_input.assign(day=model_input['day'].dt.floor('D'))",
            pandas.DataFrame({"day": pandas.to_datetime(["2026-01-02T03:04:05.000001"])}),
            pandas.DataFrame({"day": pandas.to_datetime(["2026-01-02"])}),
        ),
    ],
)
def test_answers_that_are_as_the_signature_says(saved: Save, body: str, example: Any, outputs: Any) -> None:
    """In every form that models take and give, by the server's own reading and writing; and so where it is recorded."""
    folder = saved(body, example, outputs)
    verdict = look(folder)
    assert verdict.state == "ok", verdict
    assert (
        "as its signature says; none is recorded to compare it with; isolation: limits alone"
        in verdict.reason
    )
    told = replay.looked("server", str(folder))
    (folder / replay.RECORDED).write_text(told["answers"][0])
    verdict = look(folder)
    assert (verdict.state, "and as recorded" in verdict.reason) == ("ok", True), verdict


def test_a_signature_of_another_function(tmp_path: Path) -> None:
    """MLflow infers it from `predict`, also where the model is logged to answer by another: that is no fault of it."""
    import mlflow  # noqa: PLC0415 - takes seconds
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    model = LogisticRegression().fit(ROWS, [0, 1])
    mlflow.sklearn.save_model(
        model, str(tmp_path / "model"), input_example=ROWS, pyfunc_predict_fn="predict_proba"
    )
    verdict = look(tmp_path / "model")
    assert verdict.state == "ok", verdict
    assert (
        "by predict_proba, to which its signature, inferred from predict, does not hold it" in verdict.reason
    )


@pytest.mark.parametrize(
    ("body", "outputs", "said"),
    [
        ("return ['high', 'low']", [1.0], "predictions[0] is 'high', and the signature says double"),
        ("return [1.5, 2.5]", [1], "predictions[0] is 1.5, and the signature says long"),
        ("return model_input[['length']]", ROWS, "predictions[0] has no 'width', which the signature names"),
        ("return None", [1.0], "predictions is null, and the signature says that there is an answer"),
        (
            "return model_input.to_numpy()[:, :1]",
            ROWS.to_numpy(),
            "predictions has the shape (2, 1), and the signature says (any, 2)",
        ),
        ("return {'x': [1.0]}", {"y": numpy.ones(1)}, "predictions has no 'y'"),
    ],
)
def test_answers_that_are_not(saved: Save, body: str, outputs: Any, said: str) -> None:
    """The first place is named, what is there and what should be."""
    verdict = look(saved(body, ROWS, outputs))
    assert verdict.state == "failed"
    assert said in verdict.reason
    assert "infer_signature" in verdict.findings[0].remedy
    assert verdict.findings[0].path == "/app/model"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1.5, 6.500001], ""),
        ([1.5, 6.6], "predictions[1] is 6.5, and 6.6 is recorded"),
        ([6.5, 1.5], "predictions[0] is 1.5, and 6.5 is recorded"),
        ([1.5], "predictions has 2 values, and 1 are recorded"),
    ],
)
def test_the_recorded_answer(saved: Save, answer: Any, said: str) -> None:
    """Floats are equal nearly, rows have an order; the first difference is told, with the file and what to do."""
    verdict = look(saved("return model_input.sum(axis=1).tolist()", ROWS, [1.5], **recorded(answer)))
    assert verdict.state == ("failed" if said else "ok"), verdict
    if said:
        assert said in verdict.reason
        assert verdict.findings[0].path == f"/app/model/{replay.RECORDED}"
        # The image has another version than the model's requirements name: the likely cause.
        assert (
            "and not 1.17.0" in verdict.findings[0].remedy or "Pin the packages" in verdict.findings[0].remedy
        )


def test_other_packages_than_the_model_names_are_told(saved: Save) -> None:
    """The likely cause of another answer stands in what to do."""
    folder = saved("return [1]", ROWS, **recorded([2]))
    (folder / "requirements.txt").write_text(
        "pandas==0.1\nnumpy>=1\nsix[x]==9.9 ; python_version > '3'\n# x==1\n"
    )
    (remedy,) = [finding.remedy for finding in look(folder).findings]
    assert f"pandas {pandas.__version__} and not 0.1" in remedy
    assert "numpy" not in remedy


def test_a_model_that_answers_at_random(saved: Save) -> None:
    """It is not held to an answer that it does not give twice."""
    verdict = look(saved("import random\nreturn [random.random()]", ROWS, [0.5], **recorded([0.5])))
    assert verdict.state == "ok"
    assert "its answers differ from each other, so the recorded one says nothing" in verdict.reason


@pytest.mark.parametrize(
    ("body", "said", "remedy"),
    [
        ("raise KeyError('length')", "fails on its own input example: KeyError: 'length' (at ", "--debug"),
        ("import notthere.deep", "ModuleNotFoundError", "the package that has notthere in the model's"),
        ("return object()", "gives an answer that cannot be written as JSON: TypeError", "--debug"),
        ("raise SystemExit(3)", "fails on its own input example: SystemExit: 3", "--debug"),
        ("raise RuntimeError('a\\x1b[2J\\n' * 9999)", "RuntimeError: a [2J a [2J", "--debug"),
    ],
)
def test_a_model_that_fails(saved: Save, body: str, said: str, remedy: str) -> None:
    """The stage and the exception in one line, without control characters and cut, and what to do."""
    verdict = look(saved(body))
    assert verdict.state == "failed"
    assert said in verdict.reason
    assert remedy in verdict.findings[0].remedy
    assert len(verdict.reason) < 600
    assert verdict.reason.isprintable()


def test_secrets_of_ours_are_not_told(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that holds a credential of this process is told without it."""
    from publisher.redaction import redacted  # noqa: PLC0415

    redacted.learn("canary-7f3a9")
    verdict = look(saved("raise ValueError('token canary-7f3a9')"))
    assert "ValueError: token ***" in verdict.reason
    assert "canary" not in str(verdict)


def test_a_model_that_cannot_be_loaded(saved: Save) -> None:
    """What stands before a prediction is told as what it is."""
    folder = saved("return [1]")
    for code in folder.glob("*.py"):
        code.write_text("import package_that_is_missing\n")
    verdict = look(folder)
    assert "/app/model cannot be loaded: ModuleNotFoundError" in verdict.reason
    assert "the package that has package_that_is_missing" in verdict.findings[0].remedy


@pytest.mark.parametrize(
    ("text", "state", "said"),
    [
        ("{", "failed", "has an input example that MLflow's server does not take"),
        ('{"rows": 1}', "failed", "has an input example that MLflow's server does not take"),
        ("[" * 100_000, "failed", "has an input example that MLflow's server does not take"),
        (" " * (replay.LARGEST + 1), "not looked at", "serving_input_example.json is larger than 32 MiB"),
    ],
)
def test_examples_that_are_none(saved: Save, text: str, state: str, said: str) -> None:
    """Broken, of another form, nested without end, too large."""
    folder = saved("return [1]")
    (folder / replay.EXAMPLE).write_text(text)
    verdict = look(folder)
    assert (verdict.state, said in verdict.reason) == (state, True), verdict


@pytest.mark.parametrize(("body", "said"), [("return ['x' * 5_000_000]", "the answer is larger than 4 MiB")])
def test_answers_that_are_too_large(saved: Save, body: str, said: str) -> None:
    """They are not held in memory, and nothing is claimed of them."""
    assert look(saved(body)).reason == said


def test_models_without_an_example(saved: Save) -> None:
    """It is said what was not proven, and how it would be; nothing is run."""
    folder = saved("raise RuntimeError", None)
    verdict = look(folder)
    assert verdict.state == "not looked at"
    assert "the model has no input example: log it with input_example=…" in verdict.reason
    assert look(folder / "none").reason == "no model is in the image at /app/model"
    assert look(folder / "none", **CLIENT).reason == "no model is in the image"


@pytest.mark.parametrize(
    ("info", "data", "rows"),
    [
        ({"type": "dataframe", "pandas_orient": "split"}, {"columns": ["x"], "data": [[1], [2]]}, 2),
        ({"type": "dataframe", "pandas_orient": "values"}, {"data": [[1, 2]]}, 1),
        ({"type": "ndarray", "format": "tf-serving"}, {"inputs": [[1, 2], [3, 4], [5, 6]]}, 3),
        ({"type": "json_object"}, ["a", "b"], 2),
        (
            {"type": "dataframe", "params": "true"},
            {"inputs": {"columns": ["x"], "data": [[1]]}, "params": {}},
            1,
        ),
    ],
)
def test_examples_as_older_mlflow_writes_them(saved: Save, info: Any, data: Any, rows: int) -> None:
    """Before 2.14 there is no serving example: the request is made of the other one."""
    folder = saved(
        "return [len(model_input)]", None, **{"input_example": json.dumps(data)}, **recorded([rows])
    )
    with (folder / "MLmodel").open("a") as file:
        file.write(
            f"saved_input_example_info: {json.dumps({'artifact_path': 'input_example.json', **info})}\n"
        )
    assert "and as recorded" in look(folder).reason


def test_a_client_image(saved: Save) -> None:
    """The model alone is asked, and what the image starts is told to be unseen; MLflow need not be there at all."""
    folder = saved("return model_input.sum(axis=1).tolist()", ROWS, [1.5], **recorded([1.5, 6.5]))
    verdict = look(folder, **CLIENT)
    assert verdict.state == "ok"
    assert "and as recorded; what the image starts, python client/app.py, was not run" in verdict.reason


def test_platforms_that_do_not_run_here(saved: Save) -> None:
    """Why is said, and nothing is claimed."""
    folder = saved("return [1]")
    layout = packed(folder, **SERVES)
    arm64 = Platform("linux", "arm64")
    verdict = prediction(layout, arm64, layout.top.digest, Here(folder), Surveys())
    assert (verdict.state, verdict.reason) == ("not looked at", "programs for linux/arm64 do not run here")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os._exit(7)", "ended with 7 before it answered"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=[99]).start()\nreturn [1]",
            "the model answers its input example",
        ),
    ],
)
def test_ends_that_are_none(saved: Save, body: str, said: str) -> None:
    """A program that leaves is told so; threads that a model leaves running are not waited for."""
    assert said in look(saved(body), own=True).reason


def test_a_crash_under_emulation_proves_nothing(saved: Save) -> None:
    """Emulators crash programs that are whole."""
    folder = saved("import os; os.abort()")
    layout = packed(folder, **SERVES)
    arm64 = Platform("linux", "arm64")
    verdict = prediction(layout, arm64, layout.top.digest, Here(folder, own=True), Surveys(), emulate=True)
    assert verdict.state == "not looked at"
    assert "look at it on a machine of linux/arm64" in verdict.reason


def test_what_nothing_shuts_in_is_not_run(saved: Save, tmp_path: Path) -> None:
    """A model is code, and the process that asks it has credentials: the verdict says what is missing here."""
    folder = saved(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nreturn [1]")
    layout = packed(folder, **SERVES)
    amd64 = Platform("linux", "amd64")
    verdict = prediction(layout, amd64, layout.top.digest, Here(folder, shut_in=False), Surveys())
    assert verdict.state == "not looked at"
    assert "install bubblewrap" in verdict.reason
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("body", "state"), [("open('/app/own.csv')", "not looked at"), ("raise ValueError('x')", "failed")]
)
def test_paths_of_the_image_where_it_has_others(saved: Save, body: str, state: str) -> None:
    """A file that is missed there may lie in the image: that proves nothing. Any other fault does."""
    layout, amd64 = packed(folder := saved(body), **SERVES), Platform("linux", "amd64")
    verdict = prediction(layout, amd64, layout.top.digest, Here(folder, mapped=True), Surveys())
    assert verdict.state == state, verdict
