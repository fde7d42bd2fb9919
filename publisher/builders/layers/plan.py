"""Which wheels become which layers: large ones one each, small ones joined. Pure, and by content alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from publisher.builders.layers.slim import RULES_VERSION
from publisher.domain import BaseImage, Lock, Wheel

# Raised when the bytes that we make of the same inputs change, so that old caches are not taken for new ones.
RECIPE = 1
_LARGE = 256 << 10  # bytes: 30 of 88 wheels of a scikit-learn model, and 97 % of their bytes
_MOST = 80  # layers for wheels: images may have about 127 in all


@dataclass(frozen=True, slots=True)
class Group:
    """Wheels that become one layer; `title` says which, for people."""

    title: str
    wheels: tuple[Wheel, ...]

    def key(self, python: str, *, slim: bool = False) -> str:
        """What the layer's bytes depend on: the wheels, where Python looks for them, and what is left out."""
        return key_of("wheels", python, [wheel.sha256 for wheel in self.wheels], *_slimmed(slim))


def key_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps([RECIPE, *parts]).encode()).hexdigest()


def _slimmed(slim: bool) -> list[object]:
    return ["slim", RULES_VERSION] if slim else []


def environment_key(lock: Lock, base: BaseImage, *, bytecode: bool, slim: bool = False) -> str:
    """The name under which all environment layers of a lock are remembered."""
    parts = [lock.digest, base.python, base.executable, bytecode, *_slimmed(slim)]
    return "env-" + key_of("environment", *parts)


def groups(lock: Lock) -> list[Group]:
    """The layers of a lock's wheels, in their order in the image."""
    threshold = _LARGE
    while sum(wheel.size >= threshold for wheel in lock.wheels) > _MOST:
        threshold *= 2
    large = [wheel for wheel in lock.wheels if wheel.size >= threshold]
    small = [wheel for wheel in lock.wheels if wheel.size < threshold]
    joined = [
        Group(f"{len(some)} small {kind} packages", tuple(some))
        for kind, some in (
            ("pure", [wheel for wheel in small if wheel.pure]),
            ("native", [wheel for wheel in small if not wheel.pure]),
        )
        if some
    ]
    return joined + [Group(f"{wheel.name} {wheel.version}", (wheel,)) for wheel in large]
