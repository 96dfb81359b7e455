"""
Tones in G.711 (ITU-T G.711), made once and then only copied: ringback, busy, congestion, 440 Hz.

A source is anything with `Source.frame`: 20 ms of speech by their number. Sources have no state, so one serves all ends.
"""

from __future__ import annotations

import math
from typing import Protocol

RATE = 8000
FRAME = 160
"""Samples, and octets, of 20 ms."""

LAWS = ("PCMU", "PCMA")


class Source(Protocol):
    """Something to be heard."""

    def frame(self, number: int, law: str) -> bytes | None:
        """Give the 20 ms with that number, counted from 0, in ``"PCMU"`` or ``"PCMA"``; None: it is over."""


class Tone:
    """
    Sines, on and off.

    Args:
        frequencies: In Hz; sounded together.
        cadence: Seconds on, off, on, off...; repeated for ever, rounded to 20 ms. Empty: on for ever.
        level: Of each sine, in dBm0.
    """

    def __init__(self, frequencies: tuple[float, ...], cadence: tuple[float, ...] = (), level: float = -13.0) -> None:
        self._frequencies = frequencies
        self._cadence = cadence
        # +3.14 dBm0 (A-law; 3.17 mu-law) is a sine of full scale (G.711 §5).
        self._amplitude = 32635 * 10 ** ((level - 3.14) / 20)
        self._frames: dict[str, list[bytes]] = {}

    def frame(self, number: int, law: str) -> bytes:
        """Give 20 ms."""
        frames = self._frames.get(law)
        if frames is None:
            frames = self._frames[law] = self._make(encode_ulaw if law == "PCMU" else encode_alaw)
        return frames[number % len(frames)]

    def _make(self, encode: _Encoder) -> list[bytes]:
        silence = bytes((encode(0),)) * FRAME
        frames: list[bytes] = []
        # Without cadence one second: whole numbers of Hz come out even.
        for place, seconds in enumerate(self._cadence or (1.0,)):
            count = round(seconds * 50)
            if place % 2:
                frames += [silence] * count
                continue
            frames += [bytes(encode(self._sample(at)) for at in range(n * FRAME, (n + 1) * FRAME)) for n in range(count)]
        return frames

    def _sample(self, at: int) -> int:
        return int(self._amplitude * sum(math.sin(2 * math.pi * hz * at / RATE) for hz in self._frequencies))


class Limited:
    """``source``, cut off after some seconds."""

    def __init__(self, source: Source, seconds: float) -> None:
        self._source = source
        self._frames = round(seconds * 50)

    def frame(self, number: int, law: str) -> bytes | None:
        """Give 20 ms, or None when it is over."""
        return self._source.frame(number, law) if number < self._frames else None


class _Encoder(Protocol):
    def __call__(self, sample: int) -> int: ...


def encode_ulaw(sample: int) -> int:
    """Encode 16-bit linear as mu-law (ITU-T G.711 table 2)."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = magnitude >> (exponent + 3) & 0x0F
    return ~(sign | exponent << 4 | mantissa) & 0xFF


def encode_alaw(sample: int) -> int:
    """Encode 16-bit linear as A-law (ITU-T G.711 table 1)."""
    mask = 0xD5 if sample >= 0 else 0x55
    magnitude = min(sample if sample >= 0 else ~sample, 32767) >> 3
    segment = max(magnitude.bit_length() - 5, 0)
    return (segment << 4 | magnitude >> max(segment, 1) & 0x0F) ^ mask


RINGBACK = Tone((450.0,), (1.0, 4.0))
"""The ringing tone of most of the world, one second in five: ITU-T E.180."""

RINGBACK_US = Tone((440.0, 480.0), (2.0, 4.0), -19.0)

BUSY = Tone((450.0,), (0.35, 0.35))
"""Busy."""

CONGESTION = Tone((450.0,), (0.7, 0.7))
"""No way through."""

CONFIRMATION = Tone((450.0,), (0.1, 0.1))
"""What was asked for has been done."""

A440 = Tone((440.0,))
"""440 Hz without end: to try a line."""
