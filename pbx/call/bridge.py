"""
A bridge joins two answered legs: what one asks is asked of the other, until one of them hangs up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.leg import reason_value
from pbx.call.media_path import carry_answer, carry_offer, join, read
from pbx.call.stepping import launch
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip import build
from pbx.sip.invite_session import State
from pbx.sip.session_events import Acknowledged, Asked, Closed, End, OfferAnswered, OfferCancelled, Offered, OfferRefused, Replied

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from twisted.python.failure import Failure

    from pbx.call.call import Call
    from pbx.call.leg import Leg
    from pbx.sip.session_events import SessionEvent

_CARRIED = ("Info-Package", "Content-Disposition")
"""Header fields of INFO and MESSAGE that go across; all others are ours or nobody's."""
_OURS_ALONE = (401, 407)
"""A challenge to us is none to the other leg, which could not answer it."""


_NOT_YET = (State.EARLY, State.ANSWERED)
"""Its 200 waits for a PRACK, or for the ACK: no offer can be made to it."""


class Bridge:
    """
    Joins legs ``a`` and ``b`` of ``call``.

    Offers go across one at a time: `_asking` is the leg whose offer the other is answering now. An offer to a leg whose
    ACK is still on its way waits for it.
    """

    def __init__(self, call: Call, a: Leg, b: Leg) -> None:
        self._call = call
        self._a = a
        self._b = b
        self._asking: Leg | None = None
        self._owes_ack: Leg | None = None  # its 2xx carried an offer; the ACK must bring the other's answer
        self._held: tuple[Leg, Offered] | None = None
        self._over = False
        self.done: Deferred[str] = Deferred()
        """Fires with the reason, in words, when it is over."""

    def begin(self, held: tuple[SessionEvent, ...] = (), *, owes_ack: bool = False) -> None:
        """
        Take both legs.

        Args:
            held: What ``b`` has said before there was a bridge.
            owes_ack: ``b``'s 2xx was an offer, so the answer is to come with ``a``'s ACK.
        """
        self._a.owner = self._b.owner = self
        if owes_ack:
            self._owes_ack = self._b
        for event in held:
            self.leg_event(self._b, event)

    def end(self, why: str, reason: str = "") -> None:
        """Hang up both."""
        if self._over:
            return
        self._hang_up(reason)
        self.done.callback(why)

    def abandon(self, why: str) -> None:
        """Hang up both because the call has been cancelled; nobody waits for `done` any more."""
        self._hang_up(reason_value(480, why))

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        if self._over:
            return
        match event:
            case Closed():
                self._closed(leg, event)
            case Acknowledged():
                if self._owes_ack is not None or self._held is not None:
                    self._run(self._acknowledged(leg, event))
            case Offered():
                self._run(self._offered(leg, event))
            case OfferAnswered():
                self._run(self._answered(leg, event))
            case OfferRefused():
                self._refused(leg, event.status)
            case OfferCancelled():
                self._withdrawn(leg)
            case Asked():
                self._asked(leg, event)
            case Replied():
                self._replied(event)

    def leg_silent(self, leg: Leg) -> None:
        self.end("no media came any more", reason_value(408, "No media"))

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Digits go across with the media."""

    def _hang_up(self, reason: str) -> None:
        self._over = True
        self._a.hang_up(reason)
        self._b.hang_up(reason)

    def _other(self, leg: Leg) -> Leg:
        return self._b if leg is self._a else self._a

    def _closed(self, leg: Leg, event: Closed) -> None:
        who = "the caller" if leg is self._a else "the called party"
        why = f"{who} hung up" if event.end is End.REMOTE else f"{who}: {event.end.value}"
        self.end(why, event.reason)

    async def _offered(self, leg: Leg, event: Offered) -> None:
        other = self._other(leg)
        if self._asking is not None or self._owes_ack is not None:
            leg.refuse_offer(491)
            return
        if other.session.state in _NOT_YET:
            self._held = (leg, event)
            return
        if event.sdp is None:
            self._asking = leg
            other.offer(None)
            return
        try:
            offer = read(event.sdp)
            leg.negotiation.offer_received(offer)
            self._asking = leg
            try:
                text = await carry_offer(leg, other, offer)
            except (OfferAnswerError, MediaUnavailable):
                leg.negotiation.offer_refused()
                raise
        except OfferAnswerError as error:
            self._asking = None
            leg.refuse_offer(error.status)
            return
        except MediaUnavailable:
            self._asking = None
            leg.refuse_offer(503, "Retry-After: 5\r\n")
            return
        other.offer(text)

    async def _answered(self, leg: Leg, event: OfferAnswered) -> None:
        """``leg`` has answered what the asking leg wanted."""
        asking, self._asking = self._asking, None
        if asking is None or asking is leg:
            return
        if event.sdp is None:
            self.end("a change of the session was accepted without a description", reason_value(488, "No answer"))
            return
        try:
            description = read(event.sdp)
            if leg.negotiation.may_offer:
                # Ours carried no offer, so this is one (RFC 3261 §14.2).
                leg.negotiation.offer_received(description)
                text = await carry_offer(leg, asking, description)
                self._owes_ack = leg
            else:
                leg.negotiation.answer_received(description)
                text = await carry_answer(leg, asking, description)
                join(self._a, self._b)
        except OfferAnswerError as error:
            self.end(f"the session could not be changed: {error.why}", reason_value(488, "Not acceptable"))
            return
        asking.accept_offer(text)

    def _refused(self, leg: Leg, status: int) -> None:
        asking, self._asking = self._asking, None
        if asking is None:
            return
        for one in (asking, leg):
            if not one.negotiation.may_offer:
                one.negotiation.offer_refused()
        asking.refuse_offer(status if status >= 400 and status not in _OURS_ALONE else 488)

    def _withdrawn(self, leg: Leg) -> None:
        """``leg`` has taken its offer back: so do we (RFC 3261 §9.2), and no other is carried before the far one has said its word."""
        if self._held is not None and self._held[0] is leg:
            self._held = None
        elif self._asking is leg:
            self._other(leg).cancel_offer()

    async def _acknowledged(self, leg: Leg, event: Acknowledged) -> None:
        owes, self._owes_ack = self._owes_ack, None
        if owes is not None and owes is not leg:
            if event.sdp is None:
                self.end("an ACK lacked its answer", reason_value(488, "No answer"))
                return
            try:
                answer = read(event.sdp)
                leg.negotiation.answer_received(answer)
                text = await carry_answer(leg, owes, answer)
            except OfferAnswerError as error:
                self.end(f"the answer does not fit: {error.why}", reason_value(488, "Not acceptable"))
                return
            join(self._a, self._b)
            owes.acknowledge(text)
        else:
            self._owes_ack = owes
        held, self._held = self._held, None
        if held is not None:
            await self._offered(*held)

    def _asked(self, leg: Leg, event: Asked) -> None:
        request = event.request
        pairs = [(name, value) for name in _CARRIED if (value := request.first(name.lower())) is not None]
        token = (leg, event.transaction)
        self._other(leg).ask(request.method, token, build.lines(*pairs), request.body, request.first("content-type") or "")

    def _replied(self, event: Replied) -> None:
        leg, transaction = event.token
        leg.reply(transaction, event.status if event.status not in _OURS_ALONE else 500)

    def _run(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        launch(coroutine, self._broke)

    def _broke(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._call.log.failure("the bridge broke", failure)
        self.end("an error in the exchange", reason_value(500, "Internal error"))
