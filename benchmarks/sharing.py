"""A second model that shares half of its wheels with the first: what is fetched and sent of it.

The peer is the same model alone, on a machine and in a repository that know nothing.
"""

from __future__ import annotations

from typing import Any

from benchmarks.world import Workplace, World

# Beside what MLflow itself needs, which both have.
FIRST = ("mlflow-skinny", "fastapi", "uvicorn", "pandas", "scikit-learn", "sympy", "networkx", "statsmodels")
SECOND = (
    *(
        "mlflow-skinny",
        "fastapi",
        "uvicorn",
        "pandas",
        "matplotlib",
        "polars",
        "boto3",
        "pyarrow",
        "lightgbm",
    ),
    *("plotly", "xgboost-cpu", "openpyxl", "lxml", "sqlalchemy", "aiohttp", "jsonschema", "psycopg[binary]"),
)


def measure(world: World) -> dict[str, Any]:
    """Both models from one machine, then the second alone; its wheels are found in the caches."""
    here, alone = world.workplace("sharing"), world.workplace("sharing-alone")
    here.publish(world.register_requiring("sharing-first", FIRST), wait=False)
    known = _wheels(here)
    model = world.register_requiring("sharing-second", SECOND)
    second, bare = here.publish(model), alone.publish(model)
    wheels = _wheels(alone)
    own = {name: size for name, size in wheels.items() if name not in known}
    return {
        "second": second,
        "alone": bare,
        "wheels": len(wheels),
        "wheels_of_its_own": len(own),
        "bytes_of_wheels": sum(wheels.values()),
        "bytes_of_its_own": sum(own.values()),
        "ratio_downloaded": round(second["downloaded"] / sum(own.values()), 3),
        "ratio_sent": round(second["sent"] / bare["sent"], 3),
        "target": 1.0,
    }


def _wheels(here: Workplace) -> dict[str, int]:
    """Those in a machine's cache, with their sizes in bytes."""
    return {path.name: path.stat().st_size for path in (here.folder / "cache" / "wheels").glob("*.whl")}
