"""Images that do not work are refused before they are pushed, each with the file's name and what to do."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas
import pytest

from publisher.checks.surveys import Surveys
from publisher.domain import Platform
from publisher.errors import CheckError
from publisher.oci import layout as layouts
from publisher.oci import layout_folder
from publisher.oci.layout import BytesBlob, Descriptor, Layout, digest_of, encode
from tests import small, wheels
from tests.checks import elves, images
from tests.checks.replaying import recorded, save
from tests.e2e.conftest import NewWorkplace, Workplace
from tests.engines import bare_client
from tests.engines.mlflow import MlflowServer
from tests.engines.registry import RealRegistry
from tests.faults.index import serve_wheels
from tests.models import pins

pytestmark = [pytest.mark.engine("docker-registry"), pytest.mark.engine("mmdebstrap")]
ABI = f"cp{sys.version_info.major}{sys.version_info.minor}"
SUFFIX = f"cpython-{sys.version_info.major}{sys.version_info.minor}"
AMD64 = f"{ABI}-{ABI}-manylinux_2_17_x86_64"
ARM64 = f"{ABI}-{ABI}-manylinux_2_17_aarch64"
PLAIN = {"needed": ["libc.so.6"], "wants": {"libc.so.6": ["GLIBC_2.17"]}}
NEWER = {"needed": ["libc.so.6"], "wants": {"libc.so.6": ["GLIBC_2.17", "GLIBC_2.99"]}}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Wheels with machine code, good and bad, by their tags for both platforms."""
    folder = tmp_path_factory.mktemp("wheels")
    wheels.make(folder, "pip", {"pip/__init__.py": b""})
    wheels.make(folder, "well", _module("well", "amd64", PLAIN), tag=AMD64)
    wheels.make(folder, "well", _module("well", "arm64", PLAIN), tag=ARM64)
    wheels.make(folder, "swapped", _module("swapped", "amd64", PLAIN), tag=AMD64)
    wheels.make(folder, "swapped", _module("swapped", "amd64", PLAIN), tag=ARM64)
    wheels.make(folder, "newer", _module("newer", "amd64", NEWER), tag=AMD64)
    wheels.make(folder, "newer", _module("newer", "arm64", NEWER), tag=ARM64)
    wheels.make(folder, "plus", _module("plus", "amd64", {"needed": ["libstdc++.so.6"]}), tag=AMD64)
    with serve_wheels(folder) as url:
        yield url


def _module(name: str, architecture: str, facts: dict[str, object]) -> dict[str, bytes]:
    module = elves.make(architecture, **facts)  # type: ignore[arg-type]
    return {f"{name}/__init__.py": b"", f"{name}/_core.{SUFFIX}.so": module}


def without(base: Path, folder: Path, platform: Platform, words: str) -> None:
    """Write the image of one platform to `folder`, with one more layer in which the files with `words` are gone."""
    whole = layout_folder.read(base)
    child = dict(layouts.platforms(whole))[platform]
    surveyed = Surveys().of(whole, whole.layers(child.digest))
    paths = [entry.path for survey in surveyed for entry in survey.entries]
    gone = {_white(path): b"" for path in paths if words in path.rpartition("/")[2]}
    assert gone
    content = images.layer(gone)
    document, config = whole.json(child.digest), whole.config(child.digest)
    config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(gzip.decompress(content)).hexdigest())
    added = encode(config)
    document["config"] = Descriptor.of(layouts.CONFIG, added).json()
    document["layers"].append(Descriptor.of(layouts.LAYER_GZIP, content).json())
    manifest = encode(document)
    top = Descriptor.of(layouts.MANIFEST, manifest)
    sizes = {**whole.sizes, digest_of(content): len(content), digest_of(added): len(added)}
    blobs = {**whole.blobs, digest_of(content): BytesBlob(content), digest_of(added): BytesBlob(added)}
    layout_folder.write(Layout(top, {top.digest: manifest}, blobs, sizes), folder)


