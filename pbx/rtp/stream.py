"""
One stream of RTP that comes to us: what is counted of it, and where it goes on to (RFC 3550 §6.4.1, §A.1, §A.8).

The counters are plain slots because the ordinary path (`pbx.media.loop`) adds to them itself, without a call: sequence
number as expected, jitter, packets, octets. All that is not as expected comes to `out_of_order`. Nothing here knows of
sockets: `receive` and `forward` are callables that others put here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_DROPOUT = 3000
"""A gap of fewer sequence numbers is loss, a larger one a new beginning (RFC 3550 §A.1)."""

MAX_MISORDER = 100
"""A packet that is at most so late is late, not a new beginning (RFC 3550 §A.1)."""

JITTER_GAIN = 0.0625
"""RFC 3550 §6.4.1: ``J += (|D| - J) / 16``."""


def discard(packet: memoryview) -> None:
    """Where a stream goes that goes nowhere."""


class Stream:
    """The packets of one stream as they arrive. Its owner decides what is accepted, see `pbx.rtp.latch`."""

    __slots__ = (
        "clock_rate",
        "forward",
        "irregular",
        "jitter",
        "kinds",
        "lost",
        "next_sequence",
        "octets",
        "packets",
        "receive",
        "receive_errors",
        "refused",
        "started",
        "transit",
        "unsent",
    )

    def __init__(self, receive: Callable[[bytearray], int], irregular: Callable[[int, float], None]) -> None:
        self.kinds: bytes = b""
        """What each second byte means: `pbx.rtp.packet.kinds_of`."""
        self.receive = receive
        """Reads one packet into the buffer it is given; its size."""
        self.irregular = irregular
        """Told of a packet in the buffer, by size and time, that is not ordinary media."""
        self.forward: Callable[[memoryview], Any] = discard
        """Where each accepted packet goes."""
        self.clock_rate = 8000.0
        """Timestamps a second."""
        self.started = False
        self.next_sequence = -1
        """The sequence number expected next, 1 to 65536: one past the highest yet; -1: any."""
        self.transit = 0.0
        """Arrival less timestamp of the last packet, in timestamps, with an unknown but constant offset."""
        self.jitter = 0.0
        """Interarrival jitter in timestamps (RFC 3550 §6.4.1)."""
        self.packets = 0
        """Accepted packets, late ones and duplicates included."""
        self.octets = 0
        """Their octets, RTP header included."""
        self.lost = 0
        """Expected less received; duplicates can make it negative (RFC 3550 §A.3)."""
        self.refused = 0
        """Packets dropped: not RTP, not agreed on, or from a stranger."""
        self.unsent = 0
        """Packets that were accepted and could not be sent on."""
        self.receive_errors = 0

    def out_of_order(self, sequence: int, stamp: int, now: float) -> None:
        """Account for a packet whose number is not the next one: the first, after a gap, late, or a new beginning."""
        if not self.started:
            self.started = True
            self._begin(sequence, stamp, now)
            return
        ahead = (sequence - self.next_sequence) & 0xFFFF
        if ahead < MAX_DROPOUT:
            # 0 is no gap: the number after 65535 has come.
            self.lost += ahead
            self.next_sequence = sequence + 1
        elif ahead >= 0x10000 - MAX_MISORDER:
            self.lost -= 1
        else:
            self._begin(sequence, stamp, now)
            return
        self.measure(stamp, now)

    def restarted(self) -> None:
        """A new source is going to come: its first number is no loss."""
        self.started = False
        self.next_sequence = -1

    def measure(self, stamp: int, now: float) -> None:
        """Bring the jitter up to date. A jump of a second or more is a new beginning of the timestamps, not jitter."""
        transit = now * self.clock_rate - stamp
        difference = abs(transit - self.transit)
        self.transit = transit
        if difference < self.clock_rate:
            self.jitter += (difference - self.jitter) * JITTER_GAIN

    def count(self, sequence: int, stamp: int, size: int, now: float) -> None:
        """Count an accepted packet, as the ordinary path does it in place."""
        self.packets += 1
        self.octets += size
        if sequence == self.next_sequence:
            self.next_sequence = sequence + 1
            self.measure(stamp, now)
        else:
            self.out_of_order(sequence, stamp, now)

    @property
    def jitter_ms(self) -> float:
        """The jitter in milliseconds."""
        return self.jitter * 1000.0 / self.clock_rate

    def _begin(self, sequence: int, stamp: int, now: float) -> None:
        self.next_sequence = sequence + 1
        self.transit = now * self.clock_rate - stamp
