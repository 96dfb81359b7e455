"""
The pool of bound port pairs: RTP on an even port, RTCP on the next (RFC 3550 §11).

Ports are opened in random order, when they are wanted, and stay open, bound and watched by the loop from one call to the
next: so a call set up costs no system call here, and what still comes for a freed port is read by the loop and forgotten.
A freed pair rests before the next call may have it; then it is drawn by chance among those that have rested.
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Protocol

from pbx.interfaces import MediaUnavailable
from pbx.net.rtp_port import Datagrams, RtpPort, open_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbx.media.loop import Switchboard

HOLD_DOWN = 2.0
"""Seconds that a freed pair rests while there are others."""

LEAST_HOLD_DOWN = 1.0
"""Seconds that it rests in any case: by then even a phone that was late to hear of the end has stopped."""

WILDCARDS = {4: "0.0.0.0", 6: "::"}  # noqa: S104  (for an address that we show but that our router has)

_TRIES = 32


class Chance(Protocol):
    """The part of ``random.Random`` that is needed."""

    def shuffle(self, x: list[int], /) -> None: ...
    def randrange(self, stop: int, /) -> int: ...
    def getrandbits(self, k: int, /) -> int: ...


class PortPair:
    """Two bound sockets on an even port and the next."""

    __slots__ = ("freed_at", "rtcp", "rtp")

    def __init__(self, rtp: RtpPort, rtcp: RtpPort) -> None:
        self.rtp = rtp
        self.rtcp = rtcp
        self.freed_at = 0.0


class _Shelf:
    """The pairs of one local address."""

    __slots__ = ("bind_to", "rested", "resting", "unopened")

    def __init__(self, bind_to: str, unopened: list[int]) -> None:
        self.bind_to = bind_to
        self.unopened = unopened
        self.resting: deque[PortPair] = deque()
        self.rested: list[PortPair] = []


class Ports:
    """
    Gives out pairs of bound ports.

    Args:
        loop: Watches every port that is opened.
        first_port: The first RTP port; even.
        last_port: The last port, inclusive.
        seconds: The time.
        chance: Decides the order of the ports.
        open_socket: Binds a socket; tests have another.
    """

    def __init__(
        self,
        loop: Switchboard,
        first_port: int,
        last_port: int,
        seconds: Callable[[], float],
        chance: Chance,
        open_socket: Callable[[str, int], Datagrams] = open_socket,
    ) -> None:
        self._loop = loop
        self._numbers = range(first_port + (first_port & 1), last_port, 2)
        self._seconds = seconds
        self._chance = chance
        self._open_socket = open_socket
        self._shelves: dict[str, _Shelf] = {}
        self.in_use = 0
        """Pairs that calls have."""
        self.opened = 0
        """Pairs that are open."""
        self.exhausted = 0
        """How often there was none left."""

    @property
    def in_hold_down(self) -> int:
        """Pairs that rest."""
        now = self._seconds()
        return sum(1 for shelf in self._shelves.values() for pair in shelf.resting if now - pair.freed_at < HOLD_DOWN)

    def take(self, address: str) -> PortPair:
        """
        Give a pair on ``address``; if that is not an address of ours (but our router's), on all addresses of its family.

        Raises:
            MediaUnavailable: All are in use or have not rested yet, or the system gives no more sockets.
        """
        shelf = self._shelves.get(address)
        if shelf is None:
            shelf = self._shelves[address] = self._new_shelf(address)
        now = self._seconds()
        resting = shelf.resting
        while resting and now - resting[0].freed_at >= HOLD_DOWN:
            shelf.rested.append(resting.popleft())
        if shelf.rested:
            pair = self._draw(shelf.rested)
        else:
            opened = self._open(shelf)
            if opened is not None:
                pair = opened
            elif resting and now - resting[0].freed_at >= LEAST_HOLD_DOWN:
                pair = resting.popleft()
            else:
                self.exhausted += 1
                raise MediaUnavailable(f"no port left on {address}: {self.in_use} pairs in use, {len(resting)} not rested yet")
        pair.rtp.dissolve()
        pair.rtcp.dissolve()
        self.in_use += 1
        return pair

    def give_back(self, address: str, pair: PortPair) -> None:
        """Take a pair back; ``address`` as in `take`. What comes for it from now on is read and forgotten."""
        pair.rtp.user = pair.rtcp.user = None
        pair.freed_at = self._seconds()
        self._shelves[address].resting.append(pair)
        self.in_use -= 1

    def close(self) -> None:
        """Close all pairs that nobody has."""
        for shelf in self._shelves.values():
            for pair in (*shelf.resting, *shelf.rested):
                self._close(pair)
            shelf.resting.clear()
            shelf.rested.clear()

    def _new_shelf(self, address: str) -> _Shelf:
        unopened = list(self._numbers)
        self._chance.shuffle(unopened)
        return _Shelf(address, unopened)

    def _draw(self, pairs: list[PortPair]) -> PortPair:
        place = self._chance.randrange(len(pairs))
        pair = pairs[place]
        pairs[place] = pairs[-1]
        pairs.pop()
        return pair

    def _open(self, shelf: _Shelf) -> PortPair | None:
        """Open the next pair; None if there is none left to open. Ports that others have are left to them."""
        for _ in range(_TRIES):
            if not shelf.unopened:
                return None
            number = shelf.unopened.pop()
            try:
                return self._open_pair(shelf.bind_to, number)
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL and shelf.bind_to not in WILDCARDS.values():
                    shelf.bind_to = WILDCARDS[6 if ":" in shelf.bind_to else 4]
                    shelf.unopened.append(number)
                elif error.errno == errno.EADDRINUSE:
                    # Tried again when all others are in use: whoever has it now may be gone by then.
                    shelf.unopened.insert(0, number)
                else:
                    shelf.unopened.append(number)
                    return None
        return None

    def _open_pair(self, address: str, number: int) -> PortPair:
        even = self._open_socket(address, number)
        try:
            odd = self._open_socket(address, number + 1)
        except OSError:
            even.close()
            raise
        pair = PortPair(RtpPort(even, number, self._loop.buffer), RtpPort(odd, number + 1, self._loop.buffer))
        self._loop.watch(pair.rtp)
        self._loop.watch(pair.rtcp)
        self.opened += 1
        return pair

    def _close(self, pair: PortPair) -> None:
        for port in (pair.rtp, pair.rtcp):
            self._loop.forget(port)
            port.close()
        self.opened -= 1
