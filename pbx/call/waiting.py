"""
A leg that waits while somebody else is rung for it.

Dialling serves such a leg without knowing why it waits: its INVITE has no answer yet, or it has been answered long ago
and hears ringback (an originated call; later a transferred one).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from pbx.call.leg import reason_value
from pbx.call.media_path import carry_answer, carry_offer, join, read
from pbx.sip.session_events import Asked, Closed, Offered

if TYPE_CHECKING:
    from pbx.call.leg import Leg
    from pbx.sdp.description import Description
    from pbx.sip.session_events import SessionEvent


class Waiting(ABC):
    """
    Whoever waits. It owns its leg until a bridge or an application does: also while routers think and nobody is rung.

    Attributes:
        leg: The leg that waits.
        offer: What it offers to whoever is rung; None: the one who is rung makes the offer.
    """

    leg: Leg
    offer: Description | None = None

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        """A leg that waits can give up; all else has to wait as well."""
        match event:
            case Closed():
                leg.call.reason_header = event.reason
                leg.call.hang_up(f"the caller gave up ({event.end.value})")
            case Offered():
                leg.refuse_offer(500, "Retry-After: 3\r\n")
            case Asked():
                leg.reply(event.transaction, 200 if event.request.method == "INFO" else 405)

    def leg_silent(self, leg: Leg) -> None:  # noqa: B027  # nothing is what happens
        """Who waits may be silent."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:  # noqa: B027  # as above
        """Nobody listens yet."""

    @property
    def offer_size(self) -> int:
        """Octets of the offer, about."""
        return 0 if self.offer is None else len(str(self.offer))

    async def offer_to(self, callee: Leg) -> str | None:
        """
        What ``callee`` is to be offered; None: the callee makes the offer.

        Raises:
            OfferAnswerError: It cannot be offered.
        """
        return None if self.offer is None else await carry_offer(self.leg, callee, self.offer)

    @abstractmethod
    async def ringing(self, callee: Leg, status: int, sdp: str | None) -> None:
        """The far end has said ``status``, perhaps with early media."""

    @abstractmethod
    async def answered(self, callee: Leg, sdp: str) -> bool:
        """
        Join the leg to ``callee``, whose 2xx carried ``sdp``.

        Returns:
            True when ``sdp`` was an offer, whose answer the leg still owes.
        """

    @abstractmethod
    async def answered_here(self) -> Leg:
        """The exchange itself answers, for an application. Gives the leg."""

    @abstractmethod
    def refuse(self, status: int, why: str) -> None:
        """Nobody can be had."""


class CallerWaits(Waiting):
    """The caller of an INVITE that has no final response yet."""

    def __init__(self, leg: Leg, offer: Description | None) -> None:
        """``offer``: what the INVITE carried."""
        self.leg = leg
        leg.owner = self
        self.offer = offer
        self._shown = 0  # the last provisional status
        self._early: Leg | None = None  # whose early media the caller hears
        self._preview: str | None = None  # the answer the caller has seen with it

    async def ringing(self, callee: Leg, status: int, sdp: str | None) -> None:
        # One early media at a time; when its phone has been given up, the next may be heard.
        if sdp is not None and self.offer is not None and (self._early in (None, callee) or self._early.owner is None):
            answer = read(sdp)
            callee.negotiation.answer_received(answer, reliable=False)
            text = await carry_answer(callee, self.leg, answer, reliable=False)
            self._early = callee
            if self._preview is None:
                self._preview = text
            join(self.leg, callee)
        elif status == self._shown:
            return
        # What the caller has seen of an answer is repeated octet for octet (RFC 3261 §13.2.1, RFC 6337 §2).
        self._shown = status
        self.leg.progress(status, self._preview)

    async def answered(self, callee: Leg, sdp: str) -> bool:
        description = read(sdp)
        if self.offer is None:
            callee.negotiation.offer_received(description)
            text = await carry_offer(callee, self.leg, description)
        else:
            callee.negotiation.answer_received(description)
            text = await carry_answer(callee, self.leg, description)
        join(self.leg, callee)
        self.leg.accept(self._preview or text)
        return self.offer is None

    async def answered_here(self) -> Leg:
        leg = self.leg
        media = leg.call.exchange.media
        if self.offer is None:
            description = await media.offer_here(leg.end)
            leg.negotiation.offer_sent(description)
        else:
            description = await media.answer_here(leg.end, self.offer)
            leg.negotiation.answer_sent(description)
        leg.accept(leg.negotiation.stamp(description))
        return leg

    def refuse(self, status: int, why: str) -> None:
        self.leg.refuse(status, why)


class AnsweredWaits(Waiting):
    """A leg that has been answered and hears ringback: the first party of an originated call."""

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        leg.owner = self
        self.offer = leg.negotiation.remote

    async def ringing(self, callee: Leg, status: int, sdp: str | None) -> None:
        """It hears our ringback already."""

    async def answered(self, callee: Leg, sdp: str) -> bool:
        description = read(sdp)
        callee.negotiation.answer_received(description)
        await self.leg.call.exchange.media.answer(callee.end, self.leg.end, description)
        await self.answered_here()
        join(self.leg, callee)
        return False

    async def answered_here(self) -> Leg:
        self.leg.end.stop()
        return self.leg

    def refuse(self, status: int, why: str) -> None:
        self.leg.hang_up(reason_value(status, why))


class NobodyWaits(Waiting):
    """Nobody yet: the first party of an originated call is rung by the exchange itself."""

    async def offer_to(self, callee: Leg) -> str | None:
        offer = await callee.call.exchange.media.offer_here(callee.end)
        callee.negotiation.offer_sent(offer)
        return callee.negotiation.stamp(offer)

    async def ringing(self, callee: Leg, status: int, sdp: str | None) -> None:
        """Nobody is there to hear it."""

    async def answered(self, callee: Leg, sdp: str) -> bool:
        raise AssertionError("see became")

    async def answered_here(self) -> Leg:
        raise AssertionError("see became")

    def refuse(self, status: int, why: str) -> None:
        """Nobody is there to be told."""

    async def became(self, callee: Leg, sdp: str) -> AnsweredWaits:
        """The first party has answered: from now on it waits for the second, with ringback."""
        answer = read(sdp)
        callee.negotiation.answer_received(answer)
        media = callee.call.exchange.media
        media.accept_here(callee.end, answer)
        callee.end.play(callee.call.exchange.ringback)
        return AnsweredWaits(callee)
