"""conda's own packages, under the names and versions that they have on PyPI."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from publisher.environments import conda
from publisher.environments.read import read
from publisher.errors import RequirementsError


def mapped(*entries: str) -> list[str]:
    return conda.to_pip(conda.parse({"dependencies": list(entries)}))[0]


@pytest.mark.parametrize(
    ("entry", "requirement"),
    [
        ("numpy", "numpy"),
        ("numpy=1.26.4", "numpy==1.26.4"),
        ("numpy=1.26", "numpy==1.26.*"),
        ("numpy=1.26.*", "numpy==1.26.*"),
        ("numpy==1.26", "numpy==1.26"),
        ("numpy>=1.26,<2", "numpy<2,>=1.26"),
        ("numpy >=1.26,<2", "numpy<2,>=1.26"),
        ("numpy>=1.26.*", "numpy>=1.26"),
        ("numpy 1.26.4", "numpy==1.26.4"),
        ("numpy=1.26.4=py311h64a7726_0", "numpy==1.26.4"),
        ("numpy 1.26.4 py311h64a7726_0", "numpy==1.26.4"),
        ("numpy=1.26.4=*_0", "numpy==1.26.4"),
        ("numpy[version='>=1.26,<2']", "numpy<2,>=1.26"),
        ("numpy!=1.26.1", "numpy!=1.26.1"),
        ("conda-forge::numpy=1.26.4", "numpy==1.26.4"),
        ("conda-forge/linux-64::numpy=1.26.4", "numpy==1.26.4"),
        ("pytorch::pytorch=2.1.0=py3.11_cuda11.8_cudnn8_0", "torch==2.1.0"),
        ("matplotlib-base", "matplotlib"),
        ("ray-default>=2", "ray[default]>=2"),
    ],
)
def test_specifications_are_translated(entry: str, requirement: str) -> None:
    """Channel and build string fall away; one `=` of conda is a prefix, unless all three parts are there."""
    assert mapped(entry) == [requirement]


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("cudatoolkit=11.8", "no counterpart of: cudatoolkit=11.8"),
        ("gxx_linux-64", "no counterpart of: gxx_linux-64"),
        ("libopenblas", "no counterpart of: libopenblas"),
        ("r-base=4.3", "no counterpart of: r-base=4.3"),
        ("numpy=1.25|1.26", "cannot be told as a version of numpy"),
        ("numpy=;evil", "cannot be told as a version of numpy"),
    ],
)
def test_what_has_no_counterpart_is_named(entry: str, told: str) -> None:
    """A package that PyPI lacks, and a version that PEP 440 cannot say, end in one line."""
    with pytest.raises(RequirementsError) as caught:
        mapped("numpy", entry)
    assert told in str(caught.value)


def test_parts_of_python_are_left_to_the_base_image() -> None:
    """`conda env export` lists what Python itself is built of; that is told and not installed."""
    found, notes = conda.to_pip(conda.parse({"dependencies": ["openssl=3.1=h0", "_libgcc_mutex=0.1", "six"]}))
    assert found == ["six"]
    assert notes[-1] == "left to the base image, which has its own: _libgcc_mutex, openssl"


def test_the_table_of_names_is_documented_and_well_formed() -> None:
    """Each name of the table is a requirement, and docs/environments.md has each pair."""
    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text("utf-8")
    page = " ".join(page.split())
    for name, other in conda.NAMES.items():
        assert Requirement(other)
        assert f"`{name}` → `{other}`" in page


def test_the_target_decides(tmp_path: Path) -> None:
    """Refused by default, with the setting's name; with it they are added, where requirements.txt has no own."""
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    (tmp_path / "requirements.txt").write_text("numpy==2.0.0\n")
    (tmp_path / "conda.yaml").write_text("dependencies: [python=3.11, pip, numpy=1.26.4, pytorch=2.1.0]\n")
    with pytest.raises(RequirementsError) as caught:
        read(tmp_path)
    assert 'conda = "pip"' in caught.value.line
    found = read(tmp_path, conda="pip")
    assert found.requirements == ("numpy==2.0.0", "pip", "torch==2.1.0")
    assert any("numpy==1.26.4 (taken: numpy==2.0.0)" in note for note in found.notes)


def test_conda_itself(tmp_path: Path) -> None:
    """With conda = "conda" its packages stay as they are, the pip list is read as any other, and nothing is locked."""
    (tmp_path / "MLmodel").write_text("mlflow_version: 3.1.0\n")
    (tmp_path / "conda.yaml").write_text(
        "name: mlflow-env\n"
        "channels: [conda-forge, nvidia]\n"
        "dependencies: [python=3.11.7, 'nvidia::cudatoolkit>=11.4', numpy=1.26.4=py311h64a7726_0, pip, "
        "{pip: [scikit-learn==1.5.2, 'idna # why not']}]\n"
    )
    found = read(tmp_path, conda="conda")
    assert found.conda == (
        "channels:\n- conda-forge\n- nvidia\n"
        "dependencies:\n- python=3.11.7\n- pip\n- nvidia::cudatoolkit>=11.4\n- numpy=1.26.4=py311h64a7726_0\n"
        "- pip:\n  - idna\n  - mlflow==3.1.0\n  - scikit-learn==1.5.2\n"
    )
    assert (found.python, found.origin) == ("3.11.7", "conda.yaml")
    assert "nothing is locked" in found.notes[0]
    assert "mlflow" not in read(tmp_path, conda="conda", serve=False).conda
    (tmp_path / "conda.yaml").write_text(
        "dependencies: [numpy, {pip: [--index-url https://evil.test/simple, idna]}]"
    )
    assert "evil" not in read(tmp_path, conda="conda").conda


def test_without_conda_packages_all_is_as_ever(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text("dependencies: [python=3.11, pip, {pip: [idna==3.10]}]\n")
    assert read(tmp_path, conda="conda") == read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "dependencies: [numpy, {pip: ['--trusted-host evil.example.org', idna]}]",
        "dependencies: [numpy, {pip: ['-e .']}]",
        "dependencies: [numpy, {pip: ['git+https://evil.example.org/x']}]",
        "dependencies: [numpy, {pip: ['./code/mine-1.0-py3-none-any.whl']}]",
        "channels: [--override-channels]\ndependencies: [numpy]",
        'channels: ["a\\nb"]\ndependencies: [numpy]',
        "channels: [[a]]\ndependencies: [numpy]",
        'dependencies: ["numpy\\n--yes"]',
    ],
)
def test_a_conda_yaml_for_an_image_holds_packages_alone(tmp_path: Path, text: str) -> None:
    """No option and no line break of the model's author reaches conda or pip."""
    (tmp_path / "conda.yaml").write_text(text)
    with pytest.raises(RequirementsError, match=r"conda\.yaml"):
        read(tmp_path, conda="conda")
