"""A manifest out of an answer: bounded, its bytes held against the digest, its kind known."""

from __future__ import annotations

import requests
import urllib3

from publisher.errors import RegistryError, TransferError
from publisher.oci import paced
from publisher.oci.answers import discard, unreachable
from publisher.oci.layout import INDEX_TYPES, MANIFEST_TYPES, Descriptor, decode, digest_of
from publisher.oci.reference import is_digest
from publisher.oci.retries import AgainError

KINDS = (*INDEX_TYPES, *MANIFEST_TYPES)
_LIMIT = 8 << 20  # bytes; registries refuse more than 4 MiB


def read_manifest(
    response: requests.Response, host: str, name: str, reference: str
) -> tuple[Descriptor, bytes]:
    """The manifest `reference` of the repository `name`. Raises RegistryError, and AgainError where its bytes
    are not those of the digest."""
    try:
        content = paced.read(response.raw, _LIMIT + 1)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise unreachable(host, error) from None
    discard(response)
    place = f"{host}/{name} {reference}"
    if len(content) > _LIMIT:
        raise RegistryError(f"the manifest {place} is larger than {_LIMIT >> 20} MiB")
    expected = response.headers.get("Docker-Content-Digest", "")
    expected = reference if is_digest(reference) else expected
    if is_digest(expected) and digest_of(content) != expected:
        raise AgainError(TransferError(f"the manifest {place} is not what its digest says"))
    return Descriptor.of(_kind(response, content, place), content), content


def _kind(response: requests.Response, content: bytes, place: str) -> str:
    """The media type of a manifest: as it was sent, or where that says nothing, as the manifest says."""
    sent = response.headers.get("Content-Type", "").partition(";")[0].strip()
    try:
        kind = sent if sent in KINDS else decode(content).get("mediaType")
    except (ValueError, AttributeError):
        kind = None
    if kind not in KINDS:
        raise RegistryError(
            f"{place} is not a manifest that is known here, but {kind or sent or 'something else'}"
        )
    return str(kind)
