"""
Taking a leg over: from another call that talks (an attended transfer, Replaces), or somebody else's place in one that rings (pickup).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from pbx.call.bridge import Bridge
from pbx.call.media_path import answer_for, offer_for
from pbx.sdp.answering import agree
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.session_events import Asked, Closed, OfferAnswered, Offered, OfferRefused

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.leg import Leg
    from pbx.call.waiting import Waiting
    from pbx.sdp.description import Description
    from pbx.sip.session_events import SessionEvent


class NotTaken(Exception):
    """A leg could not be taken over, and its own call goes on."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


async def take_over(call: Call, waiting: Waiting, leg: Leg, why: str) -> bool:
    """
    Join who waits to ``leg``, which talks in another call: it is offered what ``waiting`` offers, and if it takes that, it is ``call``'s.

    Args:
        call: Where it goes.
        waiting: Who waits there.
        leg: Its partner is left alone, and hung up by the end of its call.
        why: The reason in the record of the call that it leaves.

    Returns:
        True when what ``leg`` said was an offer, whose answer ``waiting`` still owes.

    Raises:
        NotTaken: It refuses; its call goes on as before.
    """
    bridge = leg.owner
    if not isinstance(bridge, Bridge):
        raise NotTaken(481, "it talks to nobody any more")
    answered = _Answered(bridge)
    leg.owner = answered
    try:
        leg.offer(await waiting.offer_to(leg))
        sdp = await answered.heard
    except OfferAnswerError as error:
        raise NotTaken(error.status, error.why) from error
    finally:
        if leg.owner is answered:
            leg.owner = bridge
    leg.call.exchange.move(leg, call)
    bridge.leave(why)
    try:
        return await waiting.answered(leg, sdp)
    except OfferAnswerError as error:
        leg.hang_up()
        raise NotTaken(488, error.why) from error


async def joined_by_picker(waiting: Waiting, picker: Leg, offer: Description) -> None:
    """
    Join who waits to the leg of somebody who has picked its call up: both have made an offer, and each gets an answer in the other's name.

    Args:
        waiting: Who waits.
        picker: Its INVITE has no answer yet.
        offer: What it offered.

    Raises:
        OfferAnswerError: They have nothing in common.
    """
    leg, offered = waiting.leg, waiting.offer
    assert offered is not None  # see Attempt.pick_up
    await waiting.joined(picker, agree(offer, await offer_for(leg, picker, offered), None))
    answer = agree(offered, await offer_for(picker, leg, offer), None)
    sent = await answer_for(leg, picker, answer)
    picker.negotiation.answer_sent(sent)
    picker.accept(picker.negotiation.stamp(sent))


class _Answered:
    """Owns a leg while it is offered a new partner."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.heard: Deferred[str | None] = Deferred()

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case OfferAnswered():
                self.heard.callback(event.sdp)
            case OfferRefused():
                if not leg.negotiation.may_offer:
                    leg.negotiation.offer_refused()
                self.heard.errback(OfferAnswerError(event.status if event.status >= 400 else 488, f"{leg.peer} refuses the change"))
            case Offered():
                leg.refuse_offer(491)
            case Asked():
                leg.reply(event.transaction, 200 if event.request.method == "INFO" else 491)
            case Closed():
                leg.owner = self._bridge
                self._bridge.leg_event(leg, event)
                self.heard.errback(OfferAnswerError(480, f"{leg.peer} has hung up"))
            case _:
                self._bridge.leg_event(leg, event)

    def leg_silent(self, leg: Leg) -> None:
        """It is being changed."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        """Digits go across with the media."""

    def partner(self, leg: Leg) -> Leg:
        """Still the one it talks to."""
        return self._bridge.partner(leg)
