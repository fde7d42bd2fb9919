"""An image with a shell and a few programs of Debian's, 2 MB of the 40 that ``python`` has.

Builds of engines' tests begin from it where no Python runs in them: an engine unpacks, compares and packs all of a
base for each image, whatever the test is about.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from publisher.baseimage.tree import Tree
from publisher.oci.layer import write_layer
from publisher.oci.layout import INDEX, BytesBlob, Descriptor, FileBlob, Layout, encode

_PROGRAMS = (
    *(
        "cat",
        "chroot",
        "dash",
        "date",
        "echo",
        "env",
        "grep",
        "ls",
        "mknod",
        "mv",
        "rm",
        "seq",
        "setsid",
        "sh",
    ),
    *("sleep", "stat", "tail", "touch", "true", "uname", "wc"),
)
_LIBRARIES = ("ld-linux", "libacl.", "libattr.", "libc.so", "libpcre2-8.", "libselinux.")
_FOLDERS = ("dev", "etc", "proc", "root", "run", "sys", "var")


def make(python: Layout, folder: Path) -> Layout:
    """The image for the platforms of `python`, which has all that this one has; its layers are files in `folder`."""
    manifests: dict[str, bytes] = {}
    blobs: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    children = []
    for child in python.children():
        below = python.layers(child.digest)[0]
        layer = write_layer(folder / f"{child.digest[-8:]}.tar.gz", _part(python, below.digest).fill)
        old = python.config(child.digest)
        config = encode(
            {
                "architecture": old["architecture"],
                "os": old["os"],
                "config": {"Cmd": ["sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
                # With a time: buildah finds nothing in its cache above a layer that has none.
                "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tests"}],
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
            }
        )
        manifest = python.json(child.digest)
        described = Descriptor.of(manifest["config"]["mediaType"], config)
        manifest = {**manifest, "config": described.json(), "layers": [layer.descriptor().json()]}
        content = encode(manifest)
        descriptor = Descriptor.of(child.media_type, content, platform=child.platform)
        blobs |= {
            described.digest: BytesBlob(config),
            layer.digest: FileBlob(folder / f"{child.digest[-8:]}.tar.gz"),
        }
        sizes |= {described.digest: len(config), layer.digest: layer.size}
        manifests[descriptor.digest] = content
        children.append(descriptor.json())
    index = encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": children})
    top = Descriptor.of(INDEX, index)
    return Layout(top, {top.digest: index, **manifests}, blobs, sizes)


def _part(python: Layout, digest: str) -> Tree:
    tree = Tree()
    with python.blobs[digest].open() as stream, tarfile.open(fileobj=stream) as archive:
        for entry in archive:
            folder, _, name = entry.name.rpartition("/")
            linked = entry.issym() and (not folder or folder == "usr/lib64")  # /bin, /lib, the loader
            program = folder in ("usr/bin", "usr/sbin") and name in _PROGRAMS
            if not (linked or program or (name.startswith(_LIBRARIES) and folder.startswith("usr/lib"))):
                continue
            if entry.issym():
                tree.link(entry.name, entry.linkname)
            elif entry.isfile():
                source = archive.extractfile(entry)
                assert source
                tree.file(entry.name, source.read(), 0o755)
    tree.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    tree.file("etc/group", "root:x:0:\n")
    for path in _FOLDERS:
        tree.directory(path)
    tree.directory("tmp", 0o1777)
    tree.parents()
    return tree
