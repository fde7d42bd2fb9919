"""What settings must be that name images: where they go, what they are called, what they are built on.

A check that takes `info` looks at the keys that stand above its own in the table of a target.
"""

from __future__ import annotations

import re
from dataclasses import fields
from string import Formatter
from typing import Any

from pydantic import ValidationInfo

from publisher.domain import Target
from publisher.extra_tags import fill, placeholders
from publisher.naming import LONGEST
from publisher.oci.hosts import is_loopback
from publisher.oci.identity import registry_host
from publisher.oci.reference import Reference, is_tag

BASE = 'an image reference, oci:DIR, or a table such as { "3.11" = "docker.io/library/python:3.11-slim" }'
REGISTRY = "host[:port][/prefix] in lower case, such as quay.io/team, or oci:DIR"
MIRRORS = 'a table such as { "docker.io" = "mirror.example.org:5000" }'
TAGS = 'a list of tags such as ["{alias}", "{version}-{date}"]'
DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Target)}


def registry(value: str, info: ValidationInfo) -> str:
    if value.startswith("oci:"):
        if not value[4:].strip():
            raise ValueError(f"expected {REGISTRY}")
        return value
    scheme, _, rest = value.rpartition("://")
    if scheme.lower() not in ("", "http", "https"):
        raise ValueError(f"expected {REGISTRY}, or a URL that begins with https://")
    if "@" in rest:
        # Never shown: what stands before the @ of a URL is a password more often than not.
        raise ValueError("must not hold credentials: put them into REGISTRY_USER and REGISTRY_TOKEN")
    host, slash, prefix = rest.rstrip("/").partition("/")
    host = host.lower()
    try:
        found = Reference.parse(f"{host}{slash}{prefix}/x").repository.host
    except ValueError:
        raise ValueError(f"expected {REGISTRY}, got {value!r}") from None
    if host not in (found, "index.docker.io"):
        raise ValueError(f"must begin with a host, got {value!r}; Docker Hub's is docker.io/{value}")
    if scheme.lower() == "http" and not info.data.get("insecure", True) and not is_loopback(host):
        raise ValueError(
            f"http:// sends everything to {host} unencrypted; write https://, or set insecure = true"
        )
    return f"{host}{slash}{prefix}"


def sample(template: str, **known: str) -> str:
    """The template filled in; raises ValueError that names the placeholders it may have."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        raise ValueError(f"{template!r} has a brace without its pair") from None
    for _, name, spec, conversion in parts:
        if name is not None and (name not in known or spec or conversion):
            accepted = ", ".join(f"{{{key}}}" for key in known)
            raise ValueError(f"{{{name}}} is not a placeholder here; known: {accepted}")
    return template.format(**known)


def reference(text: str, template: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError:
        raise ValueError(f"{template!r} does not make an image reference: {text!r} is none") from None


def place(info: ValidationInfo) -> str:
    # A registry with a fault of its own is not in `data`, and a layout on disk has no host: any will do there.
    registry: str = info.data.get("registry", "oci:")
    return "registry.invalid" if registry.startswith("oci:") else registry


def image(value: str, info: ValidationInfo) -> str:
    known = {"registry": place(info), "model": "model", "version": "1", "target": "target"}
    sample(value, **known)
    if "{version}" not in value:
        raise ValueError(f"must contain {{version}}, or versions would overwrite each other: {value!r}")
    if not value.startswith("{registry}/"):
        raise ValueError(f"must lead into the target's own registry: begin with {{registry}}/, got {value!r}")
    reference(sample(value, **known), value)
    if re.search(r"\{model\}[0-9]*\{version\}|\{version\}[0-9]*\{model\}", value):
        raise ValueError(
            "must have something other than digits between {model} and {version}, or version 12 of a model "
            f"were version 2 of another: {value!r}"
        )
    long = sample(value, **{**known, "model": "m" * LONGEST, "version": "12345678"})
    try:
        fits = len(str(Reference.parse(long).repository)) <= 255
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"leaves no room for a model's name of {LONGEST} characters: {value!r}")
    return value


def tags(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    repository, colon, own = info.data.get("image", DEFAULTS["image"]).partition(":")
    if value and not (colon and "{model}" in repository):
        raise ValueError("needs a repository for each model: write {model} before the colon of `image`")
    for template in value:
        sample = fill(template, dict.fromkeys(placeholders(template), "1"))
        if template == own or not is_tag(sample):
            wrong = "is the version's own tag" if template == own else "does not make a tag"
            raise ValueError(f"{template!r} {wrong}; expected {TAGS}")
    return tuple(dict.fromkeys(value))


def cache(value: str, info: ValidationInfo) -> str:
    if value:
        # The tag is the lock's hash, so the setting itself must be a plain repository.
        reference(sample(value, registry=place(info)) + ":tag", value)
    return value


def base(value: object) -> str | dict[str, str]:
    """One for all, or one for each minor version: a table, or in a variable ``3.11=REF,3.12=REF``."""
    if isinstance(value, str) and re.match(r"\s*[0-9.]+\s*=", value):
        pairs = [part.partition("=")[::2] for part in value.split(",") if part.strip()]
        value = {minor.strip(): name.strip() for minor, name in pairs}
    if isinstance(value, str):
        return one_base(value.strip())
    if not isinstance(value, dict) or not value:
        raise ValueError(f"expected {BASE}")
    for minor, name in value.items():
        if not re.fullmatch(r"3\.[0-9]{1,2}", str(minor)) or not isinstance(name, str):
            raise ValueError(f'expected {BASE}, got {minor!r} = {name!r}; a minor version is written "3.11"')
    return {str(minor): one_base(name.strip()) for minor, name in sorted(value.items())}


def one_base(value: str) -> str:
    text = sample(value, python="3.11")
    if not value.startswith("oci:"):
        reference(text, value)
    elif not value[4:].strip():
        raise ValueError("expected an image reference, or oci:DIR")
    return value


def reference_of(value: str) -> str:
    reference(value, value)
    return value


def mirrors(value: object) -> dict[str, str]:
    """In a variable: ``docker.io=mirror.example.org:5000,quay.io=…``."""
    if isinstance(value, str):
        value = dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())
    if not isinstance(value, dict):
        raise ValueError(f"expected {MIRRORS}")  # noqa: TRY004 - what pydantic takes for a fault
    found = {}
    for host, mirror in value.items():
        for text in (host, mirror):
            if not isinstance(text, str) or registry_host(text) is None or "/" in text:
                raise ValueError(f"expected {MIRRORS}, got {text!r}")
        found[registry_host(host) or ""] = mirror.lower()
    return found
