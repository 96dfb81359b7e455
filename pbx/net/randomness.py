"""Chance for identifiers and ports: the system's, taken by the kilobyte, since each question to the system costs two microseconds."""

from __future__ import annotations

import os
from random import Random

_AT_ONCE = 4096


class SystemChance(Random):
    """As ``random.SystemRandom``, and as good, from a buffer of the system's randomness."""

    def __init__(self) -> None:
        super().__init__()
        self._buffer = b""
        self._place = 0

    def getrandbits(self, k: int, /) -> int:
        """``k`` random bits as a number."""
        size = (k + 7) >> 3
        end = self._place + size
        if end > len(self._buffer):
            self._buffer = os.urandom(max(size, _AT_ONCE))
            self._place, end = 0, size
        found = int.from_bytes(self._buffer[self._place : end], "big")
        self._place = end
        return found >> (size * 8 - k)

    def random(self) -> float:
        """A number in [0, 1)."""
        return self.getrandbits(53) * 2.0**-53

    def seed(self, *_: object, **__: object) -> None:
        """Nothing: chance is the system's."""
