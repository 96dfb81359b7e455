"""
Taking one of two legs that talk away from their bridge: it is offered a new partner, and stays where it is if it does not take that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pbx.call.media_path import answer_known, read
from pbx.call.proposing import Proposing
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.session_events import Asked, Closed, OfferAnswered, Offered, OfferRefused

if TYPE_CHECKING:
    from pbx.call.bridge import Bridge
    from pbx.call.leg import Leg
    from pbx.call.waiting import Waiting
    from pbx.sip.session_events import SessionEvent


class Taking:
    """
    Owns both legs of a bridge while one of them is offered a new partner.

    Attributes:
        bridge: The bridge.
        leaving: The other one. It may hang up meanwhile: who has asked for a transfer often does at once.
    """

    def __init__(self, bridge: Bridge, leg: Leg) -> None:
        self.bridge = bridge
        self.leaving = bridge.partner(leg)
        self._leg = leg
        self._ready: Deferred[None] = Deferred()
        self._proposing = Proposing(leg)
        self._left: Closed | None = None
        self._has_both = False
        self._gives_back = False
        if not bridge.hand_over(self):
            self._fail(491, "somebody else is being joined to it")

    async def offer(self, waiting: Waiting) -> str | None:
        """
        Offer the leg what ``waiting`` offers; gives what it says.

        Raises:
            OfferAnswerError: It refuses, or its call is over, or is being changed by somebody else.
            MediaUnavailable: There are no ports left.
        """
        await self._ready
        return await self._proposing.propose(lambda: waiting.offer_to(self._leg))

    def give_back(self) -> None:
        """Nothing comes of it: the bridge goes on, once the leg has said its word and has been told of its old partner again."""
        if self._proposing.outstanding:
            self._gives_back = True
            return
        if not self._leg.negotiation.may_offer:
            self._leg.negotiation.offer_refused()  # it was noted and never sent
        if self._has_both:
            self._has_both = False
            self.bridge.take_back(self._leg)
        else:
            self.bridge.keep(self)
        if self._left is not None:
            self.bridge.leg_event(self.leaving, self._left)

    # What becomes of the bridge (`pbx.call.bridge.Successor`).

    def left(self, event: Closed) -> None:
        """The other one has hung up."""
        self._left = event

    def take(self) -> None:
        """No change of the session is under way any more."""
        self._has_both = True
        self._leg.owner = self.leaving.owner = self
        self._is_ready()

    def lost(self) -> None:
        """The call is over."""
        self._fail(481, "its call is over")

    # What becomes of the legs meanwhile.

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Offered():
                leg.refuse_offer(491)
            case Asked():
                leg.put_off(event)
            case Closed() if leg is self.leaving:
                self._left = event
            case Closed():
                self.bridge.take_back(None)
                self.bridge.leg_event(leg, event)
                self._proposing.fail(480, f"{leg.peer} has hung up")
            case OfferAnswered() | OfferRefused() if leg is self._leg and not self._proposing.takes(event) and self._gives_back:
                Deferred.fromCoroutine(self._undo(event)).addErrback(self.bridge.broke)

    def leg_silent(self, leg: Leg) -> None:
        """It is being changed."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Digits go across with the media."""

    def partner(self, leg: Leg) -> Leg:
        """Still the one it talks to."""
        return self.bridge.partner(leg)

    async def _undo(self, event: OfferAnswered | OfferRefused) -> None:
        """The leg has taken an offer, or made one, that nobody wants any more."""
        leg = self._leg
        if isinstance(event, OfferAnswered):
            try:
                description = read(event.sdp or "")
                if leg.negotiation.may_offer:
                    leg.negotiation.offer_received(description)
                    leg.acknowledge(await answer_known(leg, self.leaving, description))
                else:
                    leg.negotiation.answer_received(description)
            except OfferAnswerError as error:
                self.bridge.end(f"the session could not be changed back: {error.why}")
                return
        self.give_back()

    def _fail(self, status: int, why: str) -> None:
        self._proposing.fail(status, why)
        self._is_ready()

    def _is_ready(self) -> None:
        if not self._ready.called:
            self._ready.callback(None)
