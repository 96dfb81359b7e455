"""
The breaker of one server: it decides from answers, silence and time whether calls may go there.

Pure: no clock, no chance, nothing sent. What it wants is told to its user as effects (`pbx.sip.effects`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.effects import Arm, Notify

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.sip.effects import Effect

PATIENCE = 4.0
"""Seconds of silence that count as a failure: as long as a call waits for a carrier's server."""
FAILURES = 2
"""Failures in a row after which a server is down."""
AGAIN = 2.0
"""Seconds from a first failure to the next probe."""
MOST = 60.0
"""Seconds from one probe of a server that is down to the next, at most: they double from `PATIENCE`."""

_NOT_THERE = (408, 503)


class State(Enum):
    """What is known of a server."""

    UP = "up"
    DOWN = "down"
    TRYING = "trying"
    """Down, and it is being asked just now."""


@dataclass(frozen=True, slots=True)
class ProbeWanted:
    """Send one: told to the user of a `Breaker`."""


@dataclass(frozen=True, slots=True)
class WentDown:
    """It does not serve any more."""

    why: str


@dataclass(frozen=True, slots=True)
class CameUp:
    """It was down, and has answered."""


class Breaker:
    """
    A machine (`pbx.sip.effects.Machine`).

    While a probe is on its way each `PATIENCE` of silence counts as a failure; its transaction goes on asking, and an answer
    that comes late is an answer. Between probes it waits: the interval while the server is up, longer and longer while not.

    Args:
        user: Gets `ProbeWanted`, `WentDown` and `CameUp`.
        interval: Seconds between probes while it is up.
        jitter: Gives chance, 0 to 1.
        now: Seconds on the driver's clock.

    Attributes:
        state: Up at first: what is unknown is used.
        why: The last failure in words; "" if there was none.
        failed_at: When that was.
    """

    __slots__ = ("_asking", "_failures", "_interval", "_jitter", "_pause", "armed", "deadline", "failed_at", "state", "user", "why")

    standing = True  # its timer belongs to no call (`Clockwork.sizes`)

    def __init__(self, user: Any, interval: float, jitter: Callable[[], float], now: float) -> None:
        self.user = user
        self.state = State.UP
        self.why = ""
        self.failed_at = 0.0
        # Not all of them at the same moment.
        self.deadline: float | None = now + jitter()
        self.armed: float | None = None
        self._interval = interval
        self._jitter = jitter
        self._failures = 0
        self._pause = PATIENCE
        self._asking = False

    def wake(self, now: float) -> list[Effect]:
        """The time has come for a probe, or the last one has been met by silence."""
        if self.deadline is None or now < self.deadline:
            return []
        if self._asking:
            self.deadline = now + PATIENCE  # its transaction goes on asking
            return self._note(f"no answer in {PATIENCE:g} s", now)
        self._asking = True
        self.deadline = now + PATIENCE
        if self.state is State.DOWN:
            self.state = State.TRYING
        return [Arm(self), Notify(self.user, ProbeWanted())]

    def answered(self, status: int, now: float) -> list[Effect]:
        """A final response has come."""
        if status in _NOT_THERE:
            return self.failed(f"it answers {status} {build.REASONS[status]}", now)
        was = self.state
        self.state = State.UP
        self._failures = 0
        self._pause = PATIENCE
        return [*self._ask_in(self._interval, now), *([] if was is State.UP else [Notify(self.user, CameUp())])]

    def failed(self, why: str, now: float) -> list[Effect]:
        """The probe could not be sent, was refused, or its transaction has given up."""
        effects = self._note(why, now)
        if self.state is State.UP:
            return [*self._ask_in(AGAIN, now), *effects]
        self.state = State.DOWN
        pause = self._pause
        self._pause = min(MOST, 2 * pause)
        return [*self._ask_in(pause, now), *effects]

    def stop(self) -> list[Effect]:
        """Ask no more."""
        self.deadline = None
        return [Arm(self)]

    def _note(self, why: str, now: float) -> list[Effect]:
        self.why, self.failed_at = why, now
        self._failures += 1
        if self.state is not State.UP or self._failures < FAILURES:
            return []
        self.state = State.TRYING if self._asking else State.DOWN
        return [Notify(self.user, WentDown(why))]

    def _ask_in(self, seconds: float, now: float) -> list[Effect]:
        self._asking = False
        self.deadline = now + seconds * (0.9 + 0.2 * self._jitter())
        return [Arm(self)]
