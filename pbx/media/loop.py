"""
The loop: one reader of the reactor over an epoll of its own that watches all media sockets.

Here is the life of an ordinary packet, in `MediaLoop.relay`: read into one buffer, four header fields, one table look-up,
count, send. No copy, no allocation but numbers, no dictionary, no call of ours; the accept check is the kernel's, for a
settled socket is connected. All else goes aside: to `Stream.irregular` or, for sockets that are not settled, to
`RtpPort.read`. Whoever opens, latches and closes puts the right reader at the socket's number, see `MediaLoop.readers`.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from pbx.rtp.packet import HEADER, HEADER_SIZE, ORDINARY

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorFDSet
    from twisted.python.failure import Failure

    from pbx.net.rtp_port import RtpPort
    from pbx.rtp.stream import Stream

LARGEST = 2048
"""Octets of the buffer. A datagram that fills it may have been cut off, and is dropped."""

BURST = 64
"""Packets of one look at the sockets: under a millisecond of work."""

CLOSE = 0.0005
"""Mean seconds between packets, as with 20 calls, below which it is cheaper to wait here for the next than to go round the reactor."""

WAIT = 0.001
"""Seconds of that waiting: the shortest that epoll knows."""

DENSE = 0.00007
"""Mean seconds between packets, as with 150 calls, below which some are let gather: one look and one waking serves them all."""

GATHER = 0.0001
"""Seconds in which they gather; the timer slack of Linux adds half as much."""

STAY = 0.0005
"""Seconds after which a call of the reactor ends in any case; it may last one `WAIT` and one burst longer."""

_PAUSE = 2 * CLOSE
"""Seconds that a longer gap counts as: the mean is soon itself again after it."""
_SHARE = 0.05
"""Of the last gap in the mean."""


class Nobody:
    """Stands where no socket is: an event for one that was closed a moment ago."""

    __slots__ = ()

    kinds = None

    def read(self, now: float) -> bool:
        """Nothing to read."""
        return False


NOBODY = Nobody()


class Switchboard:
    """What reads which socket, and the one buffer; `relay` does the work. No sockets, no reactor: also the test's loop."""

    def __init__(self, log: Logger | None = None) -> None:
        self.readers: list[Stream | RtpPort | Nobody] = []
        """By descriptor: a settled stream, else the port itself."""
        self.buffer = bytearray(LARGEST)
        whole = memoryview(self.buffer)
        # A slice made beforehand for each size: cheaper than making one a packet.
        self.views = [whole[:size] for size in range(LARGEST + 1)]
        """``views[n]`` are the first n octets of the buffer."""
        self.broken = 0
        """Packets that raised; each is logged."""
        self._log = log or Logger()

    def watch(self, port: RtpPort) -> None:
        """Read ``port`` from now on, until `forget`."""
        short = port.fd + 1 - len(self.readers)
        if short > 0:
            self.readers.extend([NOBODY] * short)
        self.readers[port.fd] = port

    def forget(self, port: RtpPort) -> None:
        """Do not read ``port`` any more; before it is closed."""
        self.readers[port.fd] = NOBODY

    def relay(self, events: list[tuple[int, int]], now: float) -> None:
        """
        Read one packet of each socket in ``events`` and do with it what is to be done. Never raises.

        Should some code behind a packet raise, that is logged; the sockets behind it are still ready, and come again.

        Args:
            events: Descriptors, each with an event mask that is not looked at.
            now: The time of arrival that counts for all of them, in seconds.
        """
        readers = self.readers
        buffer = self.buffer
        views = self.views
        header = HEADER.unpack_from
        try:
            for fd, _ in events:
                # Only a stream has kinds, and then the rest of it too: Any, for nothing may be asked here to prove it.
                stream: Any = readers[fd]
                kinds = stream.kinds
                if kinds is None:
                    stream.read(now)
                    continue
                try:
                    size = stream.receive(buffer)
                except OSError:
                    # Nothing there after all, or an ICMP error of an earlier packet, which is hereby taken.
                    stream.receive_errors += 1
                    continue
                flags, second, sequence, stamp = header(buffer)
                if kinds[second] != ORDINARY or flags >> 6 != 2 or size < HEADER_SIZE or size == LARGEST:
                    stream.irregular(size, now)
                    continue
                stream.packets += 1
                stream.octets += size
                if sequence == stream.next_sequence:
                    # RFC 3550 §A.8, in place: `Stream.measure`.
                    stream.next_sequence = sequence + 1
                    rate = stream.clock_rate
                    transit = now * rate - stamp
                    difference = transit - stream.transit
                    stream.transit = transit
                    if difference < 0.0:
                        difference = -difference
                    if difference < rate:
                        stream.jitter += (difference - stream.jitter) * 0.0625
                else:
                    stream.out_of_order(sequence, stamp, now)
                try:
                    stream.forward(views[size])
                except OSError:
                    stream.unsent += 1
        except Exception:
            self.broken += 1
            self._log.failure("a media packet broke its call's code")


@implementer(IReadDescriptor)
class MediaLoop(Switchboard):
    """The loop on real sockets. `start` puts it on the reactor."""

    def __init__(
        self,
        reactor: IReactorFDSet,
        log: Logger | None = None,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        super().__init__(log)
        self._reactor = reactor
        self._seconds = seconds
        self._sleep = sleep
        self._read_at = 0.0
        self._gap = _PAUSE
        self._epoll = select.epoll()
        self._poll = self._epoll.poll
        self._fd = self._epoll.fileno()

    def start(self) -> None:
        """Begin to read."""
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Read no more; the sockets are their owners' to close."""
        self._reactor.removeReader(self)
        self._epoll.close()

    def watch(self, port: RtpPort) -> None:
        super().watch(port)
        self._epoll.register(port.fd, select.EPOLLIN)

    def forget(self, port: RtpPort) -> None:
        super().forget(port)
        if not self._epoll.closed:
            self._epoll.unregister(port.fd)

    def doRead(self) -> None:
        """Called by the reactor when a socket has something. Where packets are `CLOSE` or `DENSE` it stays for more."""
        now = began = self._seconds()
        wait = 0.0
        while events := self._poll(wait, BURST):
            self.relay(events, now)
            self._gap += (min(now - self._read_at, _PAUSE) / len(events) - self._gap) * _SHARE
            self._read_at = now
            if self._gap > CLOSE or len(events) == BURST or now - began > STAY:
                break
            if self._gap < DENSE:
                self._sleep(GATHER)
                wait = 0.0
            else:
                wait = WAIT
            now = self._seconds()

    def fileno(self) -> int:
        """The descriptor that the reactor watches."""
        return self._fd

    def logPrefix(self) -> str:
        """Name in Twisted's log."""
        return "media"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped."""
