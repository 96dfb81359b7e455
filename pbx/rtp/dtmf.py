"""
Telephone events: RFC 4733, the sixteen keys.

A pressed key comes as many packets with one timestamp, the last one three times with the end bit (§2.5.1.4); any of them
may be lost. It is reported once, when it ends: at the first end packet, or, if all of those were lost, when the next
event begins or `DigitReceiver.give_up` finds that nothing more comes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

KEYS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733 §3.2)."""

LOST_AFTER = 0.5
"""Seconds without another packet after which a key counts as released."""

_PAYLOAD = struct.Struct("!BBH")
_END = 0x80


class Digit(NamedTuple):
    """A key that was pressed and released."""

    key: str
    """One of `KEYS`."""
    duration: float
    """Seconds."""


class DigitReceiver:
    """Puts the packets of one stream together to keys."""

    __slots__ = ("_duration", "_event", "_heard_at", "_over", "_rate", "_timestamp")

    def __init__(self, clock_rate: float = 8000.0) -> None:
        self._rate = clock_rate
        self._event = 0
        self._timestamp = -1
        self._duration = 0
        self._over = True
        self._heard_at = 0.0

    @property
    def pressed(self) -> bool:
        """A key is down, as far as is known."""
        return not self._over

    def receive(self, payload: memoryview | bytes, timestamp: int, now: float) -> list[Digit]:
        """
        Take a packet; the keys that are thereby over: mostly none, at most two.

        Args:
            payload: Of the RTP packet; one that is too short or no key is ignored.
            timestamp: Of the RTP packet: when the key was pressed.
            now: Seconds.
        """
        if len(payload) < _PAYLOAD.size:
            return []
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        if event >= len(KEYS):
            return []
        over = []
        if timestamp != self._timestamp:
            if self._timestamp >= 0 and (self._timestamp - timestamp) & 0xFFFFFFFF < 0x80000000 and not self._longer(timestamp, event):
                return []  # a late packet of a key that is over
            if not self._over:
                over.append(self._digit())
            self._event, self._timestamp, self._duration, self._over = event, timestamp, 0, False
        self._heard_at = now
        self._duration = max(self._duration, duration)
        if flags & _END and not self._over:
            self._over = True
            over.append(self._digit())
        return over

    def give_up(self, now: float) -> list[Digit]:
        """Give the key that is down if nothing has come for `LOST_AFTER` seconds: its end was lost."""
        if self._over or now - self._heard_at < LOST_AFTER:
            return []
        self._over = True
        return [self._digit()]

    def _longer(self, timestamp: int, event: int) -> bool:
        """A sender that begins anew, with other timestamps, may come out behind the last one: far behind is not late."""
        return (self._timestamp - timestamp) & 0xFFFFFFFF > 10 * self._rate

    def _digit(self) -> Digit:
        return Digit(KEYS[self._event], self._duration / self._rate)


def payloads(key: str, duration: float, *, clock_rate: float = 8000.0, step: float = 0.02, volume: int = 10) -> list[bytes]:
    """
    Make the payloads for one key, one each ``step`` seconds, all under the timestamp of the first (RFC 4733 §2.5.1).

    The last one is there three times (§2.5.1.4). The first packet wants the marker (§2.5.1.1).

    Args:
        key: One of `KEYS`.
        duration: Seconds; at least one step, at most 65535 timestamps (§2.3.5).
        clock_rate: Timestamps a second.
        step: Seconds between two packets.
        volume: Power, in -dBm0, 0 to 63 (§2.3.4).

    Raises:
        ValueError: ``key`` is none of `KEYS`.
    """
    event = KEYS.index(key)
    each = int(step * clock_rate)
    last = min(max(int(duration * clock_rate), each), 0xFFFF)
    steps = [*range(each, last, each), last]
    made = [_PAYLOAD.pack(event, volume, length) for length in steps[:-1]]
    return made + [_PAYLOAD.pack(event, volume | _END, last)] * 3
