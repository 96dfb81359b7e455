"""
The life of a call: routed, rung or answered, joined, ended. One coroutine does it.

Cancelling the coroutine (CANCEL, a hang-up in the shell, the shutdown) undoes what it has started, in ``finally``,
where nothing is awaited.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.call import Phase
from pbx.call.conversation import Conversation
from pbx.call.dialing import Attempt, Rung
from pbx.call.diversion import Diversion, is_loop
from pbx.call.media_path import read
from pbx.call.takeover import NotTaken, take_over
from pbx.call.verdict import Answer, Divert, Outcome, Pass, PickUp, Refuse, Ring, Step
from pbx.call.waiting import CallerWaits
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from pbx.call.call import Call
    from pbx.call.leg import Leg
    from pbx.call.verdict import Verdict
    from pbx.call.waiting import Waiting

TONE = 2.0
"""Seconds of the tone that goes before a refusal, where a router wants one."""
MOST_ATTEMPTS = 20
"""Attempts in one call: an overflow that always knows somebody more to ring comes to an end."""


async def live(call: Call, leg: Leg, sdp: str | None) -> None:
    """From the caller's INVITE, whose leg is ``leg`` and whose offer ``sdp``, to the end."""
    await to_its_end(call, _live(call, leg, sdp), leg.refuse)


async def to_its_end(call: Call, work: Coroutine[Any, Any, None], refuse: Callable[..., None]) -> None:
    """Let ``work`` run; whatever becomes of it, the call has ended. ``refuse(status, why, extra)`` tells a caller who has no answer yet."""
    try:
        await work
    except CancelledError as cancelled:
        if not call.cancelled:
            raise
        # Its frames hold the call, and from Python 3.13 on one of them Twisted's failure with it: a cycle.
        cancelled.__traceback__ = None
        refuse(480, call.reason)
    except OfferAnswerError as error:
        call.reason = error.why
        refuse(error.status, error.why)
    except MediaUnavailable as error:
        call.reason = str(error)
        refuse(503, str(error), "Retry-After: 5\r\n")
    except Exception:
        call.log.failure("call {call_id} broke", call_id=call.call_id)
        call.reason = "an error in the exchange"
        refuse(500, call.reason)
    finally:
        call.exchange.ended(call)


async def _live(call: Call, leg: Leg, sdp: str | None) -> None:
    await serve(call, _caller(leg, sdp))


def _caller(leg: Leg, sdp: str | None) -> CallerWaits:
    offer = None
    if sdp is not None:
        offer = read(sdp)
        leg.negotiation.offer_received(offer)
    return CallerWaits(leg, offer)


async def replace_leg(call: Call, leg: Leg, sdp: str | None, replaced: Leg) -> None:
    """``leg`` takes the place of ``replaced`` in its call: it is joined to whoever talks to that one (RFC 3891)."""
    await to_its_end(call, _replace(call, leg, sdp, replaced), leg.refuse)


async def _replace(call: Call, leg: Leg, sdp: str | None, replaced: Leg) -> None:
    waiting = _caller(leg, sdp)
    far = replaced.partner
    try:
        if far is None:
            raise NotTaken(481, "that call is over")
        call.called = far.peer.name if far.uri else far.number
        owes_ack = await take_over(call, waiting, far, f"{leg.peer} goes on with another device")
    except NotTaken as error:
        call.reason = error.why
        waiting.refuse(error.status, error.why)
        return
    call.outcome = Outcome.ANSWERED
    call.exchange.answered(call)
    await Conversation(call, reach_for).go_on(waiting, far, owes_ack=owes_ack)


async def serve(call: Call, waiting: Waiting) -> Rung | Answer | Refuse | PickUp:
    """Route for the leg that waits, and go on until it is refused or its conversation is over; gives what was found for it."""
    reached = await reach_for(call, waiting)
    match reached:
        case Rung():
            await Conversation(call, reach_for).begin(waiting, reached)
        case Answer():
            waiting.diverted(call.diversions)
            leg = await waiting.answered_here()
            call.outcome = Outcome.ANSWERED
            call.exchange.answered(call)
            call.reason = await Conversation(call, reach_for).serve(leg, reached)
        case PickUp():
            _pick_up(call, waiting, reached)
        case Refuse():
            call.reason = reached.why
            call.log.info("refused with {status}: {why}", status=reached.status, why=reached.why)
            if reached.tone is not None:
                await waiting.hear(reached.tone, TONE)
            waiting.refuse(reached.status, reached.why)
    return reached


