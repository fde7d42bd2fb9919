"""Needed libraries: found where the image's loader looks, and nowhere else; what packages load themselves counts."""

from __future__ import annotations

import pytest

from publisher.checks.verdict import Verdict
from tests.checks import elves
from tests.checks.images import SITE, At, Files, base, folder, link, looked, wheel

NEEDS = elves.make(needed=["libx.so.1", "libc.so.6"])
LIBX = elves.make(soname="libx.so.1")
MODULE = "pkg/_native.cpython-311-x86_64-linux-gnu.so"


def missing(verdict: Verdict) -> set[str]:
    """The paths of the findings, all of which are about a library that is not there."""
    assert all("needs libx.so.1" in each.text for each in verdict.findings), verdict
    assert (verdict.state == "failed") == bool(verdict.findings)
    return {each.path for each in verdict.findings}


def with_module(content: bytes, *more: Files, **config: object) -> Verdict:
    return looked(base(), wheel("pkg", {MODULE: content}), *more, Cmd=["python3"], **config)


def test_a_missing_library_is_named_with_its_file_layer_and_remedy() -> None:
    """The file that needs it, the layer that this came with, and which Debian package brings it."""
    verdict = with_module(elves.make(needed=["libstdc++.so.6"]))
    (found,) = verdict.findings
    assert found.path == f"/{SITE}/{MODULE}"
    assert found.text == "needs libstdc++.so.6, which is not in the image"
    assert "--include libstdc++6" in found.remedy
    assert found.layer.startswith("sha256:")
    assert verdict.reason == f"{found.path} {found.text}"


@pytest.mark.parametrize(
    "place",
    [
        "usr/lib/x86_64-linux-gnu/libx.so.1",
        "usr/lib/libx.so.1",
        "usr/lib64/libx.so.1",
        "opt/own/lib/libx.so.1",
    ],
)
def test_the_systems_folders(place: str) -> None:
    """Debian's folders, the loader's own, and those of ld.so.conf's includes."""
    assert missing(with_module(NEEDS, {place: LIBX})) == set()


def test_without_its_cache_the_loader_knows_no_configured_folder() -> None:
    """ld.so.conf is ldconfig's: a layer that takes the cache away takes its folders away."""
    gone = {"etc/.wh.ld.so.cache": b"", "opt/own/lib/libx.so.1": LIBX}
    assert missing(with_module(NEEDS, gone)) == {f"/{SITE}/{MODULE}"}


@pytest.mark.parametrize(
    ("tags", "place", "there"),
    [
        ({"runpath": "$ORIGIN/../more"}, f"{SITE}/more/libx.so.1", True),
        ({"rpath": "${ORIGIN}/../more"}, f"{SITE}/more/libx.so.1", True),
        ({"rpath": "/nowhere", "runpath": "/opt/x"}, "nowhere/libx.so.1", False),
        ({"runpath": "/opt/x/$LIB"}, "opt/x/lib/x86_64-linux-gnu/libx.so.1", True),
        ({"runpath": "/opt/x/$LIB"}, "opt/x/lib64/libx.so.1", True),
        ({"runpath": "/opt/$PLATFORM"}, "opt/x86_64/libx.so.1", True),
        ({"runpath": "more"}, f"{SITE}/pkg/more/libx.so.1", True),  # its importer's: in its own package
        ({"runpath": "../elsewhere"}, "srv/elsewhere/libx.so.1", False),
        ({}, "opt/other/libx.so.1", False),
    ],
)
def test_search_paths_of_the_file(tags: dict[str, str], place: str, there: bool) -> None:
    """RPATH, RUNPATH (with which RPATH counts nothing), and the loader's variables in them."""
    verdict = with_module(elves.make(needed=["libx.so.1"], **tags), {place: LIBX})  # type: ignore[arg-type]
    assert bool(missing(verdict)) != there


