"""Architectures and symbol versions: what cannot be loaded is refused, what only looks so is noted with its reason."""

from __future__ import annotations

import struct

import pytest

from tests.checks import elves
from tests.checks.images import SITE, Files, base, looked, wheel

MODULE = "pkg/_native.cpython-311-x86_64-linux-gnu.so"
FOREIGN = elves.make("amd64")


def on_arm(*layers: Files) -> list[str]:
    """What is found in an arm64 image, and that its notes keep their silence about it."""
    verdict = looked(base("arm64"), *layers, architecture="arm64", Cmd=["python3"])
    assert verdict.state == ("failed" if verdict.findings else "ok")
    return [each.text for each in verdict.findings]


def test_a_whole_image_of_each_architecture() -> None:
    """The base of the tests has nothing wrong with it."""
    assert looked(base(), Cmd=["python3"]).state == "ok"
    assert on_arm() == []


def test_a_wheel_for_another_architecture() -> None:
    """Named with its package, and what to install instead."""
    verdict = looked(base("arm64"), wheel("pkg", {MODULE: FOREIGN}), architecture="arm64")
    (found,) = verdict.findings
    assert found.path == f"/{SITE}/{MODULE}"
    assert found.text == "is for x86-64, and the image is for linux/arm64"
    assert found.remedy == "Install the wheel of pkg 1.0 that is for linux/arm64."


def test_a_model_s_own_library_for_another_architecture() -> None:
    """Compiled models and code beside them count, too."""
    assert on_arm({"app/model/compiled.so": FOREIGN}) == ["is for x86-64, and the image is for linux/arm64"]


@pytest.mark.parametrize(
    "layer",
    [
        wheel("pkg", {"pkg/attach_amd64.so": FOREIGN}, tag="py3-none-any"),
        wheel("pkg", {"pkg/x.so": FOREIGN, "pkg/a.so": elves.make("arm64")}),
        {"app/model/lib_amd64.so": FOREIGN, "app/model/lib_arm64.so": elves.make("arm64")},
        {f"{SITE}/pkg/kernel.cubin": elves.make("cuda")},
        {f"{SITE}/pkg/part.o": elves.make("amd64", kind=1)},
        {"usr/lib/x86_64-linux-gnu/libc.so.6": FOREIGN},
        {"opt/tool/linux-x86_64/lib/x.so": FOREIGN},
        {f"{SITE}/pkg/tests/x.so": FOREIGN},
    ],
    ids=["pure", "both", "both in a model", "cuda", "object file", "multiarch", "by its folder", "test"],
)
def test_files_that_are_for_others_on_purpose(layer: Files) -> None:
    """Each is noted, and refuses nothing."""
    verdict = looked(base("arm64"), layer, architecture="arm64")
    assert verdict.state == "ok", verdict
    assert "for x86-64" in verdict.notes[0].text or "CUDA" in verdict.notes[0].text


def test_another_byte_order() -> None:
    """The machine's name alone does not make it the same processor."""
    header = struct.pack(">HHIQQQIHHHHHH", 3, 183, 1, 0, 0, 0, 0, 64, 56, 0, 0, 0, 0)
    assert on_arm({"app/model/x.so": b"\x7fELF\x02\x02\x01" + bytes(9) + header})


def test_a_newer_glibc() -> None:
    """The version that is asked for, the one that is there, and which wheels would do."""
    module = elves.make(needed=["libc.so.6"], wants={"libc.so.6": ["GLIBC_2.17", "GLIBC_2.38", "GLIBC_2.9"]})
    verdict = looked(base(), wheel("pkg", {MODULE: module}))
    (found,) = verdict.findings
    assert found.text == "needs GLIBC_2.38 of libc.so.6, and the image has it up to GLIBC_2.36"
    assert "pkg 1.0 whose wheel is for manylinux_2_36 or older" in found.remedy


def test_a_version_that_is_wanted_weakly() -> None:
    """The loader goes on without it."""
    module = elves.make(needed=["libc.so.6"], wants={"libc.so.6": ["GLIBC_2.99"]}, weak=True)
    assert looked(base(), wheel("pkg", {MODULE: module})).state == "ok"


def test_versions_of_other_libraries() -> None:
    """An older libstdc++ is no libstdc++; a library without versions is taken as it is."""
    module = elves.make(needed=["libstdc++.so.6"], wants={"libstdc++.so.6": ["GLIBCXX_3.4.30"]})
    old = elves.make(soname="libstdc++.so.6", gives=["GLIBCXX_3.4.9", "GLIBCXX_3.4.29"])
    place = "usr/lib/x86_64-linux-gnu/libstdc++.so.6"
    (found,) = looked(base(), wheel("pkg", {MODULE: module}), {place: old}).findings
    assert "up to GLIBCXX_3.4.29" in found.text
    assert looked(base(), wheel("pkg", {MODULE: module}), {place: elves.make()}).state == "ok"


def test_a_wheel_for_glibc_on_musl() -> None:
    """musl takes libc.so.6 for itself, and has none of its functions."""
    musl = {"lib/ld-musl-x86_64.so.1": elves.make(soname="libc.musl-x86_64.so.1")}
    module = elves.make(needed=["libc.so.6"], wants={"libc.so.6": ["GLIBC_2.17"]})
    (found,) = looked(musl, wheel("pkg", {MODULE: module})).findings
    assert "the image's C library is musl" in found.text
    own = elves.make(needed=["libc.musl-x86_64.so.1"])
    assert looked(musl, wheel("pkg", {MODULE: own})).state == "ok"


def test_the_right_library_behind_a_foreign_one() -> None:
    """The loader passes over what is for another processor; where there is no other, the finding says so."""
    module = elves.make("arm64", needed=["libx.so.1"])
    wrong: Files = {"usr/lib/libx.so.1": FOREIGN}
    right: Files = {"opt/own/lib/libx.so.1": elves.make("arm64")}
    mine = wheel("pkg", {MODULE: module}, tag="cp311-cp311-linux_aarch64")
    assert "is for x86-64" in " ".join(on_arm(mine, wrong))
    assert on_arm(mine, wrong, right) == ["is for x86-64, and the image is for linux/arm64"]


def test_platforms_that_nothing_is_known_of() -> None:
    """Not looked at is not ok, and says why."""
    assert looked(base(), architecture="mips").state == "not looked at"
