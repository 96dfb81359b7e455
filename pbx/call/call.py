"""
A call: a set of legs, and the attempts made for them.
"""

from __future__ import annotations

from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any

from pbx.call.record import LegRecord, Record
from pbx.call.verdict import Outcome, Trace

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from pbx.call.dialing import Attempt
    from pbx.call.diversion import Diversion
    from pbx.call.exchange import Exchange
    from pbx.call.leg import Leg
    from pbx.call.origination import Originated
    from pbx.call.peer import Caller, Peer
    from pbx.call.redirection import Redirection
    from pbx.sip.uri import Uri


class Phase(Enum):
    """How far a call is."""

    ROUTING = "routing"
    RINGING = "ringing"
    TALKING = "talking"
    ENDING = "ending"
    """Over; its record is not on disk yet."""


class Call:
    """
    One call, from the caller's INVITE to the record on disk.

    What routers may read: `caller`, `called`, `dialled`, `outcome`, `hops`, `asked_by_caller`, `diversions`, `ringing`, `redirection`,
    `explaining`, `exchange`, `random`, `rights`.

    Attributes:
        call_id: The exchange's own id of the call.
        caller: Who calls, as proved.
        dialled: The number as the caller dialled it.
        called: The number asked for now, as diverted so far.
        subscriber: What the number says besides its digits, such as ``";isub=12"`` (RFC 3966 §5).
        outcome: How the last attempt ended; None before the first.
        response: The status that the far end gave in it; 0: none came.
        rights: Whose rights decide what may be dialled: the caller's, after a diversion the diverter's.
        shown: The number shown to the called party; "": it is not to be shown.
        asserted: The number that those whom we trust are told though it is not shown.
        shown_name: The name shown beside it.
        trace: Every verdict.
        hops_left: Max-Forwards of what is sent on (RFC 3261 §16.6 step 3): so a loop through other servers ends.
        reason: Why it ended, in words.
        reason_header: The value of the Reason header that goes to those who still ring; "" for none.
        timed_out: It has lasted as long as it may.
        originated: What became of a call that the exchange began itself; None: it is none, or is not over.
        explaining: True for a rehearsal by `explain`: nobody is rung.
        diversions: How it came to the number asked for now, the newest last.
        came_diverted: The Diversion values of a trusted peer's INVITE, newest first.
        redirection: Where the device that was rung last has sent the call by 3xx.
        tried: Contacts of 3xx that have been followed.
        is_secure: It was meant for a sips URI.
        is_transferred: Somebody has transferred it to the number asked for now.
        referred_by: The number of whoever has transferred the caller to the number asked for now.
        attempt: What rings now.
    """

    __slots__ = (
        "_random",
        "answered_at",
        "asserted",
        "attempt",
        "begun_at",
        "call_id",
        "called",
        "caller",
        "came_diverted",
        "cancelled",
        "dialled",
        "diversions",
        "exchange",
        "explaining",
        "hops_left",
        "is_secure",
        "is_transferred",
        "legs",
        "log",
        "originated",
        "outcome",
        "phase",
        "reason",
        "reason_header",
        "redirection",
        "referred_by",
        "response",
        "rights",
        "ring_at_most",
        "shown",
        "shown_name",
        "status",
        "subscriber",
        "talk_at_most",
        "task",
        "timed_out",
        "trace",
        "tried",
    )

    def __init__(self, exchange: Exchange, call_id: str, caller: Caller, called: str, log: Any) -> None:
        self.exchange = exchange
        self.call_id = call_id
        self.caller = caller
        self.shown = self.asserted = caller.number
        self.shown_name = caller.display
        self.rights: Peer = caller.peer
        self.dialled = self.called = called
        self.subscriber = ""
        self.outcome: Outcome | None = None
        self.response = 0
        self.hops_left = 70
        self.trace = Trace()
        self.legs: list[Leg] = []
        self.log = log
        self.phase = Phase.ROUTING
        self.explaining = False
        self.diversions: tuple[Diversion, ...] = ()
        self.came_diverted: list[str] = []
        self.redirection: Redirection | None = None
        self.tried: list[Uri] = []
        self.is_secure = False
        self.is_transferred = False
        self.referred_by = ""
        self.attempt: Attempt | None = None
        self.cancelled = False
        self.timed_out = False
        self.originated: Originated | None = None
        self.ring_at_most: float | None = None
        self.talk_at_most: float | None = None
        self.begun_at = exchange.wall()
        self.answered_at = 0.0
        self.status = 0
        self.reason = ""
        self.reason_header = ""
        self.task: Deferred[None] | None = None
        self._random: Random | None = None

    @property
    def random(self) -> Random:
        """Randomness from the call's own seed, so that a dial plan can be replayed."""
        if self._random is None:
            self._random = Random(self.call_id)  # noqa: S311  # not for secrets
        return self._random

    @property
    def called_user(self) -> str:
        """The called number as the user part of a URI."""
        return self.exchange.user_part(self.called)

    @property
    def caller_user(self) -> str:
        """The number shown, as the user part of a URI."""
        return self.exchange.user_part(self.shown)

    @property
    def hops(self) -> int:
        """Diversions so far; not those before it came to us."""
        return len(self.diversions)

    @property
    def asked_by_caller(self) -> bool:
        """Whether the caller itself has dialled the number: what changes something in its name is for no other call."""
        return not (self.diversions or self.is_transferred)

    @property
    def ringing(self) -> tuple[Peer, ...]:
        """Who is being rung."""
        return () if self.attempt is None else self.attempt.peers

    @property
    def over(self) -> bool:
        """Whether only its record is left."""
        return self.phase is Phase.ENDING

    def left_to_talk(self) -> float | None:
        """Seconds that it may still last; None: as long as it likes."""
        if self.talk_at_most is None:
            return None
        return max(self.answered_at + self.talk_at_most - self.exchange.wall(), 0.0)

    def hang_up(self, why: str = "hung up by the operator") -> None:
        """End the call now, whatever it is doing."""
        if self.phase is Phase.ENDING or self.cancelled:
            return
        self.cancelled = True
        self.reason = self.reason or why
        if self.task is not None:
            self.task.cancel()

    def record(self, ended_at: float = 0.0) -> Record:
        """What is known of it now; with ``ended_at`` all of it, media statistics and trace as well."""
        legs = []
        for leg in self.legs if ended_at else ():
            counts = self.exchange.media.counts(leg.end)
            legs.append(LegRecord(str(leg.peer), leg.uri, leg.status, [count.json() for count in counts]))
        if self.answered_at:
            outcome = Outcome.ANSWERED.value  # whatever has become of a transfer since
        elif self.cancelled:
            outcome = "cancelled"
        else:
            outcome = self.outcome.value if self.outcome is not None else "rejected"
        return Record(
            call_id=self.call_id,
            caller=self.caller.number,
            dialled=self.dialled,
            called=self.called,
            begun_at=self.begun_at,
            answered_at=self.answered_at,
            ended_at=ended_at,
            outcome=outcome,
            status=self.status,
            reason=self.reason,
            trace=self.trace.json() if ended_at else [],
            legs=legs,
        )

    def __repr__(self) -> str:
        return f"<call {self.call_id}: {self.caller.number} to {self.called}, {self.phase.value}>"
