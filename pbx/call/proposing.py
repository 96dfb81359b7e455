"""
An offer of ours to an answered leg that no bridge serves: its answer is waited for, and after glare it is made once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.session_events import OfferAnswered, OfferRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pbx.call.leg import Leg
    from pbx.sip.session_events import SessionEvent

AFTER_GLARE = (2.1, 4.0)
"""Seconds that we wait, by chance, after our re-INVITE has met another (RFC 3261 §14.1)."""
MOST_TRIES = 4
"""A phone that refuses with 491 for ever does not get a re-INVITE for ever."""


class Proposing:
    """
    The offers to one leg, whose owner lets `takes` hear its events.

    Attributes:
        outstanding: Whether the last one has neither been answered nor refused.
    """

    def __init__(self, leg: Leg) -> None:
        self.outstanding = False
        self._leg = leg
        self._heard: Deferred[str | None] | None = None
        self._failed: OfferAnswerError | None = None

    async def propose(self, make: Callable[[], Awaitable[str | None]]) -> str | None:
        """
        Make an offer, and give what the 2xx carried.

        Args:
            make: Gives the offer, or None to ask for one; asked again for each try.

        Raises:
            OfferAnswerError: It is refused, or `fail` was called.
        """
        call = self._leg.call
        for left in reversed(range(MOST_TRIES)):
            try:
                return await self._once(make)
            except OfferAnswerError as error:
                if error.status != 491 or not left or self._failed is not None:
                    raise
            await deferLater(call.exchange.clock, call.random.uniform(*AFTER_GLARE))
        raise AssertionError("the last try has raised")

    def takes(self, event: SessionEvent) -> bool:
        """Hear an event of the leg; true if it is what has become of the offer, and somebody waits for it."""
        heard = self._heard
        match event:
            case OfferAnswered():
                self.outstanding = False
                if heard is not None:
                    heard.callback(event.sdp)
            case OfferRefused():
                self.outstanding = False
                if not self._leg.negotiation.may_offer:
                    self._leg.negotiation.offer_refused()
                if heard is not None:
                    status = event.status if event.status >= 400 else 488
                    heard.errback(OfferAnswerError(status, f"{self._leg.peer} refuses the change"))
            case _:
                return False
        return heard is not None

    def fail(self, status: int, why: str) -> None:
        """The leg can be asked no more."""
        self.outstanding = False
        self._failed = OfferAnswerError(status, why)
        if self._heard is not None:
            self._heard.errback(self._failed)

    async def _once(self, make: Callable[[], Awaitable[str | None]]) -> str | None:
        text = await make()
        if self._failed is not None:
            raise self._failed
        heard = self._heard = Deferred()
        self.outstanding = True
        self._leg.offer(text)
        try:
            return await heard
        finally:
            self._heard = None
