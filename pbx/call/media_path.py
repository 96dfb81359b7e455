"""
Carrying offers and answers from one leg to another.

Each leg has its own negotiation (what may be offered when, and the ``o=`` line it shows) and, when media goes through
the exchange, its own media end; the plane rewrites what goes across. With ``relay = "never"`` on both sides the
description goes across as it is, and only ``o=`` is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sdp.description import Description, parse_description
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.errors import ParseError

if TYPE_CHECKING:
    from pbx.call.leg import Leg


def read(sdp: str) -> Description:
    """
    Parse the description that a peer has sent.

    Raises:
        OfferAnswerError: 400: it cannot be read.
    """
    try:
        return parse_description(sdp)
    except ParseError as error:
        raise OfferAnswerError(400, str(error)) from error


async def carry_offer(offerer: Leg, answerer: Leg, offer: Description) -> str:
    """
    The text that ``answerer``'s peer gets for an offer already noted at ``offerer``.

    Raises:
        OfferAnswerError: No offer may be made to the answerer now.
        MediaUnavailable: The plane has no ports left.
    """
    sent = offer
    if relayed(offerer, answerer):
        sent = await offerer.call.exchange.media.offer(offerer.end, answerer.end, offer)
    answerer.negotiation.offer_sent(sent)
    return answerer.negotiation.stamp(sent)


async def carry_answer(answerer: Leg, offerer: Leg, answer: Description, *, reliable: bool = True) -> str:
    """
    The text that ``offerer``'s peer gets for an answer already noted at ``answerer``.

    Raises:
        OfferAnswerError: The answer does not fit the offer.
    """
    sent = answer
    if relayed(offerer, answerer):
        sent = await offerer.call.exchange.media.answer(answerer.end, offerer.end, answer)
    offerer.negotiation.answer_sent(sent, reliable=reliable)
    return offerer.negotiation.stamp(sent)


def join(a: Leg, b: Leg) -> None:
    """Let media flow between two legs that have agreed on it."""
    if relayed(a, b):
        a.call.exchange.media.join(a.end, b.end)


def relayed(a: Leg, b: Leg) -> bool:
    """Whether media between these two goes through the exchange: unless both say never."""
    return a.peer.relay != "never" or b.peer.relay != "never"
