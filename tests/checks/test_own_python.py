"""The image's own Python, run out of real layers in each of the ways that a machine may allow."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from publisher.checks.enclosure import WAYS, Way
from publisher.checks.own_python import Root, Roots
from publisher.checks.supervised import Ran
from publisher.checks.surveys import Surveys
from publisher.domain import MACHINES, Platform
from publisher.oci import layout_folder
from publisher.oci.layout import BytesBlob, Layout
from publisher.redaction import redacted
from tests.checks.conftest import AMD64, ARM64
from tests.checks.images import link
from tests.checks.test_real_images import over
from tests.engines import require

pytestmark = pytest.mark.engine("mmdebstrap")
HERE, FOREIGN = (AMD64, ARM64) if os.uname().machine == "x86_64" else (ARM64, AMD64)
SHUT: tuple[Way, ...] = ("bubblewrap", "namespaces", "chroot", "landlock")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own-python")


@pytest.fixture(scope="session")
def surveys(cache: Path) -> Surveys:
    return Surveys(cache)


@pytest.fixture(scope="session")
def base(base_layout: Path) -> Layout:
    return layout_folder.read(base_layout)


def version(base: Layout, number: int, platform: Platform = HERE) -> Layout:
    """An image of the base and a model; it has no config of its own."""
    return over(base, platform, {"app/model/MLmodel": f"flavors: {{}} # {number}\n".encode()})


@pytest.fixture(scope="module", params=WAYS)
def root(request: pytest.FixtureRequest, cache: Path, surveys: Surveys, base: Layout) -> Iterator[Root]:
    way: Way = request.param
    if way == "bubblewrap":
        require("bwrap", "bubblewrap")
    if way == "chroot" and os.geteuid():
        pytest.skip("only root may change its root")
    image = version(base, 1)
    with Roots(cache, surveys, way).open(image, HERE, image.top.digest, emulate=False) as opened:
        yield opened


def way_of(root: Root) -> Way:
    return root.enclosed.way


def run(root: Root, script: str, *arguments: str, seconds: float = 60, **environment: str) -> Ran:
    return root.run(script.encode(), arguments, environment=environment, seconds=seconds)


def said(root: Root, script: str, *arguments: str) -> str:
    """What a script that ends well answers."""
    ran = run(root, f"import os, sys\nos.write(3, str({script}).encode())", *arguments)
    assert (ran.returncode, ran.ended) == (0, "exit"), ran
    return ran.answer.decode()


def test_it_is_the_images_own(root: Root) -> None:
    """Its files are the image's, by the paths that the root tells; so are its Python and its libraries."""
    assert "# 1" in said(root, "open(sys.argv[1]).read()", root.path("/app/model/MLmodel"))
    assert said(root, "os.__file__").startswith(root.path("/usr/lib/python3"))
    if root.mapped:  # elsewhere there are no other libraries to be had
        mapped = said(root, "[line.split()[5] for line in open('/proc/self/maps') if 'libc.so' in line]")
        assert "/unpacked/" in mapped


def test_arguments_variables_and_answer(root: Root) -> None:
    """The script gets what it is given, and the image's variables; nothing stands in its standard input."""
    script = "import os, sys, json\nos.write(3, json.dumps([sys.argv[1:], dict(os.environ), sys.stdin.read()]).encode())"
    arguments, variables, rest = json.loads(run(root, script, "a b", "ü", OWN="x").answer)
    assert (arguments, rest, variables["OWN"]) == (["a b", "ü"], "", "x")
    assert variables["LANG"] == root.start.variables["LANG"]


