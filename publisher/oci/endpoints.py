"""The paths of the distribution API, and the token scopes that they need."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from publisher.errors import RegistryError
from publisher.oci.reference import is_digest


def blob(name: str, digest: str) -> str:
    return f"/v2/{quote(name)}/blobs/{checked(digest)}"


def uploads(name: str) -> str:
    return f"/v2/{quote(name)}/blobs/uploads/"


def mount(name: str, digest: str, source_name: str) -> str:
    return f"{uploads(name)}?{urlencode({'mount': checked(digest), 'from': source_name})}"


def commit(place: str, digest: str) -> str:
    """The URL that ends an upload at `place`, which may have a query of its own."""
    return f"{place}{'&' if '?' in place else '?'}{urlencode({'digest': checked(digest)})}"


def manifest(name: str, reference: str) -> str:
    return f"/v2/{quote(name)}/manifests/{quote(reference, safe=':')}"


def pull(name: str) -> tuple[str, ...]:
    return (f"repository:{name}:pull",)


def push(name: str) -> tuple[str, ...]:
    return (f"repository:{name}:pull,push",)


def delete(name: str) -> tuple[str, ...]:
    return (f"repository:{name}:pull,delete",)


def cancel(name: str) -> tuple[str, ...]:
    # To cancel an upload is a DELETE, for which distribution wants this action; others want that of a push.
    return (f"repository:{name}:pull,push,delete",)


def checked(digest: str) -> str:
    """`digest`, which may come from a stranger's manifest and becomes part of a path."""
    if not is_digest(digest):
        raise RegistryError(f"{digest[:100]!r} is not a SHA-256 digest")
    return digest
