"""
A leg that waits while somebody else is rung for it.

Dialling serves such a leg without knowing why it waits: its INVITE has no answer yet, or it has been answered long ago
and hears ringback (an originated call; later a transferred one).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.early import EarlyChanges
from pbx.call.leg import reason_value
from pbx.call.media_path import carry_answer, carry_offer, join, read
from pbx.call.stepping import launch
from pbx.sip.session_events import Asked, Closed, OfferAnswered, Offered, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

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

    async def callee_changes(self, callee: Leg, event: Offered | OfferAnswered | OfferRefused) -> None:
        """Whoever is rung wants the session changed before it has answered the call, or says what becomes of such a change."""
        if isinstance(event, Offered):
            callee.refuse_offer(500, "Retry-After: 3\r\n")

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
    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        """The far end has said ``status``, perhaps with early media; ``reliable``: that is its answer, and no preview of it."""

    @abstractmethod
    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        """
        Join the leg to ``callee``, whose 2xx carried ``sdp``; None where it has answered our offer reliably before.

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
        self._has_answer = False  # it went reliably, and is not to be repeated (RFC 6337 §2.2)
        self._changes = EarlyChanges()

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        early = self._early
        if early is None or not isinstance(event, Offered | OfferAnswered | OfferRefused):
            super().leg_event(leg, event)
        else:
            self._run(self._changed(leg, early, event))

    async def callee_changes(self, callee: Leg, event: Offered | OfferAnswered | OfferRefused) -> None:
        await self._changed(callee, self.leg, event)

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        # One early media at a time; when its phone has been given up, the next may be heard.
        if sdp is not None and self.offer is not None and (self._early in (None, callee) or self._early.owner is None):
            answer = read(sdp)
            callee.negotiation.answer_received(answer, reliable=reliable)
            goes_reliably = self.leg.goes_reliably(sdp)
            text = await carry_answer(callee, self.leg, answer, reliable=goes_reliably)
            self._early = callee
            join(self.leg, callee)
            if goes_reliably and not self._has_answer:
                self._has_answer, self._shown = True, status
                self.leg.progress(status, text)
                return
            if self._preview is None and not self._has_answer:
                self._preview = text
        elif status == self._shown:
            return
        # What the caller has seen of an answer is repeated octet for octet (RFC 3261 §13.2.1, RFC 6337 §2).
        self._shown = status
        self.leg.progress(status, self._preview)

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        if self.offer is None:
            description = read(sdp or "")
            callee.negotiation.offer_received(description)
            text = await carry_offer(callee, self.leg, description)
        else:
            text = await carry_answer(callee, self.leg, _answer_of(callee, sdp))
        join(self.leg, callee)
        self.leg.accept(None if self._has_answer else self._preview or text)
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

    async def _changed(self, leg: Leg, other: Leg, event: Offered | OfferAnswered | OfferRefused) -> None:
        match event:
            case Offered():
                await self._changes.offered(leg, other, event)
            case OfferAnswered():
                await self._changes.answered(leg, event.sdp)
            case OfferRefused():
                self._changes.refused(leg, event.status)

    def _run(self, coroutine: Coroutine[Deferred[Any], Any, None]) -> None:
        launch(coroutine, self._broke)

    def _broke(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self.leg.call.log.failure("a change of the session broke", failure)
            self.leg.call.hang_up("an error in the exchange")


class AnsweredWaits(Waiting):
    """A leg that has been answered and hears ringback: the first party of an originated call."""

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        leg.owner = self
        self.offer = leg.negotiation.remote

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        """It hears our ringback already."""
        if sdp is not None:
            callee.negotiation.answer_received(read(sdp), reliable=reliable)

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        description = _answer_of(callee, sdp)
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

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        """Nobody is there to hear it."""
        if sdp is not None:
            callee.negotiation.answer_received(read(sdp), reliable=reliable)

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        raise AssertionError("see became")

    async def answered_here(self) -> Leg:
        raise AssertionError("see became")

    def refuse(self, status: int, why: str) -> None:
        """Nobody is there to be told."""

    async def became(self, callee: Leg, sdp: str | None) -> AnsweredWaits:
        """The first party has answered: from now on it waits for the second, with ringback."""
        answer = _answer_of(callee, sdp)
        media = callee.call.exchange.media
        media.accept_here(callee.end, answer)
        callee.end.play(callee.call.exchange.ringback)
        return AnsweredWaits(callee)


def _answer_of(callee: Leg, sdp: str | None) -> Description:
    """What ``callee`` has answered to our offer: in its 2xx, or reliably before (RFC 3261 §13.2.1)."""
    negotiation = callee.negotiation
    if negotiation.may_offer and negotiation.remote is not None:
        return negotiation.remote
    answer = read(sdp or "")
    negotiation.answer_received(answer)
    return answer
