"""
A leg that waits while somebody else is rung for it.

Dialling serves such a leg without knowing why it waits: its INVITE has no answer yet, or it has been answered long ago
and hears ringback (an originated call, a transferred one).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError
from twisted.internet.task import deferLater

from pbx.call.early import EarlyChanges
from pbx.call.leg import reason_value
from pbx.call.media_path import answer_for, carry_answer, carry_offer, here_for, join, read, wish_of
from pbx.call.proposing import Proposing
from pbx.call.stepping import launch
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.session_events import Asked, Closed, OfferAnswered, Offered, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from pbx.call.diversion import Diversion
    from pbx.call.leg import Leg
    from pbx.sdp.description import Description
    from pbx.sip.session_events import SessionEvent


class Waiting(ABC):
    """
    Whoever waits. It owns its leg until a bridge or an application does: also while routers think and nobody is rung.

    Attributes:
        leg: The leg that waits.
        offer: What it offers to whoever is rung; None: the one who is rung makes the offer.
        is_behind: Whether the leg may have been told something else than its partner has answered: then the bridge settles that.
        takes_offers: Whether the leg can be asked about what somebody offers who cannot take its own offer.
    """

    leg: Leg
    offer: Description | None = None
    is_behind = False
    takes_offers = False

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        """A leg that waits can give up; all else has to wait as well."""
        match event:
            case Closed():
                leg.call.reason_header = event.reason
                leg.call.hang_up(f"the caller gave up ({event.end.value})")
            case Offered():
                leg.refuse_offer(500, "Retry-After: 3\r\n")
            case Asked():
                leg.put_off(event)

    async def callee_changes(self, callee: Leg, event: Offered | OfferAnswered | OfferRefused) -> None:
        """Whoever is rung wants the session changed before it has answered the call, or says what becomes of such a change."""
        if isinstance(event, Offered):
            callee.refuse_offer(500, "Retry-After: 3\r\n")

    def leg_silent(self, leg: Leg) -> None:  # noqa: B027  # nothing is what happens
        """Who waits may be silent."""

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:  # noqa: B027  # as above
        """Nobody listens yet."""

    def partner(self, leg: Leg) -> None:  # noqa: B027  # as above
        """Who waits is joined to nobody yet."""

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

    def diverted(self, diversions: Sequence[Diversion]) -> None:  # noqa: B027  # most have no INVITE that could be told
        """The call goes on to another number; ``diversions`` are all of them, the newest last."""

    @abstractmethod
    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        """The far end has said ``status``, perhaps with early media; ``reliable``: that is its answer, and no preview of it."""

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        """
        Join the leg to ``callee``, whose 2xx carried ``sdp``; None where it has answered our offer reliably before.

        Returns:
            True when ``sdp`` was an offer, whose answer the leg still owes.
        """
        await self.joined(callee, _answer_of(callee, sdp))
        return False

    @abstractmethod
    async def joined(self, callee: Leg, answer: Description) -> None:
        """Join the leg to ``callee``, which has answered its offer."""

    @abstractmethod
    async def answered_here(self) -> Leg:
        """The exchange itself answers, for an application. Gives the leg."""

    async def hear(self, tone: Any, seconds: float) -> None:  # noqa: B027  # who has no early media hears nothing
        """Play a tone before the refusal that follows."""

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
        self._preview: tuple[Description, str] | None = None  # the answer that the caller has seen in a response that may be lost
        self._has_answer = False  # it went reliably, and is not to be repeated (RFC 6337 §2.2)
        self._changes = EarlyChanges()
        self._diversions = 0  # those that the caller has been told of

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        early = self._early
        if early is None or not isinstance(event, Offered | OfferAnswered | OfferRefused):
            super().leg_event(leg, event)
        else:
            self._run(self._changed(leg, early, event))

    async def callee_changes(self, callee: Leg, event: Offered | OfferAnswered | OfferRefused) -> None:
        await self._changed(callee, self.leg, event)

    def diverted(self, diversions: Sequence[Diversion]) -> None:
        """One 181 a hop, without a description, however the caller's provisional responses go."""
        told, self._diversions = self._diversions, len(diversions)
        exchange, leg = self.leg.call.exchange, self.leg
        if not leg.peer.send_181:
            return
        for diversion in diversions[told:]:
            self._shown = 181
            leg.progress(181, None, exchange.call_info(diversion, leg.flow))

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        # One early media at a time; when its phone has been given up, the next may be heard.
        if sdp is not None and self.offer is not None and (self._early in (None, callee) or self._early.owner is None):
            answer = read(sdp)
            callee.negotiation.answer_received(answer, reliable=reliable)
            self._early = callee
            if await self._shows_answer(callee, answer, status):
                return
        elif status == self._shown:
            return
        # What the caller has seen of an answer is repeated octet for octet (RFC 3261 §13.2.1, RFC 6337 §2).
        self._shown = status
        self.leg.progress(status, None if self._preview is None else self._preview[1])

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        if self.offer is not None:
            return await super().answered(callee, sdp)
        description = read(sdp or "")
        callee.negotiation.offer_received(description)
        text = await carry_offer(callee, self.leg, description)
        join(self.leg, callee)
        self.leg.accept(text)
        return True

    async def joined(self, callee: Leg, answer: Description) -> None:
        leg = self.leg
        sent = await answer_for(callee, leg, answer)
        self.is_behind = self._has_answer or self._preview is not None
        text: str | None = None
        if self._has_answer:
            join(leg, callee)
            if self.is_behind:
                await self._changes.settle(leg, callee)
        else:
            if self._preview is not None:
                sent, text = self._preview
            leg.negotiation.answer_sent(sent)
            text = text or leg.negotiation.stamp(sent)
            join(leg, callee)
        leg.accept(text)

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

    async def hear(self, tone: Any, seconds: float) -> None:
        leg = self.leg
        if self.offer is None or self._early is not None:
            return
        try:
            answer = await leg.call.exchange.media.answer_here(leg.end, self.offer)
        except OfferAnswerError:
            return  # it cannot hear what we can play
        text = leg.negotiation.stamp(answer)
        leg.negotiation.answer_sent(answer, reliable=leg.goes_reliably(text))
        leg.progress(183, text)
        leg.end.play(tone)
        await deferLater(leg.call.exchange.clock, seconds)

    def refuse(self, status: int, why: str) -> None:
        self.leg.refuse(status, why)

    async def _shows_answer(self, callee: Leg, answer: Description, status: int) -> bool:
        """Let the caller hear ``callee``; true when that has been told together with ``status``."""
        leg = self.leg
        sent = await answer_for(callee, leg, answer)
        join(leg, callee)
        if self._has_answer:
            await self._changes.settle(leg, callee)
        elif self._preview is None:
            text = leg.negotiation.stamp(sent)
            self._has_answer = leg.goes_reliably(text)
            leg.negotiation.answer_sent(sent, reliable=self._has_answer)
            if self._has_answer:
                self._shown = status
                leg.progress(status, text)
                return True
            self._preview = sent, text
        return False

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
    """A leg that has been answered and hears ringback: the first party of an originated call, or one that is being transferred."""

    is_behind = True
    takes_offers = True

    def __init__(self, leg: Leg) -> None:
        self.leg = leg
        leg.owner = self
        self.offer = wish_of(leg)
        self._proposing = Proposing(leg)
        leg.end.play(leg.call.exchange.ringback)

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        if not self._proposing.takes(event):
            super().leg_event(leg, event)

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        """It hears our ringback already."""
        if sdp is not None:
            callee.negotiation.answer_received(read(sdp), reliable=reliable)

    async def answered(self, callee: Leg, sdp: str | None) -> bool:
        negotiation = callee.negotiation
        if negotiation.offer is not None or negotiation.remote is not None:
            return await super().answered(callee, sdp)
        # It could not take our offer, and has made one: its ACK brings what the leg answers to that (RFC 3725 §4.3).
        offer = read(sdp or "")
        negotiation.offer_received(offer)
        said = await self._proposing.propose(partial(carry_offer, callee, self.leg, offer))
        answer = read(said or "")
        self.leg.negotiation.answer_received(answer)
        text = await carry_answer(self.leg, callee, answer)
        self.leg.end.stop()
        join(self.leg, callee)
        callee.acknowledge(text)
        return False

    async def joined(self, callee: Leg, answer: Description) -> None:
        await answer_for(callee, self.leg, answer)
        self.leg.end.stop()
        join(self.leg, callee)

    async def answered_here(self) -> Leg:
        """Whoever has agreed with somebody else on something that cannot be spoken here, or was held, is made an offer."""
        leg = self.leg
        offer = await here_for(leg)
        if offer is not None:
            sdp = await self._proposing.propose(partial(_offered, leg, offer))
            answer = read(sdp or "")
            leg.negotiation.answer_received(answer)
            leg.call.exchange.media.accept_here(leg.end, answer)
        leg.end.stop()
        return leg

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

    async def joined(self, callee: Leg, answer: Description) -> None:
        raise AssertionError("see became")

    async def answered_here(self) -> Leg:
        raise AssertionError("see became")

    def refuse(self, status: int, why: str) -> None:
        """Nobody is there to be told."""

    async def became(self, callee: Leg, sdp: str | None) -> AnsweredWaits:
        """The first party has answered: from now on it waits for the second, with ringback."""
        callee.call.exchange.media.accept_here(callee.end, _answer_of(callee, sdp))
        return AnsweredWaits(callee)


async def _offered(leg: Leg, offer: Description) -> str:
    leg.negotiation.offer_sent(offer)
    return leg.negotiation.stamp(offer)


def _answer_of(callee: Leg, sdp: str | None) -> Description:
    """What ``callee`` has answered to our offer: in its 2xx, or reliably before (RFC 3261 §13.2.1)."""
    negotiation = callee.negotiation
    if negotiation.may_offer and negotiation.remote is not None:
        return negotiation.remote
    answer = read(sdp or "")
    negotiation.answer_received(answer)
    return answer
