"""
Dialling: rings targets for a leg that waits; the first answer wins, the others get CANCEL.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.diversion import Diversion, is_loop
from pbx.call.driving import NoWay
from pbx.call.leg import Leg, reason_value
from pbx.call.peer import Kind
from pbx.call.redirection import Redirection, numbers_of
from pbx.call.stepping import launch
from pbx.call.verdict import Outcome, Refuse, Ring
from pbx.interfaces import MediaUnavailable
from pbx.sdp.answering import agree
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip import build
from pbx.sip.outgoing_session import OutgoingSession
from pbx.sip.session_events import Answered, Asked, OfferAnswered, Offered, OfferRefused, PrackRefused, Progressed, Refused

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from pbx.call.call import Call
    from pbx.call.driving import Way
    from pbx.call.peer import Peer, Target
    from pbx.call.waiting import CallerWaits, Waiting
    from pbx.sdp.description import Description
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response
    from pbx.sip.session_events import SessionEvent

_OTHER_CODECS = (415, 488, 606)
"""Who says so may have something to offer all the same."""
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
        held: Events of the winner that came too early for the bridge; more may come while the two are being joined.
        picked_up: What the winner has offered, where it is the leg of somebody who has picked the call up.
    """

    outcome: Outcome
    status: int
    why: str
    response: int = 0
    winner: Leg | None = None
    sdp: str | None = None
    held: Iterable[SessionEvent] = ()
    picked_up: Description | None = None


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
        self._picked_up: Description | None = None
        self._is_group = False
        self._forks: dict[Leg, tuple[Diversion, ...]] = {}  # the diversions of a fork that has been redirected by itself
        self._following = 0  # forks whose new targets are being asked for
        self._offered: dict[Leg, tuple[Target, Flow]] = {}  # those that may be asked for an offer when they cannot take ours
        self._held: deque[SessionEvent] = deque()
        self._settled: Deferred[None] | None = None

    async def ring(self, verdict: Ring, seconds: float) -> Rung:
        """
        Ring the targets of ``verdict`` for ``seconds`` at most; in turn: for ``seconds`` each peer.

        However it is left, no leg but the winner goes on ringing.
        """
        self._is_group = verdict.group
        targets = verdict.targets
        try:
            for together in [tuple(own) for _, own in groupby(targets, _peer_of)] if verdict.in_turn else [targets]:
                for target in together:
                    await self._start(target)
                if (self._ringing or self._following) and self._winner is None:
                    await self._until_settled(seconds)
                if self._winner is not None or self._is_spoken_for:
                    break
                self._stop_ringing("")
        finally:
            self._over = True
            self._stop_ringing(ELSEWHERE if self._winner is not None else self._call.reason_header)
        if self._winner is not None:
            return Rung(Outcome.ANSWERED, 200, "", 200, self._winner, self._answer, self._held, self._picked_up)
        return self._best()

    @property
    def peers(self) -> tuple[Peer, ...]:
        """Who is ringing."""
        return tuple(dict.fromkeys(leg.peer for leg in self._ringing))

    def pick_up(self, picker: CallerWaits) -> Refuse | None:
        """
        Let ``picker`` answer in the place of those who ring: its leg is this call's from now on.

        Returns:
            Why not, and then nothing has happened; else None.
        """
        if self._winner is not None or not self._ringing:
            return Refuse(480, "nobody is rung any more")
        offered, offer = self._waiting.offer, picker.offer
        if offered is None or offer is None:
            return Refuse(480, "one of the two phones makes no offer")
        if not any(media.port for media in agree(offer, offered, None).media):
            return Refuse(488, "the two phones have no codec in common")
        leg = self._winner = picker.leg
        self._call.exchange.move(leg, self._call)
        leg.owner = self
        self._picked_up = offer
        self._settle()
        return None

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

    def partner(self, leg: Leg) -> None:
        """Who rings is joined to nobody yet."""

    @property
    def _is_spoken_for(self) -> bool:
        """Whether somebody has spoken for all: a 6xx (RFC 3261 §16.7 step 5), or a device that redirects. In a group nobody does."""
        return not self._is_group and any(failure.status >= 600 or failure.outcome is Outcome.REDIRECTED for failure in self._failures)

    async def _start(self, target: Target, fork: tuple[Diversion, ...] = ()) -> None:
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
        await self._send(target, flow, rest, fork)

    async def _ways(self, target: Target, *, large: bool) -> deque[Way]:
        ways: deque[Way] = deque()
        for hop in target.hops or (target.as_hop,):
            try:
                ways.extend(await self._call.exchange.ways_to(hop, large=large))
            except NoWay as error:
                self._call.log.warn("no way to {hop}: {why}", hop=str(hop), why=str(error))
        return ways

    async def _send(
        self, target: Target, flow: Flow | None, rest: _Rest | None, fork: tuple[Diversion, ...] = (), *, asks: bool = False
    ) -> None:
        """Send the INVITE to a target that has been claimed; ``asks``: without an offer, so that it makes one."""
        call, exchange, peer = self._call, self._call.exchange, target.peer
        if flow is None or not flow.alive:
            self._failures.append(_Failure(480, f"no way to {target}", Outcome.UNREACHABLE))
            exchange.claims.release(call, peer)
            return
        leg = Leg.outgoing(call, peer, flow, target.uri)
        leg.owner = self
        try:
            text = None if asks else await self._waiting.offer_to(leg)
        except OfferAnswerError as error:
            self._failures.append(_Failure(error.status, error.why, Outcome.REJECTED, error.status))
            self._give_back(leg)
            return
        if self._over:
            self._give_back(leg)
            return
        self._ringing.append(leg)
        if self._waiting.takes_offers and not asks:
            self._offered[leg] = target, flow
        extra = exchange.identity_lines(call, peer, flow)
        if fork:
            self._forks[leg] = fork
        if fork or call.diversions or call.came_diverted or call.referred_by:
            extra += exchange.history_lines(call, fork, peer, flow)
        if rest is not None:
            self._rests[leg] = rest
            if target.hops:
                rest.silence = exchange.clock.callLater(SILENCE, self._silent, leg)
        routes = build.lines(*(("Route", route) for route in target.routes)) if target.routes else ""
        to = target.to or exchange.to_value(call, flow)
        leg.invite(exchange.from_value(call, peer, flow), to, text, extra, routes)

    def _silent(self, leg: Leg) -> None:
        """A carrier's server has had its time."""
        session = leg.session
        if leg in self._ringing and isinstance(session, OutgoingSession) and not session.heard:
            self._lost(leg, Refused(408, None))

    async def _next(self, rest: _Rest, fork: tuple[Diversion, ...]) -> None:
        """Another way to a target whose claim has been kept."""
        await self._send(rest.target, rest.open(), rest, fork)
        self._settle_if_done()

    async def _ask_for_offer(self, target: Target, flow: Flow, rest: _Rest | None, fork: tuple[Diversion, ...]) -> None:
        """A target that cannot take our offer, and whose claim has been kept, is to make one itself."""
        await self._send(target, flow, rest, fork, asks=True)
        self._settle_if_done()

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
            case Asked():
                leg.put_off(event)

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
            self._settle_if_done()
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
        fork = self._forks.pop(leg, ())
        offered = self._offered.pop(leg, None)
        if offered is not None and event.status in _OTHER_CODECS and event.response is not None:
            self._run(self._ask_for_offer(*offered, rest, fork))
            return
        if rest is not None and rest.ways and (event.response is None or (event.status == 503 and rest.target.hops)):
            self._call.log.info("{leg} does not serve the call; the next way is tried", leg=f"{leg.peer} at {leg.flow}")
            self._run(self._next(rest, fork))  # RFC 3263 §4.3
            return
        self._call.exchange.claims.release(self._call, leg.peer)
        redirection = None
        if event.response is not None and event.status < 400:
            redirection = self._redirected(leg, event.response, fork)
        if redirection is not None and self._is_group:
            self._following += 1
            self._run(self._follow(redirection, fork))
            return
        self._call.redirection = redirection or self._call.redirection
        self._failures.append(_judged(leg, event, redirected=redirection is not None))
        self._settle_if_done()

    def _settle_if_done(self) -> None:
        if not (self._ringing or self._following) or self._is_spoken_for:
            self._settle()

    def _redirected(self, leg: Leg, response: Response, fork: tuple[Diversion, ...]) -> Redirection | None:
        """Where a device wants the call to go; None: nowhere that it could."""
        call = self._call
        numbers, refused = numbers_of(response, call.tried, secure=call.is_secure or leg.uri.startswith("sips:"))
        if refused:
            call.log.warn(
                "{peer} redirects: {count} contacts are not followed ({why})", peer=str(leg.peer), count=len(refused), why=refused[0]
            )
        # In a group it is the member that is redirected; else it is the number that has been asked for.
        by = fork[-1].to if fork else leg.peer.name if self._is_group else call.called
        return Redirection(by, leg.peer, numbers) if numbers else None

    async def _follow(self, redirection: Redirection, fork: tuple[Diversion, ...]) -> None:
        """One fork of a group goes elsewhere, to the first of its numbers that can be rung; nobody is told by 181."""
        call = self._call
        try:
            for number in redirection.numbers:
                hops = (*call.diversions, *fork)
                if len(hops) >= call.exchange.diverting.most_hops or is_loop(call.caller, hops, redirection.by, number):
                    continue
                if number == call.called:
                    continue  # back to the group, all of whose members have had their call
                verdict = await call.exchange.sound_out(number, redirection.peer, call.caller)
                if isinstance(verdict, Ring) and verdict.targets and not self._over:
                    hop = Diversion(redirection.by, number, "redirected")
                    ringing = {(leg.peer, leg.uri) for leg in self._ringing}
                    for target in verdict.targets:
                        if (target.peer, target.uri) not in ringing:
                            await self._start(target, (*fork, hop))
                    return
            self._failures.append(_Failure(480, f"{redirection.peer} redirects to nobody who can be rung", Outcome.UNREACHABLE))
        finally:
            self._following -= 1
            self._settle_if_done()

    def _best(self) -> Rung:
        if not self._failures:
            return Rung(Outcome.UNREACHABLE, 480, "nobody is registered")
        best = min(self._failures, key=_rank_in_group if self._is_group else _rank)
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


