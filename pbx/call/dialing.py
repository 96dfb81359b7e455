"""
Dialling: rings targets for a leg that waits; the first answer wins, the others get CANCEL.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.driving import NoWay
from pbx.call.leg import Leg, reason_value
from pbx.call.peer import Kind
from pbx.call.stepping import launch
from pbx.call.verdict import Outcome
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip import build
from pbx.sip.outgoing_session import OutgoingSession
from pbx.sip.session_events import Answered, OfferAnswered, Offered, OfferRefused, PrackRefused, Progressed, Refused

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pbx.call.call import Call
    from pbx.call.driving import Way
    from pbx.call.peer import Target
    from pbx.call.waiting import Waiting
    from pbx.sip.flow import Flow
    from pbx.sip.session_events import SessionEvent

_LARGE = 1300
_WITHOUT_OFFER = 700
"""Octets of an INVITE of ours besides its offer, about."""

SILENCE = 4.0
"""Seconds without any response, not even 100, after which a carrier's server counts as dead and the next one is tried."""

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
        response: What the far end said of its own accord; 0: nothing.
        winner: The leg that answered.
        sdp: What its 2xx carried; None: nothing, it has answered our offer reliably before.
        held: Events of the winner that came too early for the bridge.
    """

    outcome: Outcome
    status: int
    why: str
    response: int = 0
    winner: Leg | None = None
    sdp: str | None = None
    held: tuple[SessionEvent, ...] = ()


class _Failure(NamedTuple):
    """How one target ended: the status for the caller, the reason in words, the outcome, and what the far end said (0: nothing)."""

    status: int
    why: str
    outcome: Outcome
    response: int = 0


class _Rest:
    """The ways to a target that have not been tried yet, and the clock that runs until its server has said something."""

    __slots__ = ("silence", "target", "ways")

    def __init__(self, target: Target, ways: deque[Way]) -> None:
        self.target = target
        self.ways = ways
        self.silence: IDelayedCall | None = None

    def open(self) -> Flow | None:
        """The next one that can be had."""
        while self.ways:
            flow = self.ways.popleft().open()
            if flow is not None and flow.alive:
                return flow
        return None

    def heard(self) -> None:
        """Stop the clock."""
        timer, self.silence = self.silence, None
        if timer is not None and timer.active():
            timer.cancel()


class Attempt:
    """One `Ring` verdict being carried out. It owns the legs that ring; the leg that waits belongs to `Waiting`."""

    def __init__(self, call: Call, waiting: Waiting) -> None:
        self._call = call
        self._waiting = waiting
        self._ringing: list[Leg] = []
        self._rests: dict[Leg, _Rest] = {}  # of legs to carriers, and of those with a large INVITE
        self._failures: list[_Failure] = []
        self._over = False
        self._winner: Leg | None = None
        self._answer: str | None = None
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
                if self._winner is not None or any(failure.status >= 600 for failure in self._failures):
                    break
                self._stop_ringing("")
        finally:
            self._over = True
            self._stop_ringing(ELSEWHERE if self._winner is not None else self._call.reason_header)
        if self._winner is not None:
            return Rung(Outcome.ANSWERED, 200, "", 200, self._winner, self._answer, tuple(self._held))
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

    async def _start(self, target: Target) -> None:
        exchange = self._call.exchange
        if not exchange.claims.claim(self._call, target.peer):
            outcome = Outcome.BUSY if target.peer.kind is Kind.EXTENSION else Outcome.UNREACHABLE
            self._failures.append(_Failure(486, f"{target.peer} has all the calls it may have", outcome))
            return
        flow, rest = target.flow, None
        if flow is None:
            # RFC 3261 §18.1.1: what is larger than 1300 octets goes by TCP, and by UDP after all if TCP cannot be had.
            large = self._waiting.offer_size + _WITHOUT_OFFER > _LARGE and (bool(target.hops) or target.may_change_transport)
            if large or target.hops:
                rest = _Rest(target, await self._ways(target, large=large))
                flow = rest.open()
            else:
                flow = await exchange.flow_to(target)
        await self._send(target, flow, rest)

    async def _ways(self, target: Target, *, large: bool) -> deque[Way]:
        ways: deque[Way] = deque()
        for hop in target.hops or (target.as_hop,):
            try:
                ways.extend(await self._call.exchange.ways_to(hop, large=large))
            except NoWay as error:
                self._call.log.warn("no way to {hop}: {why}", hop=str(hop), why=str(error))
        return ways

    async def _send(self, target: Target, flow: Flow | None, rest: _Rest | None) -> None:
        """Send the INVITE to a target that has been claimed."""
        call, exchange, peer = self._call, self._call.exchange, target.peer
        if flow is None or not flow.alive:
            self._failures.append(_Failure(480, f"no way to {target}", Outcome.UNREACHABLE))
            exchange.claims.release(call, peer)
            return
        leg = Leg.outgoing(call, peer, flow, target.uri)
        leg.owner = self
        try:
            text = await self._waiting.offer_to(leg)
        except OfferAnswerError as error:
            self._failures.append(_Failure(error.status, error.why, Outcome.REJECTED, error.status))
            self._give_back(leg)
            return
        if self._over:
            self._give_back(leg)
            return
        self._ringing.append(leg)
        if rest is not None:
            self._rests[leg] = rest
            if target.hops:
                rest.silence = exchange.clock.callLater(SILENCE, self._silent, leg)
        routes = build.lines(*(("Route", route) for route in target.routes)) if target.routes else ""
        to = target.to or exchange.to_value(call, flow)
        leg.invite(exchange.from_value(call, peer, flow), to, text, exchange.identity_lines(call, peer, flow), routes)

    def _silent(self, leg: Leg) -> None:
        """A carrier's server has had its time."""
        session = leg.session
        if leg in self._ringing and isinstance(session, OutgoingSession) and not session.heard:
            self._lost(leg, Refused(408, None))

    async def _next(self, rest: _Rest) -> None:
        """Another way to a target whose claim has been kept."""
        await self._send(rest.target, rest.open(), rest)
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
        self._failures.append(_Failure(480, "nobody answered", Outcome.NO_ANSWER, 408))
        self._settle()

    def _stop_ringing(self, reason: str) -> None:
        legs, self._ringing = self._ringing, []
        for leg in legs:
            if leg is not self._winner:
                self._give_back(leg, reason)

    def _give_back(self, leg: Leg, reason: str = "") -> None:
        self._leave(leg, reason)
        self._call.exchange.claims.release(self._call, leg.peer)

    def _leave(self, leg: Leg, reason: str = "") -> _Rest | None:
        """Give a leg up; gives the other ways to its target."""
        leg.hang_up(reason)
        leg.close_media()
        rest = self._rests.pop(leg, None)
        if rest is not None:
            rest.heard()
        return rest

    def _callee_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Progressed():
                if self._winner is None:
                    self._run(self._waiting.ringing(leg, event.status, event.sdp, reliable=event.reliable))
            case Offered() | OfferAnswered() | OfferRefused():
                self._run(self._waiting.callee_changes(leg, event))
            case PrackRefused():
                self._prack_refused(leg, event.status)
            case Answered():
                self._won(leg, event)
            case Refused():
                self._lost(leg, event)

    def _prack_refused(self, leg: Leg, status: int) -> None:
        """The call goes on (RFC 3261 §12.2.1.2), and whoever runs the exchange is told what helps."""
        advice = 'set rel100 = "off" for it'
        self._call.exchange.warn(leg.peer, f"refuses PRACK with {status}: {advice}")
        self._call.log.warn(
            "{peer} refuses PRACK with {status}; the call goes on; {advice}", peer=str(leg.peer), status=status, advice=advice
        )

    def _won(self, leg: Leg, event: Answered) -> None:
        if self._winner is not None or leg not in self._ringing:
            return
        if event.sdp is None and not (leg.negotiation.may_offer and leg.negotiation.remote is not None):
            # RFC 3261 §13.2.1: a 2xx must answer our offer, or offer itself.
            self._failures.append(_Failure(502, f"{leg.peer} answered without a session description", Outcome.REJECTED, 200))
            self._ringing.remove(leg)
            self._give_back(leg)
            if not self._ringing:
                self._settle()
            return
        self._winner, self._answer = leg, event.sdp
        rest = self._rests.pop(leg, None)
        if rest is not None:
            rest.heard()
        self._settle()

    def _lost(self, leg: Leg, event: Refused) -> None:
        if leg not in self._ringing:
            return
        self._ringing.remove(leg)
        rest = self._leave(leg)
        if rest is not None and rest.ways and (event.response is None or (event.status == 503 and rest.target.hops)):
            self._call.log.info("{leg} does not serve the call; the next way is tried", leg=f"{leg.peer} at {leg.flow}")
            self._run(self._next(rest))  # RFC 3263 §4.3
            return
        self._call.exchange.claims.release(self._call, leg.peer)
        self._failures.append(_judged(leg, event))
        if not self._ringing or event.status >= 600:
            self._settle()  # a 6xx speaks for all (RFC 3261 §16.7 step 5)

    def _best(self) -> Rung:
        if not self._failures:
            return Rung(Outcome.UNREACHABLE, 480, "nobody is registered")
        best = min(self._failures, key=_rank)
        return Rung(best.outcome, best.status, best.why, best.response)

    def _run(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        launch(coroutine, self._broke)

    def _broke(self, failure: Failure) -> None:
        if isinstance(failure.value, CancelledError):
            return
        if isinstance(failure.value, OfferAnswerError | MediaUnavailable):
            self._call.log.warn("early media not passed on: {why}", why=str(failure.value))
            return
        self._call.log.failure("ringing broke", failure)
        self._call.hang_up("an error in the exchange")


def _rank(failure: _Failure) -> tuple[int, int]:
    """RFC 3261 §16.7 step 6: a 6xx first, else the lowest class; of one class, the one that says most about the callee."""
    order = (Outcome.BUSY, Outcome.REJECTED, Outcome.NO_ANSWER, Outcome.REDIRECTED, Outcome.UNREACHABLE)
    return (0 if failure.status >= 600 else failure.status // 100, order.index(failure.outcome))


def _judged(leg: Leg, event: Refused) -> _Failure:
    """What a refusal means for the call."""
    status = event.status
    why = f"{leg.peer}: {status} {build.REASONS.get(status, '')}".rstrip()
    if event.response is None:
        return _Failure(480, f"{leg.peer} at {leg.uri} does not answer", Outcome.UNREACHABLE)
    if status in (486, 600):
        return _Failure(status, why, Outcome.BUSY, status)
    if status < 400:
        return _Failure(480, why, Outcome.REDIRECTED, status)
    if status == 408 and leg.peer.kind is not Kind.EXTENSION:
        return _Failure(480, why, Outcome.UNREACHABLE, status)  # nothing has rung there
    if status in (408, 480, 487):
        return _Failure(480, why, Outcome.NO_ANSWER, status)
    if status in (401, 407, 503):
        # A challenge to us is not the caller's, and a 503 would tell the caller to avoid us (RFC 3261 §16.7 step 6).
        return _Failure(500, why, Outcome.UNREACHABLE, status)
    if status in (404, 410, 430, 502, 504):
        return _Failure(status, why, Outcome.UNREACHABLE, status)
    return _Failure(status, why, Outcome.REJECTED, status)