def _white(path: str) -> str:
    place, _, name = path.rpartition("/")
    return f"{place}/.wh.{name}"


@pytest.fixture(scope="module")
def place(new_workplace: NewWorkplace, registry: RealRegistry, index: str) -> Workplace:
    made = new_workplace(fresh=True, PROOF=f"{registry.host}/proof")
    return Workplace(made.folder, {"PUBLISHER_TARGETS__PROOF__INDEX": index})


@pytest.mark.parametrize(
    ("wheel", "said"),
    [
        (
            "swapped",
            (
                f"swapped/_core.{SUFFIX}.so",
                "linux/arm64",
                "is for x86-64",
                "Install the wheel of swapped 1.0",
            ),
        ),
        ("newer", (f"newer/_core.{SUFFIX}.so", "GLIBC_2.99", "libc.so.6", "newer")),
    ],
)
def test_a_wheel_that_cannot_be_loaded(
    mlflow_server: MlflowServer, registry: RealRegistry, place: Workplace, wheel: str, said: tuple[str, ...]
) -> None:
    """It is told on the version with the file and what to do; the image has no manifest in the registry."""
    version = small.register(mlflow_server, f"proof-{wheel}", "PROOF", requirements=f"{wheel}==1.0").version
    done = place.publisher("publish", f"proof-{wheel}", version, expect=CheckError.exit_code)
    tags = mlflow_server.tags(f"proof-{wheel}", version)
    assert tags["publisher.PROOF.state"] == "failed"
    for part in said:
        assert part in tags["publisher.PROOF.reason"], tags["publisher.PROOF.reason"]
    assert said[0] in done.stdout
    assert "publisher.PROOF.next_try" not in tags  # the version is at fault
    assert bare_client.manifest(registry.host, f"proof/proof-{wheel}", f"v{version}") is None


@pytest.fixture
def bare(
    new_workplace: NewWorkplace, registry: RealRegistry, index: str, base_layout: Path, tmp_path: Path
) -> Workplace:
    """A target whose base image lacks libstdc++."""
    without(base_layout, tmp_path / "base", Platform("linux", "amd64"), "libstdc++")
    made = new_workplace(fresh=True, base=f"oci:{tmp_path / 'base'}", BARE=f"{registry.host}/bare")
    variables = {"PUBLISHER_TARGETS__BARE__INDEX": index, "PUBLISHER_TARGETS__BARE__PLATFORMS": "linux/amd64"}
    return Workplace(made.folder, variables)


def test_a_base_without_libstdc(mlflow_server: MlflowServer, registry: RealRegistry, bare: Workplace) -> None:
    """The document's own Dockerfile made such an image, and it was pushed although it could not import its model."""
    version = small.register(mlflow_server, "proof-plus", "BARE", requirements="plus==1.0").version
    bare.publisher("publish", "proof-plus", version, expect=CheckError.exit_code)
    reason = mlflow_server.tags("proof-plus", version)["publisher.BARE.reason"]
    assert f"plus/_core.{SUFFIX}.so needs libstdc++.so.6, which is not in the image" in reason
    assert "libstdc++6" in reason.partition("not in the image")[2]
    assert bare_client.manifest(registry.host, "bare/proof-plus", f"v{version}") is None
    # Whoever knows better may say so, and the status tells that nothing was proven.
    off = {"PUBLISHER_TARGETS__BARE__PROOF": "off"}
    bare.publisher("publish", "proof-plus", version, environment=off)
    tags = mlflow_server.tags("proof-plus", version)
    assert tags["publisher.BARE.state"] == "published"
    assert tags["publisher.BARE.proof"] == "nothing was looked at: the target's proof is off"


