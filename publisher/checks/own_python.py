"""The image's own Python, run out of the image's layers, shut in, without a container engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from publisher.domain import Platform
from publisher.oci.layout import Layout

Ended = Literal["exit", "signal", "time", "memory", "processes", "output"]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended. `returncode`: None where it was ended by us; negative, the number of a signal.

    `said`: the end of what it printed, a few kB, without credentials and control characters. `answer`: the bytes
    that it wrote to the descriptor 3, 16 MiB at most. `seconds`: by the clock on the wall.
    """

    returncode: int | None
    ended: Ended
    said: str
    answer: bytes
    seconds: float


class Root(Protocol):
    """An image of one platform, unpacked, with its own Python."""

    @property
    def isolation(self) -> str:
        """For people and the status: how what runs here is shut in."""
        ...

    @property
    def shut_in(self) -> bool:
        """Whether it sees neither files of this machine nor a network."""
        ...

    def path(self, inside: str) -> str:
        """How a program that runs here calls the absolute path `inside` of the image."""
        ...

    def run(
        self, script: bytes, arguments: Sequence[str], *, environment: Mapping[str, str], seconds: float
    ) -> Ran:
        """Run `script` (128 KB at most) with the image's Python, as ``python -c``.

        `arguments` are ``sys.argv[1:]``. Its variables are those of the image's config, and `environment` over them;
        its folder is the image's working directory.
        """
        ...


class Roots(Protocol):
    """Unpacks images, each layer of an environment once."""

    def why_not(self, platform: Platform, *, emulate: bool) -> str:
        """Why programs for `platform` cannot be run on this machine; empty where they can."""
        ...

    def open(
        self, layout: Layout, platform: Platform, manifest: str, *, emulate: bool
    ) -> AbstractContextManager[Root]:
        """The image whose manifest has the digest `manifest`. Raises BuildError where it cannot be unpacked or has
        no Python: another check tells the fault, this one cannot look."""
        ...
