"""requirements.txt, conda.yaml and python_env.yaml of a model folder, read into one Environment.

The rule, also in docs/environments.md: the packages are those of requirements.txt; without one, conda.yaml's
pip list; without that, python_env.yaml's dependencies. The Python version is python_env.yaml's, then
conda.yaml's, then MLmodel's. pip itself is always there, so that `pip list` works in the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from publisher.domain import Environment
from publisher.environments import documents
from publisher.errors import RequirementsError

_LIMIT = 1 << 20  # bytes of a file that people write by hand
_DEPTH = 5  # requirement files that include each other


def read(model: Path, *, serve: bool = True) -> Environment:
    """The environment of the model in folder `model`.

    With `serve`, MLflow itself is added where the model's own list forgets it, at the version that saved the
    model, since serving needs it. Raises RequirementsError, which names the file and what is wrong.
    """
    mlmodel = _mapping(model / "MLmodel")
    conda = _mapping(model / "conda.yaml")
    python_env = _mapping(model / "python_env.yaml")
    constraints: list[str] = []
    if (model / "requirements.txt").is_file():
        origin, lines = "requirements.txt", list(_lines(model, "requirements.txt", constraints))
    elif conda:
        origin, lines = "conda.yaml", list(_from_list(model, "conda.yaml", _conda_pip(conda), constraints))
    elif python_env:
        listed = _strings(python_env, "dependencies", "python_env.yaml")
        origin, lines = "python_env.yaml", list(_from_list(model, "python_env.yaml", listed, constraints))
    else:
        raise RequirementsError(
            "the model has no requirements.txt, conda.yaml or python_env.yaml",
            hint="Log it with MLflow's log_model(), which writes them.",
        )
    _refuse_conda_packages(conda)
    names = {canonicalize_name(Requirement(line).name) for line in lines}
    if serve and not names & {"mlflow", "mlflow-skinny"} and mlmodel.get("mlflow_version"):
        lines.append(f"mlflow=={mlmodel['mlflow_version']}")
    if "pip" not in names:
        lines.append("pip")
    return Environment(
        requirements=tuple(sorted(set(lines))),
        python=_python(mlmodel, conda, python_env),
        constraints=tuple(sorted(set(constraints))),
        origin=origin,
    )


def _lines(folder: Path, name: str, constraints: list[str], depth: int = 0) -> Iterator[str]:
    """The requirements of a file, one normalised line each; what it includes with -r and -c too."""
    if depth > _DEPTH:
        raise RequirementsError(f"{name}: requirement files include each other more than {_DEPTH} deep")
    text = _text(folder / name)
    if text is None:
        raise RequirementsError(f"{name} is named but is not in the model's folder")
    joined = re.sub(r"\\\r?\n", " ", text)
    yield from _from_list(folder, name, joined.splitlines(), constraints, depth)


def _from_list(
    folder: Path, name: str, lines: list[str], constraints: list[str], depth: int = 0
) -> Iterator[str]:
    for number, raw in enumerate(lines, 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        option = re.fullmatch(r"(-r|--requirement|-c|--constraint)[\s=]*(\S+)", line)
        if option:
            included = option[2]
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", included):
                raise RequirementsError(
                    f"{name}, line {number}: {included!r} is not a file of the model's folder"
                )
            found = _lines(folder, included, constraints, depth + 1)
            if option[1] in ("-r", "--requirement"):
                yield from found
            else:
                constraints.extend(found)
            continue
        if line.startswith("-"):
            raise RequirementsError(
                f"{name}, line {number}: options such as {line.split()[0]!r} are not taken from a model",
                hint="Set the package index with UV_INDEX_URL where publisher runs.",
            )
        yield _requirement(name, number, line)


def _requirement(name: str, number: int, line: str) -> str:
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise RequirementsError(
            f"{name}, line {number}: {line[:100]!r} is not a requirement: {reason}",
            hint="Write it like scikit-learn==1.5.2 and register a new version.",
        ) from error
    if requirement.url:
        raise RequirementsError(
            f"{name}, line {number}: {requirement.name} comes from a URL, which is not in any package index",
            hint="Put the wheel into an index that publisher reaches and name its version.",
        )
    text = str(requirement)
    # Strings of markers are read as Python reads them: an escaped line break would be a line of its own where
    # requirements are written one a line, and name a package index there.
    if not text.isprintable():
        raise RequirementsError(f"{name}, line {number}: {line[:100]!r} holds control characters")
    return text


def _conda_pip(conda: dict[str, Any]) -> list[str]:
    for entry in conda.get("dependencies") or []:
        if isinstance(entry, dict) and "pip" in entry:
            return _strings(entry, "pip", "conda.yaml")
    return []


def _refuse_conda_packages(conda: dict[str, Any]) -> None:
    entries = conda.get("dependencies") or []
    if not isinstance(entries, list):
        raise RequirementsError("conda.yaml: dependencies is not a list")
    own = [
        str(e) for e in entries if not isinstance(e, dict) and _conda_name(str(e)) not in ("python", "pip")
    ]
    if own:
        raise RequirementsError(
            f"conda.yaml asks for conda packages, which are not in a package index of wheels: {', '.join(own[:8])}",
            hint="List them under pip: in conda.yaml and register a new version.",
        )


def _python(mlmodel: dict[str, Any], conda: dict[str, Any], python_env: dict[str, Any]) -> str | None:
    candidates = [str(python_env.get("python") or "")]
    for entry in conda.get("dependencies") or []:
        if isinstance(entry, str) and _conda_name(entry) == "python":
            candidates.append(re.sub(r"^[^0-9]*", "", entry.rpartition("::")[2][len("python") :]))
    flavor = (mlmodel.get("flavors") or {}).get("python_function") or {}
    candidates.append(str(flavor.get("python_version") or ""))
    for text in candidates:
        if match := re.match(r"3\.\d+(\.\d+)?(?![\w.]*\*)", text):
            return match[0]
    return None


def _conda_name(entry: str) -> str:
    return re.split(r"[=<>!~ \[]", entry.rpartition("::")[2].strip(), maxsplit=1)[0].lower()


def _strings(mapping: dict[str, Any], key: str, name: str) -> list[str]:
    value = mapping.get(key) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RequirementsError(f"{name}: {key} is not a list of strings")
    return value


def _mapping(path: Path) -> dict[str, Any]:
    text = _text(path)
    if text is None:
        return {}
    try:
        data = documents.load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise RequirementsError(
            f"{path.name} is not YAML that can be used: {' '.join(str(error).split())[:200]}"
        ) from error
    if not isinstance(data, dict):
        raise RequirementsError(f"{path.name} holds a {type(data).__name__} where a mapping belongs")
    return data


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _LIMIT:
            raise RequirementsError(f"{path.name} is larger than {_LIMIT >> 20} MiB")
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, OSError) as error:
        raise RequirementsError(f"{path.name} cannot be read: {error}") from error
