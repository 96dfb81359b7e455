"""
Changes of the session before the call is answered: offers in UPDATE and PRACK (RFC 3311, RFC 3262 §5).

Only who has been answered reliably can be offered anything so early. Where the other leg can, the offer goes across;
where it cannot, it is answered for that leg with what it has said it can do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pbx.call.media_path import answer_for, answer_known, carry_answer, carry_offer, join, news_for, read
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError

if TYPE_CHECKING:
    from pbx.call.leg import Leg
    from pbx.sdp.description import Description
    from pbx.sip.session_events import Offered


class EarlyChanges:
    """The offers between a caller who waits and whoever is rung for it, one at a time."""

    def __init__(self) -> None:
        self._asking: tuple[Leg, Leg] | None = None
        """Whose offer goes across, and to whom."""
        self._settling: tuple[Leg, Leg, Deferred[None]] | None = None
        """Who is told of a new partner, the partner, and who waits for the end of it."""

    async def settle(self, leg: Leg, partner: Leg) -> None:
        """Tell ``leg``, whom another one had answered reliably, what is true with ``partner``, if it can be told before the 2xx."""
        if self._asking is not None or self._settling is not None or not leg.session.takes_update:
            return
        news = await news_for(leg, partner)
        if news is None:
            return
        leg.negotiation.offer_sent(news)
        told: Deferred[None] = Deferred()
        self._settling = leg, partner, told
        leg.offer(leg.negotiation.stamp(news))
        await told

    async def offered(self, leg: Leg, other: Leg, event: Offered) -> None:
        """``leg`` has made an offer that concerns ``other``."""
        if self._asking is not None or self._settling is not None or event.sdp is None:
            leg.refuse_offer(491)
            return
        try:
            offer = read(event.sdp)
            leg.negotiation.offer_received(offer)
            try:
                text = await self._across(leg, other, offer)
            except (OfferAnswerError, MediaUnavailable):
                leg.negotiation.offer_refused()
                raise
        except OfferAnswerError as error:
            leg.refuse_offer(error.status, "Retry-After: 3\r\n" if error.status == 500 else "")
        except MediaUnavailable:
            leg.refuse_offer(503, "Retry-After: 5\r\n")
        else:
            if text is not None:
                leg.accept_offer(text)

    async def answered(self, leg: Leg, sdp: str | None) -> None:
        """``leg`` has answered what went across, or what it was told of its new partner."""
        if self._settling is not None and self._settling[0] is leg:
            await self._settled(sdp)
            return
        if self._asking is None or self._asking[1] is not leg:
            return
        asking, self._asking = self._asking[0], None
        try:
            if sdp is None:
                raise OfferAnswerError(488, "a change of the session was accepted without a description")
            answer = read(sdp)
            leg.negotiation.answer_received(answer)
            text = await carry_answer(leg, asking, answer)
        except (OfferAnswerError, MediaUnavailable):
            self._take_back(asking, leg, 488)
            return
        join(asking, leg)
        asking.accept_offer(text)

    def refused(self, leg: Leg, status: int) -> None:
        """``leg`` has refused what went across; of a new partner it hears again after the 2xx."""
        if self._settling is not None and self._settling[0] is leg:
            leg.negotiation.offer_refused()
            self._tell_whoever_waits()
        elif self._asking is not None and self._asking[1] is leg:
            asking, self._asking = self._asking[0], None
            self._take_back(asking, leg, status if status >= 400 and status not in (401, 407) else 488)

    async def _across(self, leg: Leg, other: Leg, offer: Description) -> str | None:
        """The answer, or None when ``other`` has been asked for it."""
        if other.session.takes_update:
            text = await carry_offer(leg, other, offer)
            self._asking = leg, other
            other.offer(text)
            return None
        return await answer_known(leg, other, offer)

    async def _settled(self, sdp: str | None) -> None:
        assert self._settling is not None
        leg, partner, _ = self._settling
        try:
            if sdp is None:
                raise OfferAnswerError(488, "an UPDATE was accepted without a description")
            answer = read(sdp)
            leg.negotiation.answer_received(answer)
            await answer_for(leg, partner, answer)
        except (OfferAnswerError, MediaUnavailable):
            if not leg.negotiation.may_offer:
                leg.negotiation.offer_refused()
        else:
            join(leg, partner)
        self._tell_whoever_waits()

    def _tell_whoever_waits(self) -> None:
        settling, self._settling = self._settling, None
        if settling is not None and not settling[2].called:
            settling[2].callback(None)

    def _take_back(self, asking: Leg, leg: Leg, status: int) -> None:
        for one in (asking, leg):
            if not one.negotiation.may_offer:
                one.negotiation.offer_refused()
        asking.refuse_offer(status)
