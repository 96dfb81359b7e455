"""
A bridge joins two answered legs: what one asks is asked of the other, until one of them hangs up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.leg import reason_value
from pbx.call.media_path import answer_for, answer_known, carry_answer, carry_offer, join, news_for, read
from pbx.call.proposing import AFTER_GLARE, MOST_TRIES
from pbx.call.stepping import launch
from pbx.call.taking import Taking
from pbx.call.transfer import Transfer, asked
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip import build
from pbx.sip.invite_session import State
from pbx.sip.session_events import Acknowledged, Asked, Closed, End, OfferAnswered, OfferCancelled, Offered, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from twisted.internet.interfaces import IDelayedCall
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


class Successor(Protocol):
    """
    Who gets the legs of a bridge, once no change of the session is under way.

    Attributes:
        leaving: The leg that is going to be left behind: that it hangs up does not end the call any more.
    """

    leaving: Leg

    def left(self, event: Closed) -> None:
        """`leaving` has hung up before `take`."""

    def take(self) -> None:
        """The legs are there to be taken."""

    def lost(self) -> None:
        """The bridge is over, whether they had been taken or not."""


class Bridge:
    """
    Joins legs ``a`` and ``b`` of ``call``.

    Offers go across one at a time: `_asking` is the leg whose offer the other is answering now. An offer to a leg whose
    ACK is still on its way waits for it. A leg that has been told something else than its partner has answered is made
    an offer by ourselves (`_settling`). Whoever is to have the legs next waits until all that is done (`hand_over`).
    """

    def __init__(self, call: Call, a: Leg, b: Leg) -> None:
        self._call = call
        self._a = a
        self._b = b
        self._asking: Leg | None = None
        self._is_withdrawn = False  # whether it has taken that offer back, and the other has not said yet what it makes of it
        self._owes_ack: Leg | None = None  # its 2xx carried an offer; the ACK must bring the other's answer
        self._held: tuple[Leg, Offered] | None = None
        self._behind: Leg | None = None  # has still to be told what is true
        self._settling: Leg | None = None  # is being told
        self._again: IDelayedCall | None = None
        self._glares = 0
        self._is_referred = False  # whether a REFER is being judged
        self._successor: Successor | None = None
        self._is_lent = False  # whether it has taken the legs
        self._over = False
        self.done: Deferred[str | Transfer] = Deferred()
        """Fires when it is over: with the reason, in words, or with the transfer that one of the legs has asked for."""

    def begin(self, held: Iterable[SessionEvent] = (), *, owes_ack: bool = False, is_behind: bool = False) -> None:
        """
        Take both legs.

        Args:
            held: What ``b`` has said before there was a bridge.
            owes_ack: ``b``'s 2xx was an offer, so the answer is to come with ``a``'s ACK.
            is_behind: ``a`` may have been told something else than ``b`` has answered.
        """
        self._a.owner = self._b.owner = self
        if owes_ack:
            self._owes_ack = self._b
        self._behind = self._a if is_behind else None
        for leg in (self._a, self._b):
            if leg.session.state is State.TERMINATED:
                self.leg_event(leg, Closed(End.REMOTE))  # while it was nobody's
        for event in held:
            self.leg_event(self._b, event)
        self._settle()

    def partner(self, leg: Leg) -> Leg:
        """Who is joined to ``leg``."""
        return self._b if leg is self._a else self._a

    def hand_over(self, successor: Successor) -> bool:
        """Give the legs to ``successor`` once no change is under way; False: somebody else gets them."""
        if self._successor is not None or self._over:
            return False
        self._successor = successor
        self._settle()
        return True

    def keep(self, successor: Successor) -> None:
        """Nothing comes of `hand_over`."""
        if self._successor is successor:
            self._successor, self._is_lent = None, False

    def take_back(self, behind: Leg | None) -> None:
        """The legs come back from whom they were handed over to; ``behind`` has been told something that is not true."""
        if self._over:
            return
        self._successor, self._is_lent = None, False
        self._a.owner = self._b.owner = self
        self._behind = behind or self._behind
        self._settle()

    def leave(self, why: str) -> None:
        """Let go of both legs without a word to them: one of them goes on elsewhere."""
        self._successor = None
        self._stop()
        self.done.callback(why)

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
            case Closed() if self._successor is not None and leg is self._successor.leaving:
                self._left(self._successor, event)
            case Closed():
                self._closed(leg, event)
            case Acknowledged():
                if self._owes_ack is not None or self._held is not None:
                    self._run(self._acknowledged(leg, event))
                self._settle()
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

    def leg_silent(self, leg: Leg) -> None:
        self.end("no media came any more", reason_value(408, "No media"))

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Digits go across with the media."""

    def _hang_up(self, reason: str) -> None:
        self._stop()
        self._a.hang_up(reason)
        self._b.hang_up(reason)

    def _stop(self) -> None:
        self._over = True
        timer, self._again = self._again, None
        if timer is not None and timer.active():
            timer.cancel()
        successor, self._successor = self._successor, None
        if successor is not None:
            successor.lost()

    def _settle(self) -> None:
        """Once nothing else is under way: give the legs to whoever is to have them, or tell one of them what is true."""
        busy = self._asking is not None or self._owes_ack is not None or self._held is not None or self._settling is not None
        if busy or self._over or self._is_lent:
            return
        if self._successor is not None:
            self._is_lent = True
            self._successor.take()
        elif self._behind is not None and self._behind.session.state is State.CONFIRMED:
            self._settling, self._behind = self._behind, None
            self._run(self._tell_news(self._settling))

    async def _tell_news(self, leg: Leg) -> None:
        try:
            news = await news_for(leg, self.partner(leg))
            if news is not None:
                leg.negotiation.offer_sent(news)
        except (OfferAnswerError, MediaUnavailable) as error:
            self._call.log.warn("{peer} cannot be told of its new partner: {why}", peer=str(leg.peer), why=str(error))
            news = None
        if news is None:
            self._settling = None
            self._settle()
        else:
            leg.offer(leg.negotiation.stamp(news))

    async def _took_news(self, leg: Leg, event: OfferAnswered) -> None:
        self._settling = None
        try:
            answer = read(event.sdp or "")
            leg.negotiation.answer_received(answer)
            await answer_for(leg, self.partner(leg), answer)
        except OfferAnswerError as error:
            self.end(f"the session could not be changed: {error.why}", reason_value(488, "Not acceptable"))
            return
        join(self._a, self._b)
        self._settle()

    def _refused_news(self, leg: Leg, status: int) -> None:
        """Glare: once more later. Else both go on with what they have: what they share can still be heard."""
        self._settling = None
        if not leg.negotiation.may_offer:
            leg.negotiation.offer_refused()
        self._glares += 1
        if status == 491 and self._glares < MOST_TRIES:
            self._behind = leg
            wait = self._call.random.uniform(*AFTER_GLARE)
            self._again = self._call.exchange.clock.callLater(wait, self._settle)
        else:
            self._call.log.warn("{peer} refuses the codecs of its new partner with {status}", peer=str(leg.peer), status=status)
            self._settle()

    def _left(self, successor: Successor, event: Closed) -> None:
        """Who is going to be left behind has hung up already. What it was asked for is refused in its name."""
        leg = successor.leaving
        successor.left(event)
        if self._owes_ack is not None:
            self.end("an ACK lacked its answer", reason_value(488, "No answer"))
            return
        if self._held is not None and self._held[0] is leg:
            self._held = None
        if self._settling is leg:
            self._settling = None
        if self._behind is leg:
            self._behind = None
        if self._asking is self.partner(leg):
            self._refused(leg, 491)
        else:
            self._settle()

    def _closed(self, leg: Leg, event: Closed) -> None:
        first = self._call.legs[0]
        # After a transfer the one who has called may be none of the two.
        who = "the caller" if leg is first else "the called party" if self.partner(leg) is first else str(leg.peer)
        why = f"{who} hung up" if event.end is End.REMOTE else f"{who}: {event.end.value}"
        self.end(why, event.reason)

    async def _offered(self, leg: Leg, event: Offered) -> None:
        other = self.partner(leg)
        if self._asking is not None or self._owes_ack is not None or self._settling is not None:
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
        """``leg`` has answered what the asking leg wanted, or what it was told of its partner."""
        if self._settling is leg:
            await self._took_news(leg, event)
            return
        asking, self._asking = self._asking, None
        if asking is None or asking is leg:
            return
        if self._is_withdrawn:
            await self._answered_in_vain(leg, asking, event)
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
        self._settle()

    async def _answered_in_vain(self, leg: Leg, asking: Leg, event: OfferAnswered) -> None:
        """``leg`` has accepted before it heard that ``asking`` wanted that no more: it is told again what counts (RFC 3261 §9.1)."""
        self._is_withdrawn = False
        try:
            description = read(event.sdp or "")
            if leg.negotiation.may_offer:
                leg.negotiation.offer_received(description)
                leg.acknowledge(await answer_known(leg, asking, description))
            else:
                leg.negotiation.answer_received(description)
        except OfferAnswerError as error:
            self.end(f"the session could not be changed back: {error.why}", reason_value(488, "Not acceptable"))
            return
        if not asking.negotiation.may_offer:
            asking.negotiation.offer_refused()
        self._behind = leg
        self._settle()

    def _refused(self, leg: Leg, status: int) -> None:
        if self._settling is leg:
            self._refused_news(leg, status)
            return
        asking, self._asking = self._asking, None
        self._is_withdrawn = False
        if asking is None:
            return
        for one in (asking, leg):
            if not one.negotiation.may_offer:
                one.negotiation.offer_refused()
        asking.refuse_offer(status if status >= 400 and status not in _OURS_ALONE else 488)
        self._settle()

    def _withdrawn(self, leg: Leg) -> None:
        """``leg`` has taken its offer back: so do we (RFC 3261 §9.2), and no other is carried before the far one has said its word."""
        if self._held is not None and self._held[0] is leg:
            self._held = None
        elif self._asking is leg:
            self._is_withdrawn = True
            self.partner(leg).cancel_offer()

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
        if request.method == "REFER":
            self._run(self._referred(leg, event))
            return
        if request.method == "NOTIFY":
            leg.reply(event.transaction, 481)  # we have subscribed to nothing (RFC 6665 §4.1.3)
            return
        pairs = [(name, value) for name in _CARRIED if (value := request.first(name.lower())) is not None]
        asker, content_type = _Carried(leg, event.transaction), request.first("content-type") or ""
        self.partner(leg).ask(request.method, asker, build.lines(*pairs), request.body, content_type)

    async def _referred(self, leg: Leg, event: Asked) -> None:
        """``leg`` wants the other transferred: if that may be, the bridge comes to its end, else nothing has happened."""
        if self._is_referred or self._successor is not None:
            leg.put_off(event)
            return
        self._is_referred = True
        transfer = await asked(leg, self.partner(leg), event, self._transferred)
        self._is_referred = False
        if transfer is None:
            return
        if transfer.wish.far is not None:
            transfer.taking = taking_of(transfer.wish.far)
        if not self.hand_over(transfer):
            transfer.lost()

    def _transferred(self, transfer: Transfer) -> None:
        self._successor = None
        self._stop()
        self.done.callback(transfer)

    def _run(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        launch(coroutine, self.broke)

    def broke(self, failure: Failure) -> None:
        """Something of it has raised: the call is over."""
        if not isinstance(failure.value, CancelledError):
            self._call.log.failure("the bridge broke", failure)
        self.end("an error in the exchange", reason_value(500, "Internal error"))


class _Carried:
    """A request that has gone across: whoever sent it gets the same answer."""

    def __init__(self, leg: Leg, transaction: Any) -> None:
        self._leg = leg
        self._transaction = transaction

    def replied(self, status: int) -> None:
        self._leg.reply(self._transaction, status if status not in _OURS_ALONE else 500)


def taking_of(leg: Leg) -> Taking | None:
    """Begin to take ``leg`` away from whom it talks to; None: it talks to nobody."""
    return Taking(leg.owner, leg) if isinstance(leg.owner, Bridge) else None
