"""
A call answered inside the exchange: an application has the leg and its media end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from pbx.call.media_path import read
from pbx.sdp.offer_answer import OfferAnswerError
from pbx.sip.session_events import Acknowledged, Asked, Closed, End, Offered

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from pbx.call.leg import Leg
    from pbx.interfaces import IApplication
    from pbx.sip.session_events import SessionEvent


class Served:
    """A leg that an application serves."""

    def __init__(self, leg: Leg, application: IApplication) -> None:
        self._leg = leg
        self._application = application
        self._task: Deferred[None] | None = None
        self._why = ""

    async def run(self) -> str:
        """
        Let the application serve the answered leg.

        Returns:
            Why it is over.
        """
        leg = self._leg
        leg.owner = self
        task = self._task = Deferred.fromCoroutine(self._application.run(leg, leg.end))
        task.addErrback(_without_frames)
        try:
            await task
        except CancelledError as cancelled:
            if not self._why:
                raise
            cancelled.__traceback__ = None  # as `_without_frames`, which cannot know these frames
            return self._why
        finally:
            self._task = None
            leg.end.stop()
        return self._why or f"{type(self._application).__name__.lower()} hung up"

    def stop(self, why: str) -> None:
        """End the application."""
        self._why = why
        if self._task is not None:
            self._task.cancel()

    def leg_event(self, leg: Leg, event: SessionEvent) -> None:
        match event:
            case Closed():
                self.stop("the caller hung up" if event.end is End.REMOTE else f"the caller: {event.end.value}")
            case Offered():
                Deferred.fromCoroutine(self._offered(leg, event)).addErrback(self._broke)
            case Acknowledged():
                if event.sdp is not None and not leg.negotiation.may_offer:
                    self._answered(leg, event.sdp)
            case Asked():
                leg.reply(event.transaction, 200 if event.request.method == "INFO" else 405)

    def leg_silent(self, leg: Leg) -> None:
        self.stop("no media came any more")

    def leg_digit(self, leg: Leg, digit: str, duration: float) -> None:
        pressed = getattr(self._application, "digit_pressed", None)
        if pressed is not None:
            pressed(digit)

    def partner(self, leg: Leg) -> None:
        """An application is no leg."""

    async def _offered(self, leg: Leg, event: Offered) -> None:
        try:
            if event.sdp is None:
                description = await leg.call.exchange.media.offer_here(leg.end)
                leg.negotiation.offer_sent(description)
            else:
                offer = read(event.sdp)
                leg.negotiation.offer_received(offer)
                description = await leg.call.exchange.media.answer_here(leg.end, offer)
                leg.negotiation.answer_sent(description)
        except OfferAnswerError as error:
            leg.refuse_offer(error.status)
            return
        leg.accept_offer(leg.negotiation.stamp(description))

    def _answered(self, leg: Leg, sdp: str) -> None:
        try:
            answer = read(sdp)
            leg.negotiation.answer_received(answer)
        except OfferAnswerError as error:
            self.stop(f"the answer does not fit: {error.why}")
            return
        leg.call.exchange.media.accept_here(leg.end, answer)

    def _broke(self, failure: Failure) -> None:
        self._leg.call.log.failure("the application's media broke", failure)
        self.stop("an error in the exchange")


def _without_frames(failure: Failure) -> Failure:
    """A hang-up needs no traceback: its frames hold the leg, and one of them holds the failure."""
    if failure.check(CancelledError):  # type: ignore[no-untyped-call]  # Twisted has no types there
        failure.cleanFailure()  # type: ignore[no-untyped-call]  # nor here
    return failure
