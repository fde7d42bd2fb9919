"""Real images, built with a real environment, whose model is asked by the image's own Python, shut in."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas
import pytest

from publisher import runtime
from publisher.builders.bases import Bases
from publisher.builders.layers.build import LayerBuilder
from publisher.builders.layers.cache import Cache
from publisher.checks.enclosure import Way
from publisher.checks.own_python import Roots
from publisher.checks.prediction import prediction
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from publisher.domain import Environment, FileSet, ImageSpec, SourceFile
from publisher.environments.lock import Resolver
from publisher.oci.credentials import Credentials
from publisher.oci.images import Images
from publisher.oci.layout import Layout
from publisher.oci.registry import Registries
from publisher.progress import Report, Silent
from tests.checks.conftest import AMD64
from tests.checks.images import image, layer
from tests.checks.replaying import recorded, save
from tests.checks.test_real_images import over
from tests.models import pins

pytestmark = pytest.mark.engine("mmdebstrap")
ROWS = pandas.DataFrame({"length": [1.0, 2.5], "width": [0.5, 4.0]})
SUM = "return model_input.sum(axis=1).tolist()"
Look = Callable[..., Verdict]


@pytest.fixture(scope="module")
def served(base_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """An image for this machine with MLflow and pandas that serves /app/model, which is not there yet."""
    folder = tmp_path_factory.mktemp("served")
    images = Images(Registries(Credentials()))
    cache, bases = Cache(folder / "cache"), Bases(images, folder / "cache")
    base = bases.resolve(f"oci:{base_layout}", [AMD64], [])
    environment = Environment(tuple(pins("mlflow-skinny", "pandas")), base.python)
    resolver = Resolver.load(folder / "cache", dict(os.environ))
    serve = Path(runtime.__file__).with_name("serve.py")
    spec = ImageSpec(
        base=base,
        locks={AMD64: resolver.lock(environment, AMD64, base, registered=None)},
        files=(
            FileSet(
                "runtime", serve.parent, "/opt/publisher", (SourceFile("serve.py", serve.stat().st_size),)
            ),
        ),
        entrypoint=("python",),
        command=("/opt/publisher/serve.py", "/app/model"),
        environment=(("HOME", "/tmp"),),
        labels=(),
        created=datetime(2026, 1, 2, tzinfo=UTC),
        user="10001:10001",
        workdir="/app",
        bytecode=True,
    )
    (folder / "work").mkdir()
    builder = LayerBuilder(images, bases, cache)
    return builder.build(spec, folder / "work", [cache], Report(Silent(), "test"), lambda *_: None).layout


@pytest.fixture(scope="module")
def look(served: Layout, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """The verdict on that image with a model whose `predict` is `body`."""
    folder = tmp_path_factory.mktemp("looked")
    surveys = Surveys(folder / "cache")

    def looked(body: str, *, seconds: float = 120, way: Way | None = None, **files: str) -> Verdict:
        model = save(folder / f"model{len(list(folder.iterdir()))}", body, ROWS, [1.5], **files)
        paths = [path for path in model.rglob("*") if path.is_file()]
        image = over(
            served, AMD64, {f"app/model/{path.relative_to(model)}": path.read_bytes() for path in paths}
        )
        roots = Roots(folder / "cache", surveys, way)
        return prediction(image, AMD64, image.top.digest, roots, surveys, seconds=seconds)

    return looked


def test_the_model_answers_in_its_image(look: Look) -> None:
    """By the image's own server, as recorded, and the status says how it was isolated."""
    verdict = look(SUM, **recorded([1.5, 6.5]))
    assert verdict.state == "ok", verdict
    assert "as its signature says, and as recorded; isolation: " in verdict.reason


@pytest.mark.parametrize("way", ["chroot", "landlock"])
def test_where_no_namespaces_are_allowed(look: Look, way: Way) -> None:
    """What those ways refuse is nothing that MLflow's server and pandas need."""
    if way == "chroot" and os.geteuid():
        pytest.skip("only root may change its root")
    verdict = look(SUM, way=way, **recorded([1.5, 6.5]))
    assert verdict.state == "ok", verdict


def test_another_answer_than_was_recorded_is_refused(look: Look) -> None:
    """With the first place that differs."""
    verdict = look(SUM, **recorded([1.5, 6.6]))
    assert verdict.state == "failed"
    assert "predictions[1] is 6.5, and 6.6 is recorded" in verdict.reason


def test_a_package_that_the_image_lacks(look: Look) -> None:
    """What the machine that looks has installed is no help to an image that has not."""
    import sklearn  # noqa: PLC0415, F401 - here it is

    verdict = look("import sklearn")
    assert "fails on its own input example: ModuleNotFoundError: No module named 'sklearn'" in verdict.reason
    assert "the package that has sklearn in the model's requirements" in verdict.findings[0].remedy


@pytest.mark.parametrize(
    ("body", "seconds", "said"),
    [
        ("import ctypes; ctypes.string_at(1)", 120, "crashed on its input example (SIGSEGV)"),
        ("import time; time.sleep(999)", 15, "gave no answer within 15 s"),
        ("big = [bytearray(1 << 30) for _ in range(500)]", 120, "memory"),
        ("while True: print('word=hunter2' * 90_000)", 120, "printed more than a check reads"),
    ],
)
def test_models_that_end_otherwise(look: Look, body: str, seconds: float, said: str) -> None:
    """A crash, one that hangs, takes all memory, prints for ever: told as what it is."""
    verdict = look(body, seconds=seconds)
    assert verdict.state == "failed"
    assert said.lower() in verdict.reason.lower(), verdict


def test_what_a_model_prints_is_nobodys(look: Look, caplog: pytest.LogCaptureFixture) -> None:
    """None of it is in the verdict, and little in the log."""
    caplog.set_level("DEBUG", "publisher")
    verdict = look("print('pass' + 'word=hunter2' * 500_000, flush=True)\n" + SUM, **recorded([1.5, 6.5]))
    assert verdict.state == "ok", verdict
    assert "hunter2" not in str(verdict)
    assert "hunter2" in caplog.text
    assert len(caplog.text) < 50_000


def test_images_without_a_python() -> None:
    """They cannot be asked, and that is said."""
    empty = image([layer({"app/model/MLmodel": b"{}", "app/model/serving_input_example.json": b"{}"})])
    verdict = prediction(empty, AMD64, empty.top.digest, Roots(), Surveys())
    assert (verdict.state, verdict.reason) == ("not looked at", "the image has no Python that could be run")