def _pick_up(call: Call, waiting: Waiting, verdict: PickUp) -> None:
    """Let who waits answer another call; its leg goes over there, and this call is over."""
    other = call.exchange.calls.get(verdict.call_id)
    refused: Refuse | None = Refuse(480, "nobody is rung any more")
    if other is not None and other.attempt is not None and isinstance(waiting, CallerWaits):
        refused = other.attempt.pick_up(waiting)
    if refused is not None:
        call.reason = refused.why
        waiting.refuse(refused.status, refused.why)
        return
    assert other is not None
    call.outcome, call.status, call.reason = Outcome.ANSWERED, 200, f"picked up call {other.call_id}"
    other.log.info("{who} picks up the call", who=call.caller.number)


async def reach_for(call: Call, waiting: Waiting) -> Rung | Answer | Refuse | PickUp:
    """`reach`, and ring for the leg that waits."""
    return await reach(call, partial(_ring, call, waiting))


async def reach(call: Call, ring: Callable[[Ring], Awaitable[Rung]]) -> Rung | Answer | Refuse | PickUp:
    """
    Ask the dial plan, ring whom it names, and ask it again when that fails, until somebody answers or nothing is left.

    Args:
        call: Carries the trace afterwards.
        ring: Carries out one attempt, or only says how it would end.
    """
    routing = call.exchange.routing
    verdict: Verdict = await routing.route(call)
    attempts = 0
    while True:
        match verdict:
            case Ring():
                attempts += 1
                rung = await ring(verdict)
                call.outcome, call.response = rung.outcome, rung.response
                if rung.outcome is Outcome.ANSWERED:
                    return rung
                more = await routing.overflow(call) if attempts < MOST_ATTEMPTS else None
                verdict = Refuse(rung.status, rung.why) if more is None else more
            case Divert():
                verdict = await _divert(call, verdict)
            case Refuse() if call.redirection is not None and call.redirection.numbers:
                call.outcome, call.response = Outcome.REJECTED, 0
                verdict = await routing.overflow(call) or verdict
                if isinstance(verdict, Refuse):
                    return verdict
            case Answer() | Refuse() | PickUp():
                return verdict
            case Pass():
                raise AssertionError("routing never passes")


async def rehearse(call: Call, outcome: Outcome | None) -> Verdict:
    """
    Follow the verdicts without ringing anybody; gives the one that it comes to.

    Args:
        call: Carries the trace afterwards.
        outcome: How each attempt is taken to end; None: the first `Ring` with somebody to ring is the end.
    """
    rung: list[Ring] = []

    async def ring(verdict: Ring) -> Rung:
        rung.append(verdict)
        if outcome is None and verdict.targets:
            return Rung(Outcome.ANSWERED, 200, "")
        return Rung(outcome or Outcome.UNREACHABLE, 480, "")

    reached = await reach(call, ring)
    return rung[-1] if isinstance(reached, Rung) else reached


async def _ring(call: Call, waiting: Waiting, verdict: Ring) -> Rung:
    call.phase = Phase.RINGING if not call.answered_at else Phase.TALKING
    if call.diversions:
        waiting.diverted(call.diversions)
    seconds = verdict.timeout if verdict.timeout is not None else call.exchange.ring_timeout
    if call.ring_at_most is not None:
        seconds = min(seconds, call.ring_at_most)
    if verdict.begun is not None:
        verdict.begun()
    attempt = call.attempt = Attempt(call, waiting)
    try:
        return await attempt.ring(verdict, seconds)
    finally:
        call.attempt = None


async def _divert(call: Call, verdict: Divert) -> Verdict:
    exchange = call.exchange
    diverter, to = verdict.by or call.called, verdict.to
    redirection = call.redirection if call.redirection is not None and to in call.redirection.numbers else None
    if redirection is not None:
        redirection.numbers.remove(to)
    impossible = _impossible(call, diverter, to)
    if impossible:
        call.trace.add(Step("diversion", "divert", to, Refuse(482, impossible), 0.0))
        return Refuse(486 if call.outcome is Outcome.BUSY else 480, impossible)
    call.rights = exchange.directory.get(diverter, call.rights) if redirection is None else redirection.peer
    call.called = to
    call.ring_at_most = None
    call.diversions = (*call.diversions, Diversion(diverter, to, verdict.because))
    if not call.explaining:
        call.log.info("diverted from {diverter} to {to}, {because}", diverter=diverter, to=to, because=verdict.because)
        exchange.tell("call_diverted", call, diverter, to, verdict.because)
    return await exchange.routing.route(call)


def _impossible(call: Call, diverter: str, to: str) -> str:
    """Why the call does not go on to ``to``; "" if it does."""
    most = call.exchange.diverting.most_hops
    if is_loop(call.caller, call.diversions, diverter, to):
        return f"a loop: {to} has been asked for before, or calls itself"
    return f"diverted more than {most} times" if call.hops + len(call.came_diverted) >= most else ""
