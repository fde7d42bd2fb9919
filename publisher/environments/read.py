"""The files of a model folder that say what it needs, read into one Environment.

The rule, also in docs/environments.md: the packages are those of pylock.toml; without one, of uv.lock; without
that, of requirements.txt; then of conda.yaml's pip list; then of python_env.yaml. What requirements.txt lists
and a lock lacks is added to it. The Python version is python_env.yaml's, then conda.yaml's, then MLmodel's, then
.python-version's. pip itself is always there, so that `pip list` works in the image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from publisher.domain import Environment
from publisher.environments import conda as condas
from publisher.environments import disagreements, files, recorded
from publisher.environments.requirements import Listed
from publisher.errors import RequirementsError


def read(
    model: Path, *, serve: bool = True, conda: Literal["refuse", "pip", "conda"] = "refuse"
) -> Environment:
    """The environment of the model in folder `model`.

    With `serve`, MLflow itself is added where the model's own list forgets it, at the version that saved the
    model, since serving needs it. `conda` is the target's setting. Raises RequirementsError, which names the
    file and what is wrong.
    """
    mlmodel = files.yaml_mapping(model / "MLmodel")
    conda_yaml = condas.parse(document := files.yaml_mapping(model / "conda.yaml"))
    python_env = files.yaml_mapping(model / "python_env.yaml")
    if conda == "conda" and conda_yaml.own:
        return _by_conda(conda_yaml, mlmodel, model, serve=serve)
    lock = recorded.find(model)
    lists = _lists(model, conda_yaml if document else None, python_env)
    if not lists and not lock:
        raise RequirementsError(
            "the model has no requirements.txt, conda.yaml or python_env.yaml",
            hint="Log it with MLflow's log_model(), which writes them.",
        )
    origin, (listed, fault) = next(iter(lists.items()), ("", (Listed(), None)))
    if fault:
        raise fault
    notes = _notes(origin, listed, {name: other for name, (other, _) in lists.items() if name != origin})
    lines = list(listed.requirements)
    if conda == "pip":
        own, said = condas.to_pip(conda_yaml)
        names = _names(lines)
        lines += [line for line in own if not _names([line]) & names]
        notes += [
            *said,
            *disagreements.packages(origin, listed.requirements, "conda.yaml's own list", own)[:1],
        ]
    else:
        condas.refuse(conda_yaml)
    if lock:
        notes += disagreements.locked(lock.name, lock.versions(), origin, lines)
    names = _names(lines) | (lock.versions().keys() if lock else set())
    if serve and not names & {"mlflow", "mlflow-skinny"} and mlmodel.get("mlflow_version"):
        lines.append(f"mlflow=={mlmodel['mlflow_version']}")
    if "pip" not in names:
        lines.append("pip")
    pythons = _pythons(mlmodel, conda_yaml.python, python_env, model)
    return Environment(
        requirements=tuple(sorted(set(lines))),
        python=next(iter(pythons.values()), None),
        constraints=tuple(sorted(set(listed.constraints))),
        origin=lock.name if lock else origin,
        files={path: model / path for path in sorted(listed.paths)},
        hashes={name: tuple(sorted(some)) for name, some in sorted(listed.hashes.items())},
        indexes=() if lock else tuple(dict.fromkeys(listed.indexes)),
        lock=lock,
        notes=(*disagreements.python(pythons), *notes),
    )


def _by_conda(conda: condas.Conda, mlmodel: dict[str, Any], model: Path, *, serve: bool) -> Environment:
    """conda.yaml alone decides, for what conda would install beside a lock or another list nobody can tell."""
    listed = Listed()
    listed.read_lines(model, "conda.yaml", conda.pip)
    if listed.paths:
        raise RequirementsError(
            f"conda.yaml: conda cannot take {min(listed.paths)} of the model's own folder",
            hint='Put the wheel into a package index, or set conda = "pip" on the target.',
        )
    names = _names(listed.requirements) | {canonicalize_name(condas.name_of(entry)) for entry in conda.own}
    version = mlmodel.get("mlflow_version")
    if serve and not names & {"mlflow", "mlflow-skinny"} and version:
        listed.read_lines(model, "MLmodel", [f"mlflow=={version}"])
    lines = sorted(set(listed.requirements))
    pythons = _pythons({}, conda.python, {}, model)
    return Environment(
        requirements=tuple(lines),
        python=next(iter(pythons.values()), None),
        origin="conda.yaml",
        notes=("conda makes the environment from conda.yaml while the image is built: nothing is locked",),
        conda=condas.for_image(conda, lines),
    )


def _lists(
    model: Path, conda: condas.Conda | None, python_env: dict[str, Any]
) -> dict[str, tuple[Listed, RequirementsError | None]]:
    """The lists of packages that there are, the one that counts first; a fault in another one is no fault."""
    found: dict[str, tuple[Listed, RequirementsError | None]] = {}

    def add(name: str, lines: tuple[str, ...] | list[str] | None) -> None:
        listed, fault = Listed(), None
        try:
            if lines is None:
                listed.read_file(model, name)
            else:
                listed.read_lines(model, name, lines)
        except RequirementsError as error:
            fault = error
        found[name] = (listed, fault)

    if (model / "requirements.txt").is_file():
        add("requirements.txt", None)
    if conda is not None:
        add("conda.yaml", conda.pip)
    if python_env:
        add("python_env.yaml", files.strings(python_env, "dependencies", "python_env.yaml"))
    return found


def _notes(origin: str, listed: Listed, others: dict[str, Listed]) -> list[str]:
    notes = []
    for name, other in others.items():
        notes += disagreements.packages(origin, listed.requirements, name, other.requirements)
    return notes


def _pythons(mlmodel: dict[str, Any], conda: str, python_env: dict[str, Any], model: Path) -> dict[str, str]:
    """The versions of Python that the files name, the one that counts first; a range is asked last."""
    flavors = mlmodel.get("flavors")
    flavor = flavors.get("python_function") if isinstance(flavors, dict) else None
    written = {
        "python_env.yaml": str(python_env.get("python") or ""),
        "conda.yaml": conda,
        "MLmodel": str(flavor.get("python_version") or "") if isinstance(flavor, dict) else "",
        ".python-version": (files.text(model / ".python-version") or "").strip().removeprefix("cpython-"),
    }
    found: dict[str, str] = {}
    ranges: dict[str, str] = {}
    for name, text in written.items():
        match = re.match(r"[^0-9]*(3\.\d+(?:\.\d+)?)(?![0-9]*\*)", text)
        if match:
            (ranges if re.search(r"[<>!~]", text) else found)[name] = match[1]
    return found or ranges


def _names(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}
