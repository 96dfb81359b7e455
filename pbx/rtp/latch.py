"""
The latch: which source a stream is taken from (RFC 4961, RFC 7362 §4).

Strict: one latch an offer/answer. Only packets from addresses that the signalling vouches for may close it, after a
probation (RFC 3550 §A.1), and once closed nothing but that very address and port counts until the next offer/answer.
"""

from __future__ import annotations

from enum import Enum

Source = tuple[str, int]

PROBATION_GAP = 4
"""The second packet of a probation may be so many sequence numbers after the first: one or two may be lost."""

STALE_FOR = 2.0
"""Seconds for which the old source may not latch when a new description moves the stream: its last packets are on their way."""


class Judgement(Enum):
    """What becomes of a packet."""

    REFUSED = "refused"
    ACCEPTED = "accepted"
    LATCHED = "latched"
    """Accepted, and from now on this source is the only one."""


class Latch:
    """Decides from where a stream is taken. Open at first; `reopen` at each offer/answer."""

    __slots__ = ("_candidate", "_candidate_next", "_stale", "_stale_until", "allowed", "closed", "described", "source")

    def __init__(self) -> None:
        self.allowed: frozenset[str] = frozenset()
        """Addresses that may close the latch, from any port."""
        self.described: Source | None = None
        """The address and port in the description: taken at once, before the latch is closed."""
        self.closed = False
        self.source: Source | None = None
        """Where the stream comes from: certain if `closed`, else where it came from before."""
        self._candidate: Source | None = None
        self._candidate_next = 0
        self._stale: Source | None = None
        self._stale_until = 0.0

    def reopen(self, allowed: frozenset[str], described: Source | None, now: float) -> None:
        """
        Open for a new offer/answer.

        If the description is the old one, so is most likely the source: its first packet closes the latch again. If the
        stream was moved, the old source's last packets must not take it.
        """
        if self.described is not None and described != self.described:
            self._stale, self._stale_until = self.source, now + STALE_FOR
            if self._stale == described:
                self._stale = None
            self.source = None
        elif self.source is not None and self.source[0] not in allowed:
            self.source = None
        self.allowed, self.described = allowed, described
        self.closed = False
        self._candidate = None

    def judge(self, source: Source, sequence: int, now: float) -> Judgement:
        """Judge a packet with a plausible header. ``sequence`` is its number, or for what has none -1."""
        if self.closed:
            return Judgement.ACCEPTED if source == self.source else Judgement.REFUSED
        if source == self.source:
            return self._close(source)
        if source[0] not in self.allowed or (source == self._stale and now < self._stale_until):
            return Judgement.REFUSED
        if source == self._candidate and (sequence < 0 or 0 < (sequence - self._candidate_next + 1) & 0xFFFF <= PROBATION_GAP):
            return self._close(source)
        described = source == self.described
        # Two sources that both may latch: the one in the description is not pushed out by the other.
        if described or self._candidate is None or self._candidate != self.described:
            self._candidate, self._candidate_next = source, (sequence + 1) & 0xFFFF
        return Judgement.ACCEPTED if described else Judgement.REFUSED

    def _close(self, source: Source) -> Judgement:
        self.source, self.closed = source, True
        self._candidate = self._stale = None
        return Judgement.LATCHED
