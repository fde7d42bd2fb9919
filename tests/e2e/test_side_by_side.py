"""Several versions in one poll: their common work is done once, and each comes to its own end."""

from __future__ import annotations

import pytest

from publisher.errors import SOME_FAILED
from tests import small
from tests.e2e.conftest import NewWorkplace
from tests.e2e.published import outcomes, published
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]


def test_what_versions_share_is_fetched_once_and_a_failing_one_stops_none(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace
) -> None:
    """Three models with one environment, one with half of it, one that cannot be locked: all at once."""
    both, half = "markupsafe==3.0.2\nclick==8.1.8", "click==8.1.8"
    good = [
        small.register(mlflow_server, f"beside-{name}", "BESIDE", requirements=requirements)
        for name, requirements in (("a", both), ("b", both), ("c", both), ("d", half))
    ]
    bad = small.register(mlflow_server, "beside-bad", "BESIDE", requirements="click==0.0.1")
    place = new_workplace(fresh=True, BESIDE=f"{registry.host}/beside")
    done = place.publisher("--parallel", "5", "--memory", "1GB", "poll", "--json", expect=SOME_FAILED)
    found = outcomes(done.stdout)
    assert found[f"{bad.name}/{bad.version}"]["state"] == "failed"
    for model in good:
        published(mlflow_server, model, "BESIDE").index()
    wheels = list((place.folder / "own-cache" / "wheels").glob("*.whl"))
    assert sum(each["downloaded"] for each in found.values()) == sum(w.stat().st_size for w in wheels)
    layers = [set(published(mlflow_server, m, "BESIDE").layers("linux/amd64")) for m in good[:3]]
    assert len(layers[0] ^ layers[1]) <= 2  # their models' own
    assert not list((place.folder / "own-cache" / "turns").iterdir())