def test_what_was_proven_is_told(mlflow_server: MlflowServer, place: Workplace) -> None:
    """On the version, in the results, as JSON; `publisher check` says the same and changes nothing."""
    version = small.register(mlflow_server, "proof-well", "PROOF", requirements="well==1.0").version
    checked = json.loads(place.publisher("check", "proof-well", version, "--json").stdout)["checks"][0]
    assert checked["refused"] == ""
    assert [each["platform"] for each in checked["platforms"]] == ["linux/amd64", "linux/arm64"]
    assert {each["verdicts"][0]["state"] for each in checked["platforms"]} == {"ok"}
    assert not [key for key in mlflow_server.tags("proof-well", version) if key.startswith("publisher.")]
    done = json.loads(place.publisher("publish", "proof-well", version, "--json").stdout)["outcomes"][0]
    assert done["digest"] == checked["digest"]
    binaries = [proof for proof in done["proof"] if proof["check"] == "binaries"]
    assert [(proof["platform"], proof["state"]) for proof in binaries] == [
        ("linux/amd64", "ok"),
        ("linux/arm64", "ok"),
    ]
    told = mlflow_server.tags("proof-well", version)["publisher.PROOF.proof"]
    assert told.startswith("binaries ok for linux/amd64, linux/arm64")
    (row,) = json.loads(place.publisher("status", "proof-well", version, "--json").stdout)["versions"]
    assert row["proof"] == told


def test_check_of_a_bad_one(mlflow_server: MlflowServer, place: Workplace) -> None:
    """It ends with the code of a failed check, with the finding and its file on stdout, and records nothing."""
    version = small.register(mlflow_server, "proof-only", "PROOF", requirements="swapped==1.0").version
    said = place.publisher("check", "proof-only", version, expect=CheckError.exit_code).stdout
    assert f"swapped/_core.{SUFFIX}.so" in said
    assert "Install the wheel of swapped 1.0 that is for linux/arm64" in said
    assert not [key for key in mlflow_server.tags("proof-only", version) if key.startswith("publisher.")]


def test_a_prediction_that_differs(
    mlflow_server: MlflowServer, registry: RealRegistry, new_workplace: NewWorkplace, tmp_path: Path
) -> None:
    """A model that answers otherwise than was recorded is refused, with the place that differs; corrected, it goes out."""
    rows = pandas.DataFrame({"length": [1.0, 2.5], "width": [0.5, 4.0]})
    versions = {}
    for name, answer in (("differs", [1.5, 6.6]), ("agrees", [1.5, 6.5])):
        folder = save(
            tmp_path / name, "return model_input.sum(axis=1).tolist()", rows, [1.5], **recorded(answer)
        )
        (folder / "requirements.txt").write_text("\n".join(pins("mlflow-skinny", "pandas")) + "\n")
        versions[name] = _registered(mlflow_server, f"proof-{name}", folder)
    made = new_workplace(ANSWER=f"{registry.host}/answer")
    place = Workplace(made.folder, {"PUBLISHER_TARGETS__ANSWER__PLATFORMS": "linux/amd64"})
    place.publisher("publish", "proof-differs", versions["differs"], expect=CheckError.exit_code)
    reason = mlflow_server.tags("proof-differs", versions["differs"])["publisher.ANSWER.reason"]
    assert "serving_output_example.json" in reason
    assert "predictions[1] is 6.5, and 6.6 is recorded" in reason
    assert bare_client.manifest(registry.host, "answer/proof-differs", f"v{versions['differs']}") is None
    place.publisher("publish", "proof-agrees", versions["agrees"])
    told = mlflow_server.tags("proof-agrees", versions["agrees"])["publisher.ANSWER.proof"]
    assert "prediction ok for linux/amd64 (the model answers its input example" in told
    assert "and as recorded; isolation: no network" in told


def _registered(server: MlflowServer, name: str, folder: Path) -> str:
    """A version that serves the model in `folder`."""
    client = server.client()
    run = client.create_run("0").info
    client.log_artifacts(run.run_id, str(folder), "mymodel")
    client.create_registered_model(name)
    tags = {"EXTERNAL_TARGET_ANSWER": "true"}
    return str(
        client.create_model_version(name, f"{run.artifact_uri}/mymodel", run.run_id, tags=tags).version
    )
