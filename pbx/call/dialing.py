"""
Dialling: rings targets for a leg that waits; the first answer wins, the others get CANCEL.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.leg import Leg, reason_value
from pbx.call.verdict import Outcome
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip import build
from pbx.sip.session_events import Answered, Progressed, Refused

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from twisted.python.failure import Failure

    from pbx.call.call import Call
    from pbx.call.peer import Target
    from pbx.call.waiting import Waiting
    from pbx.sip.session_events import SessionEvent

_LARGE = 1300
_WITHOUT_OFFER = 700
"""Octets of an INVITE of ours besides its offer, about."""

ELSEWHERE = reason_value(200, "Call completed elsewhere")
"""RFC 3326 §1; the phone then does not list the call as missed."""


@dataclass(slots=True)
class Rung:
    """
    How ringing ended.

    Attributes:
        outcome: ANSWERED, or the best of the failures.
        status: The status the caller is to get when nothing else helps.
        why: In words.
        winner: The leg that answered.
        sdp: What its 2xx carried.
        held: Events of the winner that came too early for the bridge.
    """

    outcome: Outcome
    status: int
    why: str
    winner: Leg | None = None
    sdp: str = ""
    held: tuple[SessionEvent, ...] = ()


class Attempt:
    """One `Ring` verdict being carried out. It owns the legs that ring; the leg that waits belongs to `Waiting`."""

    def __init__(self, call: Call, waiting: Waiting) -> None:
        self._call = call
        self._waiting = waiting
        self._ringing: list[Leg] = []
        self._changed: dict[Leg, Target] = {}  # rung over TCP because the INVITE is large
        self._failures: list[tuple[int, str, Outcome]] = []
        self._winner: Leg | None = None
        self._answer = ""
        self._held: deque[SessionEvent] = deque()
        self._settled: Deferred[None] | None = None

    async def ring(self, targets: tuple[Target, ...], seconds: float, *, in_turn: bool) -> Rung:
        """
        Ring ``targets`` for ``seconds`` at most; in turn: for ``seconds`` each.

        However it is left, no leg but the winner goes on ringing.
        """
        try:
            for group in [(target,) for target in targets] if in_turn else [targets]:
                for target in group:
                    await self._start(target)
                if self._ringing and self._winner is None:
                    await self._until_settled(seconds)
                if self._winner is not None or any(status >= 600 for status, _, _ in self._failures):
                    break
                self._stop_ringing("")
        finally:
            self._stop_ringing(ELSEWHERE if self._winner is not None else self._call.reason_header)
        if self._winner is not None:
            return Rung(Outcome.ANSWERED, 200, "", self._winner, self._answer, tuple(self._held))
        return self._best()

    # Legs of the attempt tell what happens to them here.

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        if leg is self._winner:
            self._held.append(event)  # it was too quick for the bridge
        else:
            self._callee_event(leg, event)

    def leg_silent(self, leg: Leg) -> None:
        """Early media may be silent."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Nobody listens yet."""

    async def _start(self, target: Target, *, by_udp: bool = False) -> None:
        exchange = self._call.exchange
        # RFC 3261 §18.1.1: what is larger than 1300 octets goes by TCP, and by UDP after all if TCP cannot be had.
        by_stream = not by_udp and target.may_change_transport and self._waiting.offer_size + _WITHOUT_OFFER > _LARGE
        if not exchange.claims.claim(self._call, target.peer):
            self._failures.append((486, f"{target.peer} has all the calls it may have", Outcome.BUSY))
            return
        flow = await exchange.flow_to(target, by_stream=by_stream)
        if flow is None or not flow.alive:
            self._failures.append((480, f"no way to {target}", Outcome.UNREACHABLE))
            exchange.claims.release(self._call, target.peer)
            return
        leg = Leg.outgoing(self._call, target.peer, flow, target.uri)
        leg.owner = self
        try:
            text = await self._waiting.offer_to(leg)
        except OfferAnswerError as error:
            self._failures.append((error.status, error.why, Outcome.REJECTED))
            self._give_back(leg)
            return
        self._ringing.append(leg)
        if by_stream:
            self._changed[leg] = target
        routes = build.lines(*(("Route", route) for route in target.routes)) if target.routes else ""
        leg.invite(exchange.from_value(self._call, flow), exchange.to_value(self._call, flow), text, routes=routes)

    async def _by_udp(self, target: Target) -> None:
        """TCP could not be had."""
        await self._start(target, by_udp=True)
        if not self._ringing:
            self._settle()

    async def _until_settled(self, seconds: float) -> None:
        self._settled = Deferred()
        timer = self._call.exchange.clock.callLater(seconds, self._time_is_up)
        try:
            await self._settled
        finally:
            self._settled = None
            if timer.active():
                timer.cancel()

    def _settle(self) -> None:
        settled, self._settled = self._settled, None
        if settled is not None and not settled.called:
            settled.callback(None)

    def _time_is_up(self) -> None:
        self._failures.append((480, "nobody answered", Outcome.NO_ANSWER))
        self._settle()

    def _stop_ringing(self, reason: str) -> None:
        legs, self._ringing = self._ringing, []
        for leg in legs:
            if leg is not self._winner:
                self._give_back(leg, reason)

    def _give_back(self, leg: Leg, reason: str = "") -> None:
        leg.hang_up(reason)
        leg.close_media()
        self._call.exchange.claims.release(self._call, leg.peer)

    def _callee_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Progressed():
                if self._winner is None:
                    self._run(self._waiting.ringing(leg, event.status, event.sdp))
            case Answered():
                self._won(leg, event)
            case Refused():
                self._lost(leg, event)

    def _won(self, leg: Leg, event: Answered) -> None:
        if self._winner is not None or leg not in self._ringing:
            return
        if event.sdp is None:
            # RFC 3261 §13.2.1: a 2xx must answer our offer, or offer itself.
            self._failures.append((502, f"{leg.peer} answered without a session description", Outcome.REJECTED))
            self._ringing.remove(leg)
            self._give_back(leg)
            if not self._ringing:
                self._settle()
            return
        self._winner, self._answer = leg, event.sdp
        self._settle()

    def _lost(self, leg: Leg, event: Refused) -> None:
        if leg not in self._ringing:
            return
        self._ringing.remove(leg)
        self._give_back(leg)
        target = self._changed.pop(leg, None)
        if target is not None and event.response is None:
            self._run(self._by_udp(target))
            return
        self._failures.append(_judged(leg, event))
        if not self._ringing or event.status >= 600:
            self._settle()  # a 6xx speaks for all (RFC 3261 §16.7 step 5)

    def _best(self) -> Rung:
        if not self._failures:
            return Rung(Outcome.UNREACHABLE, 480, "nobody is registered")
        status, why, outcome = min(self._failures, key=_rank)
        return Rung(outcome, status, why)

    def _run(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        Deferred.fromCoroutine(coroutine).addErrback(self._broke)

    def _broke(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        if isinstance(failure.value, OfferAnswerError | MediaUnavailable):
            self._call.log.warn("early media not passed on: {why}", why=str(failure.value))
            return
        self._call.log.failure("ringing broke", failure)
        self._call.hang_up("an error in the exchange")


def _rank(failure: tuple[int, str, Outcome]) -> tuple[int, int]:
    """RFC 3261 §16.7 step 6: a 6xx first, else the lowest class; of one class, the one that says most about the callee."""
    status, _, outcome = failure
    order = (Outcome.BUSY, Outcome.REJECTED, Outcome.NO_ANSWER, Outcome.REDIRECTED, Outcome.UNREACHABLE)
    return (0 if status >= 600 else status // 100, order.index(outcome))


def _judged(leg: Leg, event: Refused) -> tuple[int, str, Outcome]:
    """What a refusal means for the call: the status for the caller, the reason in words, the outcome."""
    status = event.status
    why = f"{leg.peer}: {status} {build.REASONS.get(status, '')}".rstrip()
    if event.response is None:
        return 480, f"{leg.peer} at {leg.uri} does not answer", Outcome.UNREACHABLE
    if status in (486, 600):
        return status, why, Outcome.BUSY
    if status < 400:
        return 480, why, Outcome.REDIRECTED
    if status in (408, 480, 487):
        return 480, why, Outcome.NO_ANSWER
    if status in (401, 407, 503):
        # A challenge to us is not the caller's, and a 503 would tell the caller to avoid us (RFC 3261 §16.7 step 6).
        return 500, why, Outcome.UNREACHABLE
    if status in (404, 410, 430, 502, 504):
        return status, why, Outcome.UNREACHABLE
    return status, why, Outcome.REJECTED