def _peer_of(target: Target) -> Peer:
    return target.peer


def _rank(failure: _Failure) -> tuple[int, int]:
    """RFC 3261 §16.7 step 6: a 6xx first, else the lowest class; of one class, the one that says most about the callee."""
    order = (Outcome.REDIRECTED, Outcome.BUSY, Outcome.REJECTED, Outcome.NO_ANSWER, Outcome.UNREACHABLE)
    return (0 if failure.status >= 600 else failure.status // 100, order.index(failure.outcome))


def _rank_in_group(failure: _Failure) -> int:
    """Nobody speaks for the others, not even with a 6xx, and a group is busy only if all are who can be had."""
    return (Outcome.NO_ANSWER, Outcome.REJECTED, Outcome.BUSY, Outcome.REDIRECTED, Outcome.UNREACHABLE).index(failure.outcome)


def _judged(leg: Leg, event: Refused, *, redirected: bool) -> _Failure:
    """What a refusal means for the call; ``redirected``: it is a 3xx that can be followed."""
    status = event.status
    why = f"{leg.peer}: {status} {build.REASONS.get(status, '')}".rstrip()
    if event.response is None:
        return _Failure(480, f"{leg.peer} at {leg.uri} does not answer", Outcome.UNREACHABLE)
    if status in (486, 600):
        return _Failure(status, why, Outcome.BUSY, status)
    if status < 400:
        return _Failure(480, why, Outcome.REDIRECTED if redirected else Outcome.REJECTED, status)
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
