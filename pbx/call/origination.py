"""
Calls that the exchange begins itself: one party is rung, hears ringback once it has answered, and is joined to the other (RFC 3725).

The flows of RFC 3725 §4 leave the first party without media, or with an offer unanswered, until the second answers. Here the
exchange's own media end makes the first offer, plays the ringback, and is joined to the second's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.cause import NORMAL_CLEARING, TEMPORARY_FAILURE, cause_of
from pbx.call.dialing import Rung
from pbx.call.life import reach_for, serve, to_its_end
from pbx.call.verdict import Outcome, Refuse
from pbx.call.waiting import NobodyWaits
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.invite_session import State

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.peer import Peer
    from pbx.call.waiting import AnsweredWaits


@dataclass(frozen=True, slots=True)
class Origination:
    """
    Who is to be brought together, and how.

    Attributes:
        first: Rung first; the number as one would dial it.
        second: Rung for the first once that has answered.
        shown_to_first: The number that the first sees; "": nobody's.
        shown_to_second: The number that the second sees; "": nobody's.
        rights: Whose rights decide what may be dialled.
        lasts_at_most: Seconds from the first party's answer; None: as long as any call.
    """

    first: str
    second: str
    shown_to_first: str
    shown_to_second: str
    rights: Peer
    lasts_at_most: float | None = None


class End(Enum):
    """How an origination ended."""

    HUNG_UP = "hung up"
    """One of the two hung up; also the first, while it waited for the second."""
    FIRST_FAILED = "first failed"
    SECOND_FAILED = "second failed"
    CANCELLED = "cancelled"
    """By whoever has ordered the call, or by the operator."""
    OUT_OF_TIME = "out of time"
    BROKEN = "broken"
    """The exchange could not, or stops."""


@dataclass(frozen=True, slots=True)
class Originated:
    """
    What became of an origination.

    Attributes:
        end: How it ended.
        outcome: How the attempt at the party that failed ended; None: no party has, or the dial plan refused its number.
        status: The SIP status that tells why that party failed; 0: none has.
        cause: The same as the ISDN says it (ITU-T Q.850).
        joined_at: When both were joined, in seconds of Unix time; 0.0: never.
        seconds: Whole seconds, rounded, that both were joined.
    """

    end: End
    outcome: Outcome | None = None
    status: int = 0
    cause: int = NORMAL_CLEARING
    joined_at: float = 0.0
    seconds: int = 0


async def originate(call: Call, plan: Origination) -> None:
    """Ring the first; once it answers it hears ringback while the second is rung for it. `Call.originated` tells what became of it."""
    await to_its_end(call, _Bringing(call, plan).together(), _tell_nobody)


def _tell_nobody(*_: object) -> None:
    """An originated call has no caller who could be refused."""


class _Bringing:
    """One origination on its way."""

    def __init__(self, call: Call, plan: Origination) -> None:
        self._call = call
        self._plan = plan
        self._first: AnsweredWaits | None = None  # once it has answered

    async def together(self) -> None:
        """Do it, and note how it ended before anybody is told that it has."""
        call = self._call
        end = Originated(End.BROKEN, cause=TEMPORARY_FAILURE)
        try:
            end = await self._both()
        except CancelledError:
            end = self._cut_short()
            raise
        except OfferAnswerError as error:
            end = self._failed(Outcome.REJECTED, error.status, error.status)
            raise
        finally:
            joined_at = call.answered_at
            seconds = int(call.exchange.wall() - joined_at + 0.5) if joined_at else 0
            call.originated = replace(end, joined_at=joined_at, seconds=seconds)
            call.status = call.status or end.status

    async def _both(self) -> Originated:
        call = self._call
        nobody = NobodyWaits()
        reached = await reach_for(call, nobody)
        if not isinstance(reached, Rung) or reached.winner is None:
            refused = reached.status if isinstance(reached, Refuse) else 480
            why = reached.why if isinstance(reached, Refuse) else "it is a service of the exchange"
            call.reason = f"{self._plan.first} cannot be had: {why}"
            return self._failed(call.outcome, call.response, refused)
        self._first = await nobody.became(reached.winner, reached.sdp)
        call.talk_at_most = min(filter(None, (self._plan.lasts_at_most, call.talk_at_most)), default=None)
        with call.exchange.time_limit(call, partial(call.hang_up, "the longest time for a call was over")):
            self._turn_to_second()
            found = await serve(call, self._first)
        if call.timed_out:
            return Originated(End.OUT_OF_TIME)
        if call.answered_at:
            return Originated(End.HUNG_UP)
        if isinstance(found, Refuse):
            return self._failed(call.outcome, call.response, found.status)
        return self._failed(Outcome.REJECTED, 488, 488)  # it has answered what cannot be joined to the first

    def _turn_to_second(self) -> None:
        """From now on the call is one of the first to the second: what was found out on the way to the first is not the second's."""
        call, plan = self._call, self._plan
        call.caller = replace(call.caller, number=plan.shown_to_second, display="")
        call.shown, call.shown_name = plan.shown_to_second, ""
        call.called = call.dialled = plan.second
        call.rights = plan.rights
        call.outcome, call.response, call.diversions = None, 0, ()
        call.redirection, call.tried = None, []
        call.ring_at_most = call.talk_at_most = None

    def _failed(self, outcome: Outcome | None, response: int, status: int) -> Originated:
        end = End.FIRST_FAILED if self._first is None else End.SECOND_FAILED
        return Originated(end, outcome, response or status, cause_of(outcome, response, status))

    def _cut_short(self) -> Originated:
        """The call has been cancelled: by whom shows in what is still up."""
        if self._call.timed_out:
            return Originated(End.OUT_OF_TIME)
        if self._first is not None and not self._call.answered_at and self._first.leg.session.state is State.TERMINATED:
            return Originated(End.HUNG_UP)  # while it waits nobody else ends its dialog: who cancels the call hangs up afterwards
        if self._call.exchange.idle is not None:
            return Originated(End.BROKEN, cause=TEMPORARY_FAILURE)
        return Originated(End.CANCELLED)
