"""When a request is worth another try, and how long to wait for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from publisher.errors import PublisherError

T = TypeVar("T")

# 500 too: registries give it while their storage behind them is busy. 501 and the like stay as they are.
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})


class AgainError(Exception):
    """A fault that another try may mend. `fault` is what the user hears when no try is left.

    `after`: seconds that the registry asked for. `absent`: nothing answered at all.
    """

    def __init__(self, fault: PublisherError, *, after: float | None = None, absent: bool = False) -> None:
        super().__init__(str(fault))
        self.fault = fault
        self.after = after
        self.absent = absent


@dataclass(frozen=True, slots=True)
class Retries:
    """Bounds, waits in seconds. A registry that has never answered gets `absent_seconds` in all."""

    tries: int = 5
    first_wait: float = 0.5
    longest_wait: float = 20.0
    longest_asked: float = 60.0  # of a Retry-After; who asks for more is not asked again
    absent_seconds: float = 2.5

    def run(self, attempt: Callable[[], T], *, answered: Callable[[], bool]) -> T:
        """Call `attempt` until it returns; raises the fault of the last AgainError, or what else it raises.

        `answered` tells whether the registry has ever answered: a wrong host name is told within seconds,
        a registry that restarts in the middle of a push is waited for.
        """

        def stop(state: RetryCallState) -> bool:
            if state.attempt_number >= self.tries or (_again(state).after or 0.0) > self.longest_asked:
                return True
            elapsed = state.seconds_since_start or 0.0
            return _again(state).absent and not answered() and elapsed + self.first_wait > self.absent_seconds

        def wait(state: RetryCallState) -> float:
            again = _again(state)
            if again.after is not None:
                # Jitter only upwards: earlier than asked would be refused again.
                return again.after + random.uniform(0, self.first_wait)  # noqa: S311
            if again.absent and not answered():
                return self.first_wait
            grown = min(self.first_wait * 2.0 ** (state.attempt_number - 1), self.longest_wait)
            return grown * random.uniform(0.5, 1.0)  # noqa: S311

        def give_up(state: RetryCallState) -> T:
            raise _again(state).fault from None

        return Retrying(
            stop=stop,
            wait=wait,
            retry=retry_if_exception_type(AgainError),
            retry_error_callback=give_up,
        )(attempt)


def retry_after(value: str | None) -> float | None:
    """Seconds of a ``Retry-After`` header, in seconds or as a date; None where there is none to be read."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _again(state: RetryCallState) -> AgainError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, AgainError):
        raise TypeError("only an AgainError is tried again")
    return error
