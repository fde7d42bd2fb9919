"""The base that publisher makes and images that it builds, whole and broken, as `publisher inspect` sees them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from publisher.checks.binaries import binaries
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from publisher.domain import Platform
from publisher.oci import layout as layouts
from publisher.oci import layout_folder
from publisher.oci.layout import MANIFEST, BytesBlob, Descriptor, Layout, digest_of, encode
from tests.checks import elves
from tests.checks.conftest import AMD64, ARM64, Build
from tests.checks.images import Files, layer, wheel
from tests.engines.bare_client import push_layout
from tests.engines.registry import RealRegistry

pytestmark = pytest.mark.engine("mmdebstrap")
BOTH = {AMD64: AMD64, ARM64: ARM64}


@pytest.fixture(scope="session")
def surveys(tmp_path_factory: pytest.TempPathFactory) -> Surveys:
    return Surveys(tmp_path_factory.mktemp("surveys"))


def verdicts(layout: Layout, surveys: Surveys) -> dict[Platform, Verdict]:
    return {
        place: binaries(layout, place, child.digest, surveys) for place, child in layouts.platforms(layout)
    }


def over(layout: Layout, platform: Platform, files: Files) -> Layout:
    """The image of one platform with one more layer."""
    child = dict(layouts.platforms(layout))[platform]
    content, document = layer(files), layout.json(child.digest)
    document["layers"].append(Descriptor.of(layouts.LAYER_GZIP, content).json())
    manifest = encode(document)
    top = Descriptor.of(MANIFEST, manifest)
    blobs = {**layout.blobs, digest_of(content): BytesBlob(content)}
    return Layout(top, {top.digest: manifest}, blobs, {**layout.sizes, digest_of(content): len(content)})


def test_the_base_and_an_environment_are_whole(base_layout: Path, build: Build, surveys: Surveys) -> None:
    """Debian's packages for both machines, and a real wheel on them: no false alarm, and no note either."""
    for image in (layout_folder.read(base_layout), build(BOTH)):
        for verdict in verdicts(image, surveys).values():
            assert (verdict.state, verdict.notes) == ("ok", ()), verdict


def test_a_wheel_swapped_for_its_twin(build: Build, surveys: Surveys) -> None:
    """The arm64 image with the x86-64 wheel is refused; that of x86-64 is not."""
    found = verdicts(build({AMD64: AMD64, ARM64: AMD64}), surveys)
    assert found[AMD64].state == "ok"
    assert found[ARM64].state == "failed"
    assert "x86_64-linux-gnu.so is for x86-64, and the image is for linux/arm64" in found[ARM64].reason
    assert found[ARM64].findings[0].remedy == "Install the wheel of kiwisolver 1.4.8 that is for linux/arm64."


def test_a_base_without_libstdc(build: Build, surveys: Surveys) -> None:
    """The document's own Dockerfile made such an image, and it was pushed."""
    image = build(BOTH)
    manifest = dict(layouts.platforms(image))[ARM64].digest
    paths = [entry.path for each in surveys.of(image, image.layers(manifest)) for entry in each.entries]
    gone = {path.replace("libstdc++", ".wh.libstdc++"): b"" for path in paths if "/libstdc++.so" in path}
    (verdict,) = verdicts(over(image, ARM64, gone), surveys).values()
    (found,) = verdict.findings
    assert "/kiwisolver/_cext.cpython-3" in found.path
    assert found.text == "needs libstdc++.so.6, which is not in the image"
    assert "--include libstdc++6" in found.remedy


