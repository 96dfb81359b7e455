"""
REGISTERs in a crowd: they wait for each other, and calls go before them.

What comes after a pause finds the processor's caches cold and costs twice as much as the next one of its kind, so in a
crowd it pays to take several in one go; nobody notices that a telephone is registered a fifth of a second later. And
when after a power cut all register at once, the sockets are read between one handful and the next: a call that comes in
the middle does not wait for the thousands before it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from pbx.sip.flow import Flow

REGISTER: Final = b"REGISTER "
"""How the messages begin that belong here."""
WINDOW: Final = 0.2
"""Seconds that one waits for others; far below T1 (RFC 3261 §17.1.1.1), after which it would be sent again."""
CROWD: Final = 8
"""As many in one window are a crowd: those after them wait, and those of the next window. A few telephones never do."""
AT_ONCE: Final = 16
"""Taken before the loop's other business gets its turn; fewer than are read in a turn, or the sockets would fill (`pbx.net.udp`)."""
MOST: Final = 2048
"""So many may wait, which is less than T1 of work; of what comes beyond, a datagram is dropped, for it will be sent again."""
LONGEST: Final = 2048
"""Octets of one that may wait, so that all together hold 4 MiB at most; what is longer is no telephone's, and is taken at once."""


class RegisterQueue:
    """
    What waits, and when it is taken.

    Attributes:
        dropped: How many were dropped because too many waited.

    Args:
        clock: The reactor's.
        take: Takes one message; never raises.
    """

    def __init__(self, clock: IReactorTime, take: Callable[[bytes, Flow, float], None]) -> None:
        self.dropped = 0
        self._clock = clock
        self._take = take
        self._waiting: deque[tuple[bytes, Flow]] = deque()
        self._call: IDelayedCall | None = None
        self._window = 0
        self._count = 0
        self._is_crowd = False

    def add(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one more: at once, or in a crowd soon."""
        window = int(now / WINDOW)
        if window != self._window:
            self._is_crowd = self._count >= CROWD and window == self._window + 1
            self._window, self._count = window, 0
        self._count += 1
        if self._count > CROWD:
            self._is_crowd = True
        waiting = self._waiting
        if not (self._is_crowd or waiting) or len(data) > LONGEST:
            self._take(data, flow, now)
        elif len(waiting) < MOST:
            waiting.append((data, flow))
            if self._call is None:
                self._call = self._clock.callLater(WINDOW, self._go_on)
        elif flow.reliable:
            self._take(data, flow, now)  # it comes once only; while we are at it, no more is read
        else:
            self.dropped += 1

    def stop(self) -> None:
        """Take no more."""
        self._waiting.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _go_on(self) -> None:
        self._call = None
        now, waiting = self._clock.seconds(), self._waiting
        for _ in range(min(AT_ONCE, len(waiting))):
            self._take(*waiting.popleft(), now)
        if waiting:
            self._call = self._clock.callLater(0, self._go_on)

    def __len__(self) -> int:
        return len(self._waiting)
