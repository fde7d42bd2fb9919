"""An image that behaves as the official ``python`` does for a Dockerfile, made of Debian's packages.

Root, `python` and `pip` in PATH, `useradd`, `apt-get`, no mark of a Python that Debian manages. Over it lies a layer
with this machine's way to packages (certificate authorities, pip's settings), so that no Dockerfile has to name
them; an index's address may hold a password, so the image goes to registries on loopback alone.

The packages' own scripts did not run: `apt-get install` works for libraries, compilers and programs, not for
packages that ask questions (debconf) or compile Python.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import io
import os
import py_compile
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from publisher.baseimage.tree import Tree
from publisher.oci import layout_folder
from publisher.oci.layer import Layer, write_layer
from publisher.oci.layout import INDEX, BytesBlob, Descriptor, FileBlob, Layout, encode
from tests.engines import debian, machine

# What Debian's slim image has beside what a Python server needs, as far as a Dockerfile may call it.
_PACKAGES = (
    *("apt", "bash", "debconf", "debian-archive-keyring", "debianutils", "diffutils", "dpkg", "findutils"),
    *("grep", "gzip", "hostname", "libpam-runtime", "login", "mawk", "passwd", "perl-base", "sed", "tar"),
    # The base image leaves them out; apt then takes it for broken.
    *("libdebconfclient0", "media-types", "readline-common", "sensible-utils", "util-linux"),
)
_FOLDERS = (
    *("etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d", "etc/apt/trusted.gpg.d"),
    *("etc/alternatives", "etc/default", "etc/dpkg/dpkg.cfg.d", "var/cache/apt/archives/partial"),
    *("var/lib/apt/lists/partial", "var/lib/dpkg/alternatives", "var/log/apt"),
)
_PACKAGES_OF = {"bookworm": ("libnsl2", "libtirpc3")}


def make(folder: Path, pip: Mapping[str, str]) -> Layout:
    """The image for both platforms, with the official one's config; its uppermost layer is a file in `folder`.

    `pip`: what its pip.conf says in ``[global]`` of the way to packages.
    """
    below = layout_folder.read(debian.layout("hub", (*_PACKAGES, *_PACKAGES_OF.get(debian.suite(), ()))))
    path = folder / "machine.tar.gz"
    layer = write_layer(path, _machine(pip).fill)
    manifests: dict[str, bytes] = {}
    blobs, sizes = {**below.blobs, layer.digest: FileBlob(path)}, {**below.sizes, layer.digest: layer.size}
    children = []
    for child in below.children():
        old, config = below.json(child.digest), encode(_config(below.config(child.digest), layer))
        described = Descriptor.of(old["config"]["mediaType"], config)
        blobs.pop(old["config"]["digest"], None)
        blobs[described.digest], sizes[described.digest] = BytesBlob(config), len(config)
        new = {**old, "config": described.json(), "layers": [*old["layers"], layer.descriptor().json()]}
        new.pop("annotations", None)
        manifest = encode(new)
        descriptor = Descriptor.of(child.media_type, manifest, platform=child.platform)
        manifests[descriptor.digest] = manifest
        children.append(descriptor.json())
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    top = Descriptor.of(INDEX, index)
    return Layout(top, {top.digest: index, **manifests}, blobs, sizes)


def _config(config: dict[str, Any], layer: Layer) -> dict[str, Any]:
    variables = [entry for entry in config["config"]["Env"] if not entry.startswith("PATH=")]
    path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {
        **config,
        "config": {"Cmd": ["python3"], "Env": [path, *variables]},
        # With a time, as the official image's have: buildah finds nothing in its cache above one that has none.
        "history": [
            *config["history"],
            {
                "created": "1970-01-01T00:00:00Z",
                "created_by": "tests",
                "comment": "this machine's way to packages",
            },
        ],
        "rootfs": {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], layer.diff_id]},
    }


def _machine(pip: Mapping[str, str]) -> Tree:
    tree = Tree()
    bundle = "etc/ssl/certs/ca-certificates.crt"
    tree.file(bundle, machine.authorities().read_bytes())
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {
        **pip,
        "cert": f"/{bundle}",
        "disable-pip-version-check": "1",
    }
    # Under emulation pip would need longer to compile what nobody imports than for all the rest.
    settings["install"] = {"compile": "false"}
    text = io.StringIO()
    settings.write(text)
    tree.file("etc/pip.conf", text.getvalue())
    tree.file(f"usr/lib/python{debian.MINOR}/.wh.EXTERNALLY-MANAGED", "")  # a whiteout: the file is gone
    for name in ("python", "python3", f"python{debian.MINOR}"):
        tree.link(f"usr/local/bin/{name}", f"/usr/bin/python{debian.MINOR}")
    _pip(tree)
    _apt(tree)
    tree.parents()
    return tree


def _pip(tree: Tree) -> None:
    """The pip that runs here, compiled: under emulation it would else take ten seconds to start, each time."""
    here = f"usr/local/lib/python{debian.MINOR}/dist-packages"
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "compiled"
        for file in importlib.metadata.distribution("pip").files or ():
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            source, place = Path(str(file.locate())), PurePosixPath(here, file)
            tree.file(str(place), source.read_bytes())
            if file.suffix == ".py":
                py_compile.compile(
                    str(source),
                    str(compiled),
                    dfile=f"/{place}",
                    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
                )
                cached = place.parent / "__pycache__" / f"{place.stem}.{sys.implementation.cache_tag}.pyc"
                tree.file(str(cached), compiled.read_bytes())
    script = (
        "#!/usr/local/bin/python3\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    )
    for name in ("pip", "pip3", f"pip{debian.MINOR}"):
        tree.file(f"usr/local/bin/{name}", script, 0o755)


def _apt(tree: Tree) -> None:
    """What the packages' scripts would have made, and the base image leaves out."""
    own = os.environ.get("PUBLISHER_DEBIAN_MIRROR", "").split(",")[0].strip()
    debian_org, suite = "http://deb.debian.org", debian.suite()
    sources = [f"{debian_org}/debian {suite}", f"{debian_org}/debian {suite}-updates"]
    sources += [f"{debian_org}/debian-security {suite}-security"]
    if own and " " not in own:
        sources = [f"{own} {suite}"]
    keys = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    tree.file("etc/apt/sources.list", "".join(f"deb {keys} {source} main\n" for source in sources))
    for path in _FOLDERS:
        tree.directory(path)
    tree.link("usr/bin/awk", "mawk")
    tree.link("usr/bin/which", "which.debianutils")
