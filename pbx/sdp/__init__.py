"""Session descriptions (RFC 8866) and the exchange of them (RFC 3264): pure text and pure machines, the standard library only."""

from __future__ import annotations

from pbx.sdp.answering import answer_direction, offer_audio, refuse, select_audio
from pbx.sdp.description import Description, Media, parse_description, remove_bundle, strip_ice, with_address
from pbx.sdp.offer_answer import Negotiation, OfferAnswerError, State

__all__ = [
    "Description",
    "Media",
    "Negotiation",
    "OfferAnswerError",
    "State",
    "answer_direction",
    "offer_audio",
    "parse_description",
    "refuse",
    "remove_bundle",
    "select_audio",
    "strip_ice",
    "with_address",
]
