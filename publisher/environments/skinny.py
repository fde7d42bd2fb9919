"""mlflow-skinny in mlflow's place: what serves models without what tracks and shows them.

What else mlflow would have brought (pyarrow, matplotlib, sqlalchemy …) is then there only where the model asks for it
itself. All that stays has the version that it has beside the whole mlflow, so that predictions are the same; whether
anything is missing, a prediction shows.
"""

from __future__ import annotations

from dataclasses import replace

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from publisher.domain import Environment, Lock, Wheel

WHOLE, SKINNY = "mlflow", "mlflow-skinny"
# mlflow-skinny can do without these, and its scoring server cannot ...
_SERVING = ("numpy", "pandas")
# ... nor, before it was one of FastAPI's, without Flask. FastAPI is a requirement of mlflow-skinny's own.
_FASTAPI_SINCE, _FLASK = Version("2.21"), "flask"


def why_whole(environment: Environment) -> str:
    """Why the mlflow of an environment must stay what it is; empty where it need not."""
    asked = [each for each in map(Requirement, environment.requirements) if _is_mlflow(each)]
    reasons = (
        environment.conda and "conda makes the environment as its file says",
        environment.lock and f"what {environment.lock.name} of the model locks is installed as it is",
        environment.hashes and f"{environment.origin} pins hashes, which another package has not",
        not asked and "another package requires it",
        any(each.url for each in asked) and "it comes from a place of its own",
        any(each.extras for each in asked) and "an extra of it is asked for",
    )
    return str(next(filter(None, reasons), ""))


def skinny(environment: Environment, lock: Lock) -> Environment:
    """The environment with mlflow-skinny, for the platform of `lock`. Without the whole mlflow it stays as it is."""
    mlflow = mlflow_of(lock)
    if mlflow is None:
        return environment
    there = {wheel.name for wheel in lock.wheels}
    needed = (*_SERVING, *((_FLASK,) if Version(mlflow.version) < _FASTAPI_SINCE else ()))
    lines = {name for name in needed if name in there}
    for line in environment.requirements:
        requirement = Requirement(line)
        if _is_mlflow(requirement):
            requirement.name, requirement.specifier = SKINNY, SpecifierSet(f"=={mlflow.version}")
            lines.add(str(requirement))
        elif line != "pip":  # which is there for `pip list`
            lines.add(line)
    pins = (f"{wheel.name}=={wheel.version}" for wheel in lock.wheels if wheel.name != WHOLE)
    return replace(
        environment,
        requirements=tuple(sorted(lines)),
        constraints=tuple(sorted({*environment.constraints, *pins})),
    )


def mlflow_of(lock: Lock) -> Wheel | None:
    """The whole mlflow in a lock, where it has that."""
    return next((wheel for wheel in lock.wheels if wheel.name == WHOLE), None)


def _is_mlflow(requirement: Requirement) -> bool:
    return canonicalize_name(requirement.name) == WHOLE
