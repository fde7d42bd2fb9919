"""What was proven of an image, in one sentence for people."""

from __future__ import annotations

from collections.abc import Iterable

from publisher.domain import Proof

OFF = "nothing was looked at: the target's proof is off"


def told(proofs: Iterable[Proof]) -> str:
    """All of it, for the status: the platforms of which a check says the same, together."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for proof in proofs:
        said.setdefault((proof.check, proof.state, _short(proof)), []).append(str(proof.platform))
    parts = [
        f"{check} {state} for {', '.join(platforms)}{f' ({why})' if why else ''}"
        for (check, state, why), platforms in said.items()
    ]
    return "; ".join(parts) or OFF


def _short(proof: Proof) -> str:
    """The reason where it says more than the state does: how a prediction was isolated, why nothing was looked at."""
    return "" if proof.check == "binaries" and proof.state == "ok" else proof.reason
