"""What a model asks for, as it is read from its own files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from publisher.environments.read import read
from publisher.errors import RequirementsError

MLMODEL = "flavors:\n  python_function:\n    python_version: 3.11.9\nmlflow_version: 3.1.0\n"
CONDA = "channels:\n- conda-forge\ndependencies:\n- python=3.10.4\n- pip<=24\n- pip:\n  - mlflow==3.1.0\n  - numpy\n"
PYTHON_ENV = "python: 3.12.1\nbuild_dependencies:\n- pip==23\ndependencies:\n- -r requirements.txt\n"


def model(folder: Path, **files: str) -> Path:
    for name, text in {"MLmodel": MLMODEL, **files}.items():
        path = re.sub(r"_(txt|yaml|toml|lock)$", r".\1", name)
        (folder / path).write_text(text)
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


def test_an_exact_python_goes_before_a_range(tmp_path: Path) -> None:
    """`python>=3.9` in conda.yaml names no version where MLmodel does, and `3.11.*` is Python 3.11."""
    conda = "dependencies:\n- python>=3.9\n- pip:\n  - mlflow\n"
    assert read(model(tmp_path, conda_yaml=conda)).python == "3.11.9"
    assert read(model(tmp_path, conda_yaml=conda.replace(">=3.9", "=3.12.*"))).python == "3.12"


def test_disagreements_are_told_and_decided(tmp_path: Path) -> None:
    """What two files say differently, and what one has more, is told in a line each; the rule decides."""
    conda = CONDA.replace("- numpy", "- numpy==1.25.0\n  - scipy\n  - pandas>=2")
    text = "mlflow==3.1.0\nnumpy==1.26.4\npandas==2.2.3\n"
    found = read(model(tmp_path, requirements_txt=text, conda_yaml=conda, python_env_yaml=PYTHON_ENV))
    assert found.requirements == ("mlflow==3.1.0", "numpy==1.26.4", "pandas==2.2.3", "pip")
    assert found.notes == (
        "Python 3.12.1 of python_env.yaml is taken; conda.yaml has 3.10.4, MLmodel has 3.11.9",
        "conda.yaml disagrees with requirements.txt, which is taken: numpy==1.25.0 (taken: numpy==1.26.4)",
        "conda.yaml also lists scipy, which requirements.txt does not: not installed",
    )


def test_files_that_agree_are_not_noted(tmp_path: Path) -> None:
    """MLflow's own three files, in which pip itself and patch releases differ, make no note."""
    conda = "dependencies:\n- python=3.11.7\n- pip<=24\n- pip:\n  - mlflow==3.1.0\n  - Numpy==1.26.4\n"
    python = PYTHON_ENV.replace("3.12.1", "3.11.7")
    text = "mlflow==3.1\nnumpy==1.26.4\n"
    assert read(model(tmp_path, requirements_txt=text, conda_yaml=conda, python_env_yaml=python)).notes == ()


def test_an_index_of_the_author_is_remembered_without_its_password(tmp_path: Path) -> None:
    """MLflow writes a uv project's private indexes into requirements.txt: the lock decides whether they may be."""
    text = "--extra-index-url https://me:secret@pypi.corp.example/simple\nnumpy\n"
    found = read(model(tmp_path, requirements_txt=text))
    assert found.indexes == ("https://pypi.corp.example/simple",)


def test_hashes_are_kept(tmp_path: Path) -> None:
    """What pip-compile writes after a requirement is a pin on the file, over continued lines too."""
    text = "numpy==2.0.0 \\\n  --hash=sha256:" + "a" * 64 + " \\\n  --hash=sha256:" + "b" * 64 + "\n"
    found = read(model(tmp_path, requirements_txt=text))
    assert found.hashes == {"numpy": ("a" * 64, "b" * 64)}
    assert "numpy==2.0.0" in found.requirements


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"requirements_txt": "numpy==\n"}, "line 1: 'numpy==' is not a requirement"),
        ({"requirements_txt": "ok\n\n%%nonsense%%\n"}, "line 3"),
        ({"requirements_txt": "--index-url ../secret\n"}, "needs the URL of a package index"),
        ({"requirements_txt": "--find-links https://user:secret@evil/\n"}, "options such as '--find-links'"),
        ({"requirements_txt": "numpy --config-settings=a=b\n"}, "options such as '--config-settings'"),
        ({"requirements_txt": "numpy==2.0 --hash=md5:0123\n"}, "hashes are not SHA-256"),
        ({"uv_lock": "version = 1\n"}, "uv.lock has no pyproject.toml"),
        ({"pylock_toml": "lock-version = '1.0'\n"}, "pylock.toml is no lock"),
        ({"pylock_toml": "[[[\n"}, "pylock.toml is not TOML"),
        ({"requirements_txt": "-e .\n"}, "options such as '-e'"),
        ({"requirements_txt": "-r ../../etc/passwd\n"}, "is not a file of the model's folder"),
        ({"requirements_txt": "-r missing.txt\n"}, "missing.txt is named but is not"),
        ({"requirements_txt": "-r requirements.txt\n"}, "include each other"),
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