def test_nothing_of_ours_goes_along(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables, nor open files, nor the user root."""
    monkeypatch.setenv("CANARY_TOKEN", "canary")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    assert "canary" not in said(root, "dict(os.environ)")
    script = "import os\nfor number in range(4, 200):\n try: os.fstat(number); print(number)\n except OSError: pass"
    assert run(root, script).said == ""
    os.close(read)
    os.close(write)
    if way_of(root) in ("namespaces", "chroot"):
        assert said(root, "os.getuid()") != "0"


def test_files_of_this_machine(root: Root, tmp_path: Path) -> None:
    """They are not there for it, and what it could write to is its own."""
    canary = tmp_path / "canary"
    canary.write_text("mine")
    script = "import os, sys\ntry: os.write(3, open(sys.argv[1]).read().encode())\nexcept OSError: pass"
    if root.shut_in:
        assert run(root, script, str(canary)).answer == b""
        write = "import sys, os\ntry: open(sys.argv[1], 'w'); os.write(3, b'written')\nexcept OSError: pass"
        for path in ("/app/model/MLmodel", "/usr/bin/python3", "/new", "/usr/lib/new"):
            assert run(root, write, root.path(path)).answer == b"", path
        # which the kernel would let root's number do, in any namespace
        opening = "import sys, os\ntry: os.open(sys.argv[1], os.O_WRONLY); os.write(3, b'open')\nexcept OSError: pass"
        for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger"):
            assert run(root, opening, path).answer == b"", path
    assert said(root, "open(os.environ['TMPDIR'] + '/own', 'w').write('abc')") == "3"


def test_no_network(root: Root) -> None:
    """A server of this machine hears nothing; where it would, the root says that it is not shut in."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        script = "import socket, sys\nsocket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)"
        ran = run(root, script, str(server.getsockname()[1]))
        assert root.shut_in == (way_of(root) in SHUT)
        if root.shut_in:
            assert any(word in ran.said for word in ("ConnectionRefused", "unreachable", "PermissionError"))
            with pytest.raises(TimeoutError):
                server.accept()
    assert ("no network" in root.isolation) == root.shut_in
    assert ("not shut in" in root.isolation) != root.shut_in


def test_what_hangs_ends_with_all_it_started(root: Root) -> None:
    """By the clock on the wall, and a process of a session of its own goes, too."""
    mark = f"hanging-{os.getpid()}-{way_of(root)}"
    script = f"import os, time, sys\nif not os.fork():\n os.setsid()\n os.fork()\ntime.sleep(600)  # {mark}"
    ran = run(root, script, seconds=2)
    assert (ran.ended, ran.returncode) == ("time", None)
    assert ran.seconds < 20
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(path)]


def test_what_it_leaves_behind_ends(root: Root) -> None:
    """A program that ends well leaves nothing that runs on."""
    mark = f"leaving-{os.getpid()}-{way_of(root)}"
    ran = run(root, f"import os, time\nif not os.fork():\n os.setsid()\n time.sleep(600)  # {mark}")
    assert (ran.ended, ran.returncode) == ("exit", 0)
    assert ran.seconds < 20
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(path)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_what_prints_without_end(root: Root) -> None:
    """It is ended; the end of it is kept, and no more."""
    ran = run(root, "while True: print('x' * 100000)")
    assert (ran.ended, len(ran.said) < 5000) == ("output", True)
    ran = run(root, "import os\nwhile True: os.write(3, bytes(1 << 20))")
    assert (ran.ended, len(ran.answer) <= 16 << 20) == ("output", True)


def test_what_takes_memory(root: Root) -> None:
    """It is ended, or gets none, whichever process of its takes it."""
    small = replace(root, enclosed=replace(root.enclosed, memory=200 << 20))
    ran = run(small, "import os, time\nif not os.fork(): x = bytearray(b'x') * (600 << 20)\ntime.sleep(60)")
    assert ran.ended == "memory"
    ran = run(small, "x = bytearray(b'x') * (4 << 30)")
    assert ran.ended == "memory" or "MemoryError" in ran.said


def test_what_multiplies(root: Root) -> None:
    """Thousands of processes are ended together."""
    ran = run(
        root, "import os, time\nfor _ in range(1500):\n if not os.fork(): time.sleep(600)\ntime.sleep(600)"
    )
    assert ran.ended == "processes"
    assert ran.seconds < 50


def test_signals_and_codes(root: Root) -> None:
    """A crash is told as what it is."""
    ran = run(root, "import os\nos.abort()")
    assert (ran.ended, ran.returncode) == ("signal", -6)
    assert run(root, "raise SystemExit(7)").returncode == 7


def test_what_it_prints_is_made_harmless(root: Root) -> None:
    """Known credentials and control characters are taken out, and letters of any language stay."""
    redacted.learn("s3cr3t-of-own-python")
    ran = run(root, "print('\\x1b[31mä 漢\\x07 s3cr3t-of-own-python\\x9b', flush=True)\nraise SystemExit(1)")
    assert ran.said == "[31mä 漢  ***"