def test_a_library_in_the_wrong_place_is_told() -> None:
    """Where it is only in a folder that the loader does not know, the finding says where."""
    (found,) = with_module(NEEDS, {"opt/other/libx.so.1": LIBX}).findings
    assert "only at /opt/other/libx.so.1" in found.text


def test_the_rpath_of_what_loads_it_counts() -> None:
    """A library without a search path is loaded by one with an RPATH, which holds for both; a RUNPATH does not."""
    deep = {"srv/lib/libmid.so": NEEDS, "srv/lib/libx.so.1": LIBX}
    for tag, there in (("rpath", True), ("runpath", False)):
        top = elves.make(needed=["libmid.so"], **{tag: "/srv/lib"})  # type: ignore[arg-type]
        found = missing(looked(base(), wheel("pkg", {MODULE: top}), {"srv/lib/libmid.so": NEEDS}, deep))
        # Both lie in one product's folder, so the importer's rule finds it; apart, only the RPATH does.
        assert found == set()
        apart = {"srv/a/lib/libmid.so": NEEDS, "opt/b/libx.so.1": LIBX}
        top = elves.make(needed=["libmid.so"], **{tag: "/srv/a/lib:/opt/b"})  # type: ignore[arg-type]
        assert bool(missing(looked(base(), wheel("pkg", {MODULE: top}), apart))) != there


def test_an_rpath_beside_a_runpath_counts_for_nobody() -> None:
    """Neither for the file that has both, nor for what that loads."""
    apart = {"srv/a/lib/libmid.so": NEEDS, "opt/b/libx.so.1": LIBX}
    top = elves.make(needed=["libmid.so"], rpath="/opt/b", runpath="/srv/a/lib")
    # Loaded for one with an RPATH itself, so that the search goes on above it.
    first = elves.make(needed=["top.so"], rpath="/srv/top")
    layers = ({"srv/top/top.so": top}, apart)
    assert missing(looked(base(), wheel("pkg", {MODULE: first}), *layers)) == {"/srv/a/lib/libmid.so"}


def test_ld_library_path_of_the_config() -> None:
    """The image's own environment counts."""
    more = {"opt/other/libx.so.1": LIBX}
    assert missing(with_module(NEEDS, more, Env=["LD_LIBRARY_PATH=/opt/other"])) == set()


def test_links_and_whiteouts() -> None:
    """A library by its link, in a folder that is a link, of another layer; not where an upper layer removed it."""
    real = {
        "usr/lib/x86_64-linux-gnu/libx.so.1.2": LIBX,
        "usr/lib/x86_64-linux-gnu/libx.so.1": link("libx.so.1.2"),
    }
    through = {"lib/x86_64-linux-gnu/libx.so.1": LIBX}
    assert missing(with_module(NEEDS, real)) == set()
    assert missing(with_module(NEEDS, through)) == set()
    gone = {"usr/lib/x86_64-linux-gnu/.wh.libx.so.1.2": b""}
    assert missing(with_module(NEEDS, real, gone)) == {f"/{SITE}/{MODULE}"}
    opaque = {"opt/own/lib/.wh..wh..opq": b"", "opt/own/lib/y": b"y"}
    assert missing(with_module(NEEDS, {"opt/own/lib/libx.so.1": LIBX}, opaque)) == {f"/{SITE}/{MODULE}"}
    same = {"opt/own/lib/libx.so.1": LIBX, "opt/own/lib/.wh..wh..opq": b""}
    assert missing(with_module(NEEDS, same)) == set()  # whiteouts concern lower layers
    assert missing(with_module(NEEDS, {"opt/own": link("/srv"), "srv/lib/libx.so.1": LIBX})) == set()
    hard = {"opt/a": LIBX, "opt/own/lib/libx.so.1": At(b"1", "opt/a")}
    assert missing(with_module(NEEDS, hard)) == set()


