"""
Branches, tags, Call-IDs and first sequence numbers.

The source of chance is handed in. Everything begins with the id of this instance
of the server, so that several processes could tell whose a message is.
"""

from __future__ import annotations

from typing import Final, Protocol


class Randomness(Protocol):
    """``random.Random``, or better ``random.SystemRandom``."""

    def getrandbits(self, k: int, /) -> int: ...


# RFC 3261 §8.1.1.7: says that the branch is unique.
COOKIE: Final = "z9hG4bK"

_AT_ONCE: Final = 1024
"""Digits drawn together."""


class Ids:
    """
    Makes identifiers that nobody can guess, if ``random`` is good.

    Args:
        instance: The id of this server process, a token; it begins every identifier.
        random: The source of chance; tests pass a seeded one.
    """

    __slots__ = ("_bits", "_branch", "_digits", "_place", "instance")

    def __init__(self, instance: str, random: Randomness) -> None:
        self.instance = instance
        self._bits = random.getrandbits
        self._branch = COOKIE + instance
        self._digits = ""  # hexadecimal digits of chance, made by the hundred, and how many of them have been used
        self._place = 0

    def branch(self) -> str:
        """A branch of RFC 3261 §8.1.1.7, with 72 bits of chance."""
        return f"{self._branch}{self._chance(18)}"

    def tag(self) -> str:
        """A tag: RFC 3261 §19.3 asks for 32 bits of chance, this has 64."""
        return f"{self.instance}{self._chance(16)}"

    def call_id(self) -> str:
        """A Call-ID (RFC 3261 §8.1.1.4) that nobody can guess and that does not tell our address."""
        return f"{self.instance}-{self._chance(24)}"

    def cseq(self) -> int:
        """A first CSeq number: below 2**31 with plenty of room above (RFC 3261 §8.1.1.5)."""
        return 1 + self._bits(15)

    def rseq(self) -> int:
        """A first RSeq number, 1 to 2**31 - 1 (RFC 3262 §3), with room above."""
        return 1 + self._bits(30)

    def _chance(self, count: int) -> str:
        """``count`` hexadecimal digits that nobody has had before."""
        begin, end = self._place, self._place + count
        if end > len(self._digits):
            self._digits = f"{self._bits(4 * _AT_ONCE):0{_AT_ONCE}x}"
            begin, end = 0, count
        self._place = end
        return self._digits[begin:end]
