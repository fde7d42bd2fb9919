"""Images of one platform made entry by entry, and what the binaries check says of them."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from publisher.checks.binaries import binaries
from publisher.checks.surveys import Surveys
from publisher.checks.verdict import Verdict
from publisher.domain import Platform
from publisher.oci.layout import (
    CONFIG,
    LAYER_GZIP,
    MANIFEST,
    Blob,
    BytesBlob,
    Descriptor,
    Layout,
    digest_of,
    encode,
)
from tests.checks import elves

SITE = "opt/venv/lib/python3.11/site-packages"
LOADERS = {"amd64": "/lib64/ld-linux-x86-64.so.2", "arm64": "/lib/ld-linux-aarch64.so.1"}
TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


@dataclass(frozen=True, slots=True)
class At:
    """An entry that is no plain file: its kind, and its target, content, mode and owner."""

    kind: bytes = tarfile.REGTYPE
    target: str = ""
    content: bytes = b""
    mode: int = 0o755
    owner: int = 0


Files = Mapping[str, bytes | At]


def link(target: str) -> At:
    return At(tarfile.SYMTYPE, target)


def folder(mode: int = 0o755, owner: int = 0) -> At:
    return At(tarfile.DIRTYPE, mode=mode, owner=owner)


def layer(files: Files) -> bytes:
    """Gzip. Plain files have mode 0755."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in files.items():
            made = entry if isinstance(entry, At) else At(content=entry)
            info = tarfile.TarInfo(path)
            info.type, info.linkname, info.mode = made.kind, made.target, made.mode
            info.uid = info.gid = made.owner
            info.size = len(made.content)
            archive.addfile(info, io.BytesIO(made.content))
    return gzip.compress(sink.getvalue(), 1, mtime=0)


def image(
    layers: Sequence[bytes], architecture: str = "amd64", *, kind: str = LAYER_GZIP, **config: Any
) -> Layout:
    """A plain manifest of finished layers; `config` are keys of the image config's own part, such as Cmd."""
    document = {"os": "linux", "architecture": architecture, "config": config}
    content = encode({**document, "rootfs": {"type": "layers", "diff_ids": []}})
    parts = [Descriptor.of(kind, each) for each in layers]
    manifest = encode(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": Descriptor.of(CONFIG, content).json(),
            "layers": [each.json() for each in parts],
        }
    )
    blobs: dict[str, Blob] = {digest_of(each): BytesBlob(each) for each in [content, *layers]}
    top = Descriptor.of(MANIFEST, manifest)
    sizes = {digest_of(each): len(each) for each in [content, *layers]}
    return Layout(top, {top.digest: manifest}, blobs, sizes)


def verdict(layout: Layout, surveys: Surveys | None = None) -> Verdict:
    """Of the image's only platform."""
    config = layout.config(layout.top.digest)
    platform = Platform(config["os"], config["architecture"])
    return binaries(layout, platform, layout.top.digest, surveys or Surveys())


def looked(*layers: Files, architecture: str = "amd64", **config: Any) -> Verdict:
    """The verdict on an image of `layers`."""
    return verdict(image([layer(files) for files in layers], architecture, **config))


def base(architecture: str = "amd64", glibc: str = "2.36") -> dict[str, bytes | At]:
    """A C library, its loader, a python that needs both, users, and folders that ld.so.conf names."""
    place = f"usr/lib/{TRIPLETS[architecture]}"
    minor = int(glibc.partition(".")[2])
    versions = [f"GLIBC_2.{number}" for number in range(17, minor + 1)]
    program = elves.make(
        architecture,
        needed=["libc.so.6"],
        wants={"libc.so.6": ["GLIBC_2.17"]},
        interpreter=LOADERS[architecture],
    )
    return {
        "lib": link("usr/lib"),
        "lib64": link("usr/lib64"),
        f"{place}/libc.so.6": elves.make(architecture, soname="libc.so.6", gives=versions),
        LOADERS[architecture].lstrip("/").replace("lib", "usr/lib", 1): elves.make(architecture),
        "usr/bin/python3.11": program,
        "usr/bin/python3": link("python3.11"),
        "usr/bin/env": program,
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\nmodel:x:10001:10001::/:/bin/sh\n",
        "etc/group": b"root:x:0:\nmodel:x:10001:\n",
        "etc/ld.so.conf": b"include /etc/ld.so.conf.d/*.conf\n",
        "etc/ld.so.conf.d/own.conf": b"# more\n/opt/own/lib\n",
        "etc/ld.so.cache": b"x",
    }


def wheel(name: str, files: Files, tag: str = "cp311-cp311-manylinux_2_17_x86_64", **more: str) -> Files:
    """An installed package: its files, and what an installer writes beside them. `more`: lines of METADATA."""
    info = f"{name}-1.0.dist-info"
    documents = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        + "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in more.items()),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nTag: {tag}\n",
    }
    paths = [*files, *documents, f"{info}/RECORD"]
    documents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in paths)
    return {f"{SITE}/{path}": content for path, content in files.items()} | {
        f"{SITE}/{path}": text.encode() for path, text in documents.items()
    }
