"""
The life of a call: routed, rung or answered, joined, ended. One coroutine does it.

Cancelling the coroutine (CANCEL, a hang-up in the shell, the shutdown) undoes what it has started, in ``finally``,
where nothing is awaited.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.application import Served
from pbx.call.bridge import Bridge
from pbx.call.call import Phase
from pbx.call.dialing import Attempt, Rung
from pbx.call.leg import reason_value
from pbx.call.media_path import read
from pbx.call.verdict import Answer, Divert, Outcome, Pass, Refuse, Ring
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

MOST_HOPS = 5
"""Diversions in one call, 3xx included; more is a loop."""
MOST_ATTEMPTS = 20
"""Attempts in one call: an overflow that always knows somebody more to ring comes to an end."""


async def live(call: Call, leg: Leg, sdp: str | None) -> None:
    """From the caller's INVITE, whose leg is ``leg`` and whose offer ``sdp``, to the end."""
    await to_its_end(call, _live(call, leg, sdp), leg.refuse)


async def to_its_end(call: Call, work: Coroutine[Any, Any, None], refuse: Callable[..., None]) -> None:
    """Let ``work`` run; whatever becomes of it, the call has ended. ``refuse(status, why, extra)`` tells a caller who has no answer yet."""
    try:
        await work
    except CancelledError:
        if not call.cancelled:
            raise
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
    offer = None
    if sdp is not None:
        offer = read(sdp)
        leg.negotiation.offer_received(offer)
    await serve(call, CallerWaits(leg, offer))


async def serve(call: Call, waiting: Waiting) -> Rung | Answer | Refuse:
    """Route for the leg that waits, and go on until it is refused or its conversation is over; gives what was found for it."""
    reached = await reach(call, partial(ring, call, waiting))
    match reached:
        case Rung():
            await _talk(call, waiting, reached)
        case Answer():
            await _serve_here(call, waiting, reached)
        case Refuse():
            call.reason = reached.why
            call.log.info("refused with {status}: {why}", status=reached.status, why=reached.why)
            waiting.refuse(reached.status, reached.why)
    return reached


async def reach(call: Call, ring: Callable[[Ring], Awaitable[Rung]]) -> Rung | Answer | Refuse:
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
            case Answer() | Refuse():
                return verdict
            case Pass():
                raise AssertionError("routing never passes")


async def rehearse(call: Call, outcome: Outcome | None) -> Verdict:
    """
    Follow the verdicts without ringing anybody; gives the last one.

    Args:
        call: Carries the trace afterwards.
        outcome: How each attempt is taken to end; None: the first `Ring` with somebody to ring is the end.
    """
    last: Verdict = Pass()

    async def imagine(verdict: Ring) -> Rung:
        nonlocal last
        last = verdict
        if outcome is None and verdict.targets:
            return Rung(Outcome.ANSWERED, 200, "")
        return Rung(outcome or Outcome.UNREACHABLE, 480, "")

    reached = await reach(call, imagine)
    return last if isinstance(reached, Rung) else reached


async def ring(call: Call, waiting: Waiting, verdict: Ring) -> Rung:
    """Carry out one attempt for ``waiting``."""
    call.phase = Phase.RINGING
    seconds = verdict.timeout if verdict.timeout is not None else call.exchange.ring_timeout
    if call.ring_at_most is not None:
        seconds = min(seconds, call.ring_at_most)
    return await Attempt(call, waiting).ring(verdict.targets, seconds, in_turn=verdict.in_turn)


async def _talk(call: Call, waiting: Waiting, rung: Rung) -> None:
    assert rung.winner is not None
    winner = rung.winner
    try:
        owes_ack = await waiting.answered(winner, rung.sdp)
    except OfferAnswerError as error:
        winner.hang_up(reason_value(488, "Not acceptable"))
        call.reason = error.why
        waiting.refuse(502, error.why)
        return
    call.exchange.answered(call)
    bridge = Bridge(call, waiting.leg, winner)
    bridge.begin(rung.held, owes_ack=owes_ack)
    with call.exchange.time_limit(call, lambda: bridge.end("the longest time for a call was over", reason_value(408, "Time limit"))):
        try:
            call.reason = await bridge.done
        except CancelledError:
            bridge.abandon(call.reason)
            raise


async def _divert(call: Call, verdict: Divert) -> Verdict:
    exchange = call.exchange
    call.hops += 1
    if call.hops > MOST_HOPS:
        return Refuse(480, f"diverted more than {MOST_HOPS} times")
    diverter, call.called = call.called, verdict.to
    call.rights = exchange.directory.get(diverter, call.rights)
    if not call.explaining:
        call.log.info("diverted from {diverter} to {to}, {because}", diverter=diverter, to=verdict.to, because=verdict.because)
        exchange.tell("call_diverted", call, diverter, verdict.to, verdict.because)
    return await exchange.routing.route(call)


async def _serve_here(call: Call, waiting: Waiting, verdict: Answer) -> None:
    leg = await waiting.answered_here()
    call.outcome = Outcome.ANSWERED
    call.exchange.answered(call)
    served = Served(leg, verdict.application)
    with call.exchange.time_limit(call, lambda: served.stop("the longest time for a call was over")):
        try:
            call.reason = await served.run()
        finally:
            leg.hang_up()