def test_a_layer_above_takes_away(cache: Path, surveys: Surveys, base: Layout) -> None:
    """What an upper layer deletes, hides or replaces is so for the program, and what is kept below stays as it was."""
    own = version(base, 2)
    python = "usr/lib/python3.11"
    gone = {
        f"{python}/.wh.this.py": b"",
        f"{python}/json/.wh..wh..opq": b"",
        f"{python}/json/own.py": b"x = 5",
    }
    changed = over(own, HERE, {**gone, f"{python}/link": link("/app/model"), "app/more": b"more"})
    code = (
        "(os.path.exists(d + 'this.py'), os.listdir(d + 'json'), os.listdir(d + 'link'), os.listdir('/app'))"
    )
    script = f"import os\nd = '/{python}/'\nos.write(3, repr({code}).encode())"
    with Roots(cache, surveys).open(changed, HERE, changed.top.digest, emulate=False) as root:
        assert run(root, script).answer.decode() == "(False, ['own.py'], ['MLmodel'], ['model', 'more'])"
    with Roots(cache, surveys).open(own, HERE, own.top.digest, emulate=False) as root:
        assert (
            run(
                root, f"import os, json\nos.write(3, str(os.path.exists('/{python}/this.py')).encode())"
            ).answer
            == b"True"
        )


@pytest.mark.parametrize("way", WAYS)
def test_layers_of_an_environment_are_unpacked_once(
    way: Way, cache: Path, surveys: Surveys, base: Layout
) -> None:
    """The next version reads its own layer alone, also when several publishers want it at once."""
    if way == "chroot" and os.geteuid():
        pytest.skip("only root may change its root")
    first, second = version(base, 3), version(base, 4)
    layers = second.layers(second.top.digest)
    surveys.of(second, layers)
    with Roots(cache, surveys, way).open(first, HERE, first.top.digest, emulate=False):
        pass
    empty = {each.digest: BytesBlob(b"") for each in layers[:-1]}
    again = Layout(second.top, second.manifests, {**second.blobs, **empty}, second.sizes)
    with ExitStack() as stack:
        roots = [
            stack.enter_context(Roots(cache, surveys, way).open(again, HERE, again.top.digest, emulate=False))
            for _ in range(2)
        ]
        for root in roots:
            assert "# 4" in said(root, "open(sys.argv[1]).read()", root.path("/app/model/MLmodel"))
        place = roots[0].enclosed.root
    assert not place.exists()


def test_several_at_once(tmp_path: Path, surveys: Surveys, base: Layout) -> None:
    """Each finds a whole tree, and one is kept."""
    found: list[str] = []

    def one(number: int) -> None:
        image = version(base, number)
        with Roots(tmp_path, surveys).open(image, HERE, image.top.digest, emulate=False) as root:
            found.append(said(root, "len(os.listdir('/usr/lib'))"))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert len(list((tmp_path / "unpacked").iterdir())) == 1


def test_without_a_cache_folder(surveys: Surveys, base: Layout) -> None:
    """All is unpacked, and gone afterwards."""
    image = version(base, 5)
    with Roots(None, surveys).open(image, HERE, image.top.digest, emulate=False) as root:
        assert said(root, "sys.version_info[0]") == "3"
        place = root.enclosed.root
    assert not place.exists()


@pytest.mark.parametrize("way", ["bubblewrap", "landlock", "limits"])
def test_a_foreign_platform(way: Way, cache: Path, surveys: Surveys, base: Layout) -> None:
    """Only when asked for, by the emulator, shut in as well."""
    require(f"qemu-{MACHINES[FOREIGN.architecture]}-static", "qemu-user-static")
    roots = Roots(cache, surveys, way)
    assert "emulate = true" in roots.why_not(FOREIGN, emulate=False)
    assert roots.why_not(FOREIGN, emulate=True) == ""
    image = version(base, 6, FOREIGN)
    with roots.open(image, FOREIGN, image.top.digest, emulate=True) as root:
        assert said(root, "os.uname().machine") == MACHINES[FOREIGN.architecture]
        assert "emulated by qemu-" in root.isolation


def test_what_cannot_be_run() -> None:
    """Other processors and systems are told before anything is unpacked."""
    assert "install emulation" in Roots().why_not(Platform("linux", "386"), emulate=True)
    assert "nothing is known" in Roots().why_not(Platform("windows", "amd64"), emulate=True)