def test_a_wheel_for_a_newer_glibc(base_layout: Path, surveys: Surveys) -> None:
    """Beyond what the real base's C library has."""
    module = elves.make("arm64", needed=["libc.so.6"], wants={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.99"]})
    image = over(layout_folder.read(base_layout), ARM64, wheel("new", {"new/_n.so": module}))
    (verdict,) = verdicts(image, surveys).values()
    assert "needs GLIBC_2.99 of libc.so.6, and the image has it up to GLIBC_2." in verdict.reason
    assert verdict.findings[0].layer == image.layers(image.top.digest)[-1].digest


def test_what_is_kept_of_a_layer_is_what_was_read(build: Build, surveys: Surveys) -> None:
    """A second process reads no layer: from the cache folder it says the same, of blobs that are gone."""
    image = build(BOTH)
    first = verdicts(image, surveys)
    blobs = {each: blob for each, blob in image.blobs.items() if image.sizes[each] < 20_000}
    kept = {layer.digest for _, child in layouts.platforms(image) for layer in image.layers(child.digest)}
    nothing = dict.fromkeys(kept, BytesBlob(b"")) | {k: v for k, v in blobs.items() if k not in kept}
    again = Surveys(surveys.folder)
    assert verdicts(Layout(image.top, image.manifests, nothing, image.sizes), again) == first
    for _, child in layouts.platforms(image):
        layers = image.layers(child.digest)
        assert again.of(image, layers) == surveys.of(image, layers)


def inspect(folder: Path, *arguments: str, expect: int = 0) -> str:
    """What the command prints, run where there is neither MLflow nor a target."""
    command = [
        str(Path(sys.executable).with_name("publisher")),
        "--cache-folder",
        str(folder / "cache"),
        "-q",
    ]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(
        [*command, "inspect", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


def test_inspect_shows_what_an_image_holds(tmp_path: Path, build: Build) -> None:
    """Of a folder: platforms, program, layers, the verdict, and with --sizes the packages, biggest first."""
    image = build(BOTH)
    layout_folder.write(image, tmp_path / "image", ["v1"])
    shown = inspect(tmp_path, f"oci:{tmp_path}/image:v1", "--platform", "linux/arm64", "--sizes")
    assert f"@{image.top.digest}" in shown
    assert "linux/arm64 sha256:" in shown
    assert "linux/amd64" not in shown
    assert "starts: python -c 'import kiwisolver'" in shown
    assert "as: user 10001:10001 in /app" in shown
    assert "kiwisolver 1.4.8" in shown
    assert "binaries: ok, " in shown
    (found,) = json.loads(inspect(tmp_path, f"oci:{tmp_path}/image", "--sizes", "--json"))["platforms"][:1]
    assert _descending([each["size"] for each in found["weights"]])
    packages = {each["package"]: each for each in found["weights"] if each["package"]}
    (held,) = [each for each in found["layers"] if each["holds"] == "kiwisolver 1.4.8"]
    assert packages["kiwisolver"]["size"] == held["unpacked"]
    assert sum(each["files"] for each in found["weights"]) <= sum(each["files"] for each in found["layers"])


def _descending(sizes: Sequence[int]) -> bool:
    return len(sizes) > 2 and list(sizes) == sorted(sizes, reverse=True)


def test_inspect_refuses_a_broken_image(tmp_path: Path, build: Build, registry: RealRegistry) -> None:
    """Of a registry, without credentials: exit code 24, and both forms tell the file and what to do."""
    layout_folder.write(build({ARM64: AMD64}), tmp_path / "image", ["v1"])
    push_layout(tmp_path / "image", registry.host, "team/broken", "v1")
    name = f"{registry.host}/team/broken:v1"
    shown = inspect(tmp_path, name, expect=24)
    assert "binaries: failed, 1 finding" in shown
    assert "_cext.cpython-3" in shown
    assert "Install the wheel of kiwisolver 1.4.8 that is for linux/arm64" in shown
    (found,) = json.loads(inspect(tmp_path, name, "--json", expect=24))["platforms"]
    assert found["check"]["state"] == "failed"
    assert found["check"]["findings"][0]["layer"] in {each["digest"] for each in found["layers"]}
    assert inspect(tmp_path, name, "--platform", "linux/s390x", expect=11) == ""
