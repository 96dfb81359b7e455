"""
Carrying offers and answers from one leg to another.

Each leg has its own negotiation (what may be offered when, and the ``o=`` line it shows) and, when media goes through
the exchange, its own media end; the plane rewrites what goes across. With ``relay = "never"`` on both sides the
description goes across as it is, and only ``o=`` is ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pbx.sdp.answering import agree
from pbx.sdp.description import Description, parse_description
from pbx.sdp.offer_answer import OfferAnswerError, State
from pbx.sdp.settling import proposal, suits
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
    sent = await offer_for(offerer, answerer, offer)
    answerer.negotiation.offer_sent(sent)
    return answerer.negotiation.stamp(sent)


async def carry_answer(answerer: Leg, offerer: Leg, answer: Description, *, reliable: bool = True) -> str:
    """
    The text that ``offerer``'s peer gets for an answer already noted at ``answerer``.

    Raises:
        OfferAnswerError: The answer does not fit the offer.
    """
    sent = await answer_for(answerer, offerer, answer)
    offerer.negotiation.answer_sent(sent, reliable=reliable)
    return offerer.negotiation.stamp(sent)


async def answer_for(answerer: Leg, offerer: Leg, answer: Description) -> Description:
    """What ``offerer``'s peer would get for an answer already noted at ``answerer``; nothing is noted at ``offerer``."""
    if relayed(offerer, answerer):
        answer = await offerer.call.exchange.media.answer(answerer.end, offerer.end, answer)
    return offerer.negotiation.fit_answer(answer)


async def answer_known(leg: Leg, other: Leg, offer: Description) -> str:
    """
    The text that ``leg``'s peer gets for an offer already noted there when ``other`` cannot be asked: by what that one has said last.

    Raises:
        OfferAnswerError: It does not go together, or nothing is known.
    """
    known = other.negotiation.remote or other.negotiation.offer
    if known is None or not relayed(leg, other):
        raise OfferAnswerError(500, "the other side cannot be asked yet")
    media = leg.call.exchange.media
    answer = agree(known, await media.offer(leg.end, other.end, offer), other.negotiation.local)
    sent = await media.answer(other.end, leg.end, answer)
    leg.negotiation.answer_sent(sent)
    return leg.negotiation.stamp(sent)


async def news_for(leg: Leg, partner: Leg) -> Description | None:
    """
    What ``leg`` has to be offered to know what is true with its new ``partner``; None: it knows already.

    Raises:
        MediaUnavailable: The plane has no ports left.
    """
    known = partner.negotiation.remote
    if known is None:
        return None
    wanted = await offer_for(partner, leg, known)
    return None if suits(leg.negotiation.local, leg.negotiation.remote, wanted) else wanted


async def here_for(leg: Leg) -> Description | None:
    """
    What ``leg`` has to be offered so that the exchange itself can talk to it; None: it can already.

    Raises:
        MediaUnavailable: The plane has no ports left.
    """
    wanted = leg.negotiation.fit_offer(await leg.call.exchange.media.offer_here(leg.end))
    return None if suits(leg.negotiation.local, leg.negotiation.remote, wanted) else wanted


def wish_of(leg: Leg) -> Description | None:
    """What ``leg``'s peer would offer a new partner, by what it has said last."""
    negotiation = leg.negotiation
    if negotiation.remote is None:
        return negotiation.offer
    return proposal(negotiation.remote, negotiation.local if negotiation.state is State.AGREED_ON_OURS else None)


def join(a: Leg, b: Leg) -> None:
    """Let media flow between two legs that have agreed on it."""
    if relayed(a, b):
        a.call.exchange.media.join(a.end, b.end)


async def offer_for(offerer: Leg, answerer: Leg, offer: Description) -> Description:
    """What ``answerer``'s peer would get for an offer of ``offerer``'s; nothing is noted at ``answerer``."""
    if relayed(offerer, answerer):
        offer = await offerer.call.exchange.media.offer(offerer.end, answerer.end, offer)
    return answerer.negotiation.fit_offer(offer)


def relayed(a: Leg, b: Leg) -> bool:
    """Whether media between these two goes through the exchange: unless both say never."""
    return a.peer.relay != "never" or b.peer.relay != "never"
