"""
Taking a leg over: from another call that talks (an attended transfer, Replaces), or somebody else's place in one that rings (pickup).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.bridge import taking_of
from pbx.call.media_path import answer_for, offer_for
from pbx.interfaces import MediaUnavailable
from pbx.sdp.answering import agree
from pbx.sdp.offer_answer import OfferAnswerError

if TYPE_CHECKING:
    from pbx.call.call import Call
    from pbx.call.leg import Leg
    from pbx.call.taking import Taking
    from pbx.call.waiting import Waiting
    from pbx.sdp.description import Description


class NotTaken(Exception):
    """A leg could not be taken over, and its own call goes on."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


async def take_over(call: Call, waiting: Waiting, leg: Leg, why: str, taking: Taking | None = None) -> bool:
    """
    Join who waits to ``leg``, which talks in another call: it is offered what ``waiting`` offers, and if it takes that, it is ``call``'s.

    Args:
        call: Where it goes. Not answered yet: it may last as long as the other one might have.
        waiting: Who waits there.
        leg: Its partner is left alone, and hung up by the end of its call.
        why: The reason in the record of the call that it leaves.
        taking: If that has begun already.

    Returns:
        True when what ``leg`` said was an offer, whose answer ``waiting`` still owes.

    Raises:
        NotTaken: It refuses; its call goes on as before.
    """
    taking = taking or taking_of(leg)
    if taking is None:
        raise NotTaken(481, "it talks to nobody any more")
    try:
        sdp = await taking.offer(waiting)
    except (OfferAnswerError, MediaUnavailable) as error:
        taking.give_back()
        raise NotTaken(getattr(error, "status", 503), str(error)) from error
    except CancelledError:
        taking.give_back()
        raise
    if not call.answered_at:
        call.talk_at_most = leg.call.left_to_talk()
    leg.call.exchange.move(leg, call)
    taking.bridge.leave(why)
    try:
        return await waiting.answered(leg, sdp)
    except (OfferAnswerError, MediaUnavailable) as error:
        leg.hang_up()
        raise NotTaken(488, str(error)) from error


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
