"""What a model asks for, as it is read from its own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from publisher.environments.read import read
from publisher.errors import RequirementsError

MLMODEL = "flavors:\n  python_function:\n    python_version: 3.11.9\nmlflow_version: 3.1.0\n"
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10.4\n- pip<=24\n- pip:\n  - mlflow==3.1.0\n  - numpy\n"
PYTHON_ENV = "python: 3.12.1\nbuild_dependencies:\n- pip==23\ndependencies:\n- -r requirements.txt\n"


def model(folder: Path, **files: str) -> Path:
    for name, text in {"MLmodel": MLMODEL, **files}.items():
        (folder / name.replace("_txt", ".txt").replace("_yaml", ".yaml")).write_text(text)
    return folder


def test_requirements_win_over_conda(tmp_path: Path) -> None:
    """Packages are requirements.txt's; Python is python_env.yaml's; pip is always there."""
    found = read(
        model(
            tmp_path, requirements_txt="mlflow==3.1.0\npandas\n", conda_yaml=CONDA, python_env_yaml=PYTHON_ENV
        )
    )
    assert found.requirements == ("mlflow==3.1.0", "pandas", "pip")
    assert (found.python, found.origin) == ("3.12.1", "requirements.txt")


def test_conda_serves_where_there_is_nothing_else(tmp_path: Path) -> None:
    """Without requirements.txt, conda.yaml gives its pip list and its Python."""
    found = read(model(tmp_path, conda_yaml=CONDA))
    assert (found.requirements, found.python) == (("mlflow==3.1.0", "numpy", "pip"), "3.10.4")


def test_python_env_may_include_requirements(tmp_path: Path) -> None:
    """`-r` and `-c` of files beside it are followed; comments, markers and continued lines are understood."""
    text = "numpy>=1.26 \\\n  ,<3 # why\nmlflow\ncolorama; sys_platform == 'win32'\n-c constraints.txt\n"
    found = read(
        model(tmp_path, python_env_yaml=PYTHON_ENV, requirements_txt=text, constraints_txt="numpy==2.0.0\n")
    )
    assert "numpy<3,>=1.26" in found.requirements
    assert found.constraints == ("numpy==2.0.0",)


def test_mlflow_is_added_to_serve(tmp_path: Path) -> None:
    """A model whose list forgets MLflow is served by the version that saved it; a client brings its own."""
    folder = model(tmp_path, requirements_txt="numpy\n")
    assert "mlflow==3.1.0" in read(folder).requirements
    assert not any("mlflow" in line for line in read(folder, serve=False).requirements)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"requirements_txt": "numpy==\n"}, "line 1: 'numpy==' is not a requirement"),
        ({"requirements_txt": "ok\n\n%%nonsense%%\n"}, "line 3"),
        ({"requirements_txt": "--index-url https://user:secret@evil/\n"}, "options such as '--index-url"),
        ({"requirements_txt": "-e .\n"}, "options such as '-e'"),
        ({"requirements_txt": "-r ../../etc/passwd\n"}, "is not a file of the model's folder"),
        ({"requirements_txt": "-r missing.txt\n"}, "missing.txt is named but is not"),
        ({"requirements_txt": "-r requirements.txt\n"}, "include each other"),
        ({"requirements_txt": "x @ https://evil.example/x.whl\n"}, "comes from a URL"),
        ({"conda_yaml": "dependencies: [python=3.11, cudatoolkit=11.4]\n"}, "cudatoolkit=11.4"),
        ({"conda_yaml": "[1, 2]\n"}, "conda.yaml holds a list"),
        ({"conda_yaml": "a: [b\n"}, "conda.yaml is not YAML"),
        ({"conda_yaml": "dependencies:\n- pip:\n  - 3\n"}, "is not a list of strings"),
        ({}, "no requirements.txt, conda.yaml or python_env.yaml"),
    ],
)
def test_bad_files_are_told(tmp_path: Path, files: dict[str, str], told: str) -> None:
    """Each broken file ends in one line that names the file and what is wrong with it."""
    with pytest.raises(RequirementsError) as caught:
        read(model(tmp_path, **files))
    assert told in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in caught.value.line
