"""Builders of buildx: which program asks them, what one of them can do, and one of our own for an address."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from publisher.builders.command import ask, program, tried
from publisher.domain import Platform

OWN = "publisher"  # the builder that is made for an address
_BOOT = 180.0  # seconds; a builder that has never run pulls its image first


@dataclass(frozen=True, slots=True)
class Told:
    """What ``buildx inspect`` tells of a builder, all of its nodes together. `error`: why it does not answer."""

    driver: str
    exports: bool  # OCI layouts
    running: bool
    platforms: frozenset[Platform]
    error: str


def command(environment: Mapping[str, str]) -> list[str] | None:
    """The words that buildx is called by: a program of its own, or Docker's plugin; None where neither is there."""
    if found := program(environment, "buildx", "docker-buildx"):
        return [found]
    docker = program(environment, "docker")
    return [docker, "buildx"] if docker and ask([docker, "buildx", "version"], environment) else None


def inspect(words: Sequence[str], name: Sequence[str], environment: Mapping[str, str]) -> Told | str:
    """What there is to know of a builder, which is started where it has to be. `name`: empty for the user's current
    one. A text tells why nothing is known.
    """
    for more, seconds in (((), None), (("--bootstrap",), _BOOT)):
        worked, text = tried([*words, "inspect", *more, *name], environment, seconds)
        if not worked:
            return text
        told = parse(text)
        if told.running or told.error:
            break
    if told.driver != "docker":
        return told
    # Whether it can export depends on where Docker keeps its images. Older ones lack the option that tells features.
    worked, text = tried([*words, "inspect", *name], {**environment, "DEBUG": "1"})
    return parse(text) if worked else told


def parse(text: str) -> Told:
    """Read the output of ``buildx inspect``: lines "name: value", at the end of which other versions write more."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and value.strip():
            found.setdefault(name.strip().lower(), []).append(value.strip())
    driver = found.get("driver", [""])[0]
    exports = found.get("oci exporter", ["false" if driver == "docker" else "true"])
    platforms = set()
    for name in ",".join(found.get("platforms", [])).split(","):
        with suppress(ValueError):  # an empty one
            platforms.add(Platform.parse(name.strip().rstrip("*")))  # *: told by the user, not by the node
    return Told(
        driver,
        "false" not in exports,
        bool(platforms) or "running" in found.get("status", []),
        frozenset(platforms),
        "" if platforms else " ".join(found.get("error", [])),
    )


def remote(
    words: Sequence[str], address: str, certificates: Path | None, environment: Mapping[str, str]
) -> str:
    """Make the builder OWN of the BuildKit at `address`, in the BUILDX_CONFIG of `environment`.

    `certificates`: a folder with ca.pem, cert.pem and key.pem. Returns why that failed, or nothing.
    """
    create = [*words, "create", "--name", OWN, "--driver", "remote"]
    if certificates:
        files = {"cacert": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        create += ["--driver-opt", fields((key, certificates / name) for key, name in files.items())]
    worked, text = tried([*create, address], environment)
    return "" if worked else text


def fields(pairs: Iterable[tuple[str, str | Path]]) -> str:
    """``a=b,c=d`` as BuildKit's tools read it, which is a line of CSV: a path may hold a comma."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([f"{key}={value}" for key, value in pairs])
    return text.getvalue()
