"""A stand-in for Docker Hub: a registry that serves ``library/python`` for both architectures.

A Dockerfile that says ``FROM python:3.9.19-slim-bullseye`` gets, through an engine's mirror of docker.io, Debian's
Python *of the version that runs the tests*, in an image that behaves as the official one does for a Dockerfile:
root, `python` and `pip` in PATH, `useradd`, `apt-get`, no mark of a Python that Debian manages. Over it lies a
layer with this machine's way to packages (certificate authorities, pip's settings), so that no Dockerfile has to
name them; it is made for each session and goes to a registry on loopback alone, because an index's address may
hold a password.

The packages' own scripts did not run: `apt-get install` works for libraries and compilers, not for packages that
ask questions (debconf) or compile Python.
"""

from __future__ import annotations

import configparser
import importlib.metadata
import io
import os
import py_compile
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import requests

from publisher.baseimage.tree import Tree
from publisher.oci import layout_folder
from publisher.oci.layer import Layer, write_layer
from publisher.oci.layout import INDEX, BytesBlob, Descriptor, FileBlob, Layout, encode
from tests.engines import debian
from tests.engines.bare_client import push_layout
from tests.engines.registry import RealRegistry, running

NAME = "library/python"
TAGS = ("3.9.19-slim-bullseye", f"{debian.MINOR}-slim")
# What Debian's slim image has beside what a Python server needs, as far as a Dockerfile may call it.
_PACKAGES = (
    *("apt", "bash", "debconf", "debian-archive-keyring", "debianutils", "diffutils", "dpkg", "findutils"),
    *("grep", "gzip", "hostname", "libpam-runtime", "login", "mawk", "passwd", "perl-base", "sed", "tar"),
    "util-linux",
)
_AUTHORITIES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class Hub:
    """`host` is what an engine's mirror setting for docker.io must say; it speaks plain HTTP."""

    registry: RealRegistry

    @property
    def host(self) -> str:
        return self.registry.host


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The stand-in, running until the session ends."""
    folder = tmp_path_factory.mktemp("hub")
    image = folder / "image"
    layout_folder.write(_image(debian.layout("hub", _PACKAGES), folder / "machine.tar.gz"), image)
    with running(folder / "registry") as registry:
        push_layout(image, registry.host, NAME, TAGS[0])
        for tag in TAGS[1:]:
            _tag(registry.host, image, tag)
        yield Hub(registry)


def pip_settings() -> dict[str, str]:
    """This machine's package index, as pip.conf would say it in ``[global]``."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return dict(re.findall(r"^[\w:]+\.(index-url|extra-index-url|trusted-host|proxy)='(.*)'$", said, re.M))


def authorities() -> Path:
    """The file of the certificate authorities that this machine trusts."""
    named = [Path(os.environ[name]) for name in _AUTHORITIES if os.environ.get(name)]
    usual = Path("/etc/ssl/certs/ca-certificates.crt")
    for path in (*named, usual):
        if path.is_file():
            return path
    raise RuntimeError(f"no file of certificate authorities: set {_AUTHORITIES[0]}, or install {usual}")


def _tag(host: str, folder: Path, tag: str) -> None:
    image = layout_folder.read(folder)
    requests.put(
        f"http://{host}/v2/{NAME}/manifests/{tag}",
        data=image.manifests[image.top.digest],
        headers={"Content-Type": image.top.media_type},
        timeout=30,
    ).raise_for_status()


def _image(base: Path, path: Path) -> Layout:
    """The image in `base` with the machine's layer over it, whose file is `path`, and the official image's config."""
    below = layout_folder.read(base)
    layer = write_layer(path, _machine().fill)
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
        "history": [*config["history"], {"created_by": "tests", "comment": "this machine's way to packages"}],
        "rootfs": {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], layer.diff_id]},
    }


def _machine() -> Tree:
    tree = Tree()
    bundle = "etc/ssl/certs/ca-certificates.crt"
    tree.file(bundle, authorities().read_bytes())
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {**pip_settings(), "cert": f"/{bundle}"}
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
    keys = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    mirror = os.environ.get("PUBLISHER_DEBIAN_MIRROR", "").split(",")[0].strip()
    address = mirror if mirror and " " not in mirror else "http://deb.debian.org/debian"
    tree.file("etc/apt/sources.list", f"deb [{keys}] {address} {debian.suite()} main\n")
    folders = (
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/sources.list.d",
        "etc/apt/trusted.gpg.d",
    )
    folders += ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "etc/dpkg/dpkg.cfg.d")
    for path in (*folders, "etc/alternatives", "var/lib/dpkg/alternatives", "var/log/apt", "etc/default"):
        tree.directory(path)
    tree.link("usr/bin/awk", "mawk")
    tree.link("usr/bin/which", "which.debianutils")