def test_a_folder_that_is_named_again_keeps_what_is_in_it() -> None:
    """As layers of engines name every folder above a file."""
    again: Files = {"opt/own": folder(), "opt/own/lib": folder(), "opt/own/lib/y": b"y"}
    assert missing(with_module(NEEDS, {"opt/own/lib/libx.so.1": LIBX}, again)) == set()


def test_libraries_that_packages_load_themselves() -> None:
    """Of the package's own folders, and of a package that it requires; not of one that it knows nothing of."""
    own = wheel("pkg", {MODULE: NEEDS, "pkg.libs/libx.so.1": LIBX})
    assert missing(looked(base(), own)) == set()
    other = wheel("nvidia-x", {"nvidia/x/lib/libx.so.1": LIBX})
    asks = wheel("pkg", {MODULE: NEEDS}, Requires_Dist='nvidia_x>=1; platform_machine == "x86_64"')
    assert missing(looked(base(), asks, other)) == set()
    assert missing(looked(base(), wheel("pkg", {MODULE: NEEDS}), other)) == {f"/{SITE}/{MODULE}"}


def test_what_the_program_has_loaded_is_there_for_all() -> None:
    """A module may need the library that its interpreter brought along."""
    program = elves.make(
        needed=["libx.so.1"], rpath="$ORIGIN/../lib", interpreter="/lib64/ld-linux-x86-64.so.2"
    )
    own = {"opt/py/bin/python3": program, "opt/py/lib/libx.so.1": LIBX}
    assert missing(with_module(NEEDS, own, Entrypoint=["/opt/py/bin/python3"])) == set()


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("usr/lib/python3.11/lib-dynload/_tkinter.cpython-311-x86_64-linux-gnu.so", "libtk8.6.so"),
        (f"{SITE}/onnxruntime/capi/libonnxruntime_providers_cuda.so", "libcublas.so.12"),
        (f"{SITE}/numba/np/ufunc/tbbpool.cpython-311-x86_64-linux-gnu.so", "libtbb.so.12"),
        (f"{SITE}/pkg/tests/_t.so", "libx.so.1"),
        (f"{SITE}/torch/lib/libtorch_cuda.so", "libcuda.so.1"),
    ],
)
def test_what_looks_like_a_fault_and_is_none(path: str, library: str) -> None:
    """Optional parts and the driver's libraries are noted, with the rule's reason, and refuse nothing."""
    verdict = looked(base(), {path: elves.make(needed=[library])})
    assert verdict.state == "ok"
    (note,) = verdict.notes
    assert note.path == f"/{path}"
    assert library in note.text


def test_libraries_that_nothing_is_linked_against() -> None:
    """A transport that its package may take is noted; linked against by what is loaded, it is a fault."""
    place = f"{SITE}/nvidia/lib/nvshmem_transport_ucx.so.6"
    verdict = looked(base(), {place: NEEDS})
    assert (verdict.state, len(verdict.notes)) == ("ok", 1)
    assert "nothing that the image loads is linked against it" in verdict.notes[0].text
    user = elves.make(needed=["nvshmem_transport_ucx.so.6"], rpath="$ORIGIN/../nvidia/lib")
    assert missing(looked(base(), {place: NEEDS}, wheel("pkg", {MODULE: user}))) == {f"/{place}"}
    plug_in = {f"{SITE}/pkg/plugins/p.so": user}  # of a plug-in alone: it is as optional as that
    assert looked(base(), {place: NEEDS}, plug_in).state == "ok"
    assert missing(looked(base(), {f"{SITE}/lightgbm/lib/lib_lightgbm.so": NEEDS}))  # loaded by its name


def test_a_standard_library_that_cannot_load_is_a_fault() -> None:
    """Optional are few of its modules: not the one that reads SQLite."""
    path = "usr/lib/python3.11/lib-dynload/_sqlite3.cpython-311-x86_64-linux-gnu.so"
    verdict = looked(base(), {path: elves.make(needed=["libsqlite3.so.0"])})
    assert verdict.state == "failed"
    assert "libsqlite3-0" in verdict.findings[0].remedy
