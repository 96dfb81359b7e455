"""
Reliable provisional responses: what RFC 3262 has each side remember.

`ReliableResponses` belongs to the UAS of an INVITE: one response is out at a time and repeated until its PRACK comes,
the others wait their turn. `EarlyDialog` belongs to the UAC, one for each To tag that it has heard of.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from pbx.sip.errors import ParseError
from pbx.sip.headers import parse_number, parse_rack

if TYPE_CHECKING:
    from pbx.sip.dialog import Dialog
    from pbx.sip.message import Request, Response

TAG: Final = "100rel"
"""The option tag (RFC 3262 §8.1)."""
_MOST_WAITING = 16
"""Responses that wait for the PRACK to the one before; a callee that says more is not worth the memory."""


class Due(Enum):
    """What the time calls for."""

    RESEND = "resend"
    GIVE_UP = "give up"
    """64*T1 without a PRACK: the INVITE is to be refused with a 5xx (RFC 3262 §3)."""


class Provisional(NamedTuple):
    """What is to be sent: status, session description, further header lines."""

    status: int
    sdp: str | None
    extra: str


class ReliableResponses:
    """The UAS side, for one INVITE (RFC 3262 §3)."""

    __slots__ = ("_cseq", "_give_up_at", "_interval", "_rseq", "_t1", "answered", "out", "resend_at", "waiting")

    def __init__(self, first: int, cseq: int, t1: float) -> None:
        """
        Args:
            first: The RSeq of the first one, 1 to 2**31 - 1.
            cseq: CSeq number of the INVITE.
            t1: Seconds.
        """
        self._rseq = first - 1
        self._cseq = cseq
        self._t1 = self._interval = t1
        self._give_up_at = 0.0
        self.resend_at = 0.0
        self.out: tuple[Provisional, bytes] | None = None
        """What is out and not acknowledged: what it says, and its octets."""
        self.waiting: deque[Provisional] = deque()
        self.answered = False
        """Whether a session description of ours has been acknowledged: it was the answer, and counts (§5)."""

    @property
    def withholds_answer(self) -> bool:
        """Whether a 2xx must wait: what is out has a session description (§3)."""
        return self.out is not None and self.out[0].sdp is not None

    def next_rseq(self) -> int:
        """The number of the next one."""
        self._rseq += 1
        return self._rseq

    def sent(self, what: Provisional, data: bytes, now: float) -> None:
        """It is out now."""
        self.out = what, data
        self._interval = self._t1
        self.resend_at = now + self._t1
        self._give_up_at = now + 64 * self._t1

    def wait(self, what: Provisional) -> None:
        """It is to be sent when its turn comes."""
        if len(self.waiting) < _MOST_WAITING:
            self.waiting.append(what)

    def due(self, now: float) -> Due | None:
        """What is to be done at ``now``; the wait doubles each time."""
        if self.out is None or now < self.resend_at:
            return None
        if now >= self._give_up_at:
            return Due.GIVE_UP
        self._interval *= 2
        self.resend_at = min(now + self._interval, self._give_up_at)
        return Due.RESEND

    def acknowledged(self, prack: Request) -> bool:
        """Take in a PRACK; False: its RAck is not that of the response that is out (481)."""
        try:
            rack = parse_rack(prack.one("rack", "RAck"))
        except ParseError:
            return False
        if self.out is None or (rack.rseq, rack.cseq, rack.method) != (self._rseq, self._cseq, "INVITE"):
            return False
        self.answered = self.answered or self.out[0].sdp is not None
        self.out = None
        return True


class EarlyDialog:
    """One early dialog of our INVITE, which somebody may have forked (RFC 3261 §12.1, RFC 3262 §4)."""

    __slots__ = ("answered", "dialog", "refuses_prack", "response", "rseq")

    def __init__(self, response: Response) -> None:
        self.response = response
        """The first one of it."""
        self.dialog: Dialog | None = None
        """Once something has been sent within it, or has come."""
        self.rseq = 0
        """Of the last reliable response that was taken in; 0: none yet."""
        self.refuses_prack = False
        """It has answered a PRACK with 405 or 501: it gets no more of them, and goes on."""
        self.answered = False
        """Whether a reliable response has answered our offer."""

    def takes(self, response: Response) -> bool:
        """
        Note the RSeq of a reliable response.

        Returns:
            False for one that has come before, and for one whose predecessor has not: that comes again (§4).
        """
        rseq = rseq_of(response)
        if self.rseq and rseq != self.rseq + 1:
            return False
        self.rseq = rseq
        return True


def rseq_of(response: Response) -> int:
    """The RSeq of a response that is reliable; 0 for any other, and for one whose RSeq cannot be read."""
    if "rseq" not in response.headers or not response.lists("require", TAG):
        return 0
    try:
        return parse_number(response.headers["rseq"][0], "RSeq")
    except ParseError:
        return 0
