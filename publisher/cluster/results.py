"""What a pod hands over: the digest of its platform's manifest, or its failure, as one small JSON document.

It comes by the pod's termination message, and by the target's cache repository, where it outlives pod and Job. Either
was written by a process that had strangers' files before it: what cannot be read is as if there were none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args, get_type_hints

from publisher import errors
from publisher.domain import Platform, Proof
from publisher.errors import EngineError, PublisherError
from publisher.oci.reference import is_digest
from publisher.redaction import redacted

LIMIT = 4096  # bytes of a termination message; Kubernetes cuts off what is more
_LINE, _DETAIL = 1000, 1200  # characters of a failure
_REASON = 300  # characters of a proof, and of what is said
_STATES = get_args(get_type_hints(Proof)["state"])


@dataclass(frozen=True, slots=True)
class Result:
    """A finished platform. `machine`: the architecture that it was built on; `said`: what is left out, for people;
    `sent` and `downloaded` in bytes."""

    digest: str
    machine: str
    proofs: tuple[Proof, ...] = ()
    said: str = ""
    sent: int = 0
    downloaded: int = 0

    def document(self, most: int = _REASON) -> dict[str, Any]:
        """As JSON has it, with texts of at most that many characters."""
        return {
            "digest": self.digest,
            "machine": self.machine,
            "proofs": [[proof.check, proof.state, redacted(proof.reason)[:most]] for proof in self.proofs],
            "said": redacted(self.said)[:most],
            "sent": self.sent,
            "downloaded": self.downloaded,
        }

    @classmethod
    def read(cls, document: Mapping[str, Any], platform: Platform) -> Result | None:
        try:
            digest = document["digest"]
            proofs = tuple(_proof(entry, platform) for entry in document["proofs"])
            sent, downloaded = int(document["sent"]), int(document["downloaded"])
            machine, said = str(document["machine"])[:20], str(document["said"])[:_REASON]
        except (KeyError, TypeError, ValueError):
            return None
        return cls(digest, machine, proofs, said, sent, downloaded) if is_digest(str(digest)) else None


def _proof(entry: Any, platform: Platform) -> Proof:
    check, state, reason = map(str, entry)
    if state not in _STATES:
        raise ValueError(state)
    return Proof(check[:40], platform, cast(Any, state), reason[:_REASON])


def message(result: Result | PublisherError) -> bytes:
    """The termination message, within `LIMIT`."""
    if isinstance(result, Result):
        made = (_encoded({"result": result.document(most)}) for most in (_REASON, _REASON // 3, 0))
        return next(text for text in made if len(text) <= LIMIT)
    failure = {
        "error": type(result).__name__,
        "line": redacted(str(result))[:_LINE],
        "hint": redacted(result.hint)[:_LINE],
        "detail": redacted(result.detail)[-_DETAIL:],
    }
    while len(text := _encoded({"failure": failure})) > LIMIT:
        longest = max(failure, key=lambda name: len(failure[name]))
        failure[longest] = failure[longest][: len(failure[longest]) // 2]
    return text


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode(errors="replace")


def read(text: str, platform: Platform) -> Result | PublisherError | None:
    """What a termination message says; None where it says nothing that is known here."""
    try:
        document = json.loads(text)
        if "result" in document:
            return Result.read(document["result"], platform)
        failure = {key: str(value) for key, value in document["failure"].items()}
        kind = _kinds()[failure["error"]]
        line, hint, detail = failure["line"], failure["hint"], failure["detail"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return kind(line, hint=hint, detail=detail)


def _kinds() -> dict[str, type[PublisherError]]:
    """The errors by their names. Wrong settings of a pod, and its end, are no faults of ours or of the version."""
    found = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    kinds = {name: kind for name, kind in found.items() if issubclass(kind, PublisherError)}
    return kinds | dict.fromkeys(("SettingsError", "StoppedError"), EngineError)
