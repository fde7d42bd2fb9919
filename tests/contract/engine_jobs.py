"""Builds for the tests of single engines: small contexts, and what the images of them hold."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from publisher.builders.command import Commands, of_tools
from publisher.builders.dockerfile import Job
from publisher.domain import Context, Platform
from publisher.oci import layout_folder
from publisher.oci.layout import Layout
from publisher.progress import Report, Silent
from tests.engines.hub import NAME, SMALL, TAGS

BASE = SMALL  # one layer
PYTHON = f"{NAME}:{TAGS[0]}".removeprefix("library/")


@dataclass
class Lines(Silent):
    """Keeps what tools print."""

    lines: list[str] = field(default_factory=list)

    def line(self, subject: str, text: str) -> None:
        self.lines.append(text)


def job(
    folder: Path,
    dockerfile: str,
    *,
    platform: str = "linux/amd64",
    files: Mapping[str, str] | None = None,
    bases: Sequence[str] = (BASE,),
    secrets: Mapping[str, Path] | None = None,
    cache: str = "",
    accounts: Mapping[str, Mapping[str, str]] | None = None,
    report: Report | None = None,
) -> Job:
    """A job for a new context in the new `folder`."""
    context = folder / "context"
    context.mkdir(parents=True)
    (context / "Dockerfile").write_text(dockerfile)
    for name, text in (files or {}).items():
        (context / name).write_text(text)
    own, mine = folder / "job", folder / "accounts"
    own.mkdir()
    mine.mkdir(mode=0o700)
    (mine / "config.json").write_text(json.dumps({"auths": accounts or {}}))
    return Job(
        Context(context, False, "0" * 64, tuple(bases), secrets=dict(secrets or {}), cache=cache),
        Platform.parse(platform),
        own,
        mine,
        Commands(report or Report(Silent(), "test"), folder / "build.log", of_tools(os.environ)),
    )


def built(folder: Path) -> Layout:
    """The layout, of which every blob is looked at."""
    layout = layout_folder.read(folder)
    assert {path.name for path in (folder / "blobs/sha256").iterdir()} >= {
        digest.removeprefix("sha256:") for digest in layout.blobs
    }
    return layout


def config(folder: Path) -> dict[str, object]:
    layout = built(folder)
    return layout.config(layout.top.digest)


def added(folder: Path, above: int) -> dict[str, bytes]:
    """Every file that the layers over the first `above` ones hold, with its bytes."""
    layout = built(folder)
    found: dict[str, bytes] = {}
    for layer in layout.layers(layout.top.digest)[above:]:
        with layout.blobs[layer.digest].open() as stream, tarfile.open(fileobj=stream) as archive:
            for entry in archive:
                source = archive.extractfile(entry) if entry.isreg() else None
                found[entry.name.strip("/")] = source.read() if source else b""
    return found
