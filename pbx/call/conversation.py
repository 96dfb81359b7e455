"""
A conversation: two legs joined, until one hangs up or is transferred, and then whoever is joined next.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from pbx.call.application import Served
from pbx.call.bridge import Bridge
from pbx.call.dialing import Rung
from pbx.call.leg import reason_value
from pbx.call.media_path import join
from pbx.call.peer import Kind
from pbx.call.takeover import NotTaken, joined_by_picker, take_over
from pbx.call.transfer import QUESTION, Transfer, Wish
from pbx.call.verdict import Answer, Divert, Outcome, Refuse, Step
from pbx.call.waiting import AnsweredWaits
from pbx.interfaces import MediaUnavailable
from pbx.sdp.offer_answer import OfferAnswerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pbx.call.call import Call
    from pbx.call.leg import Leg
    from pbx.call.peer import Peer
    from pbx.call.verdict import PickUp
    from pbx.call.waiting import Waiting

_TOO_LONG = "the longest time for a call was over"


class TransfereeWaits(AnsweredWaits):
    """Who is being transferred: hears ringback, and the referrer is told how far it is."""

    def __init__(self, transfer: Transfer) -> None:
        super().__init__(transfer.transferee)
        self._transfer = transfer

    async def ringing(self, callee: Leg, status: int, sdp: str | None, *, reliable: bool = False) -> None:
        self._transfer.tell(status)
        await super().ringing(callee, status, sdp, reliable=reliable)

    def refuse(self, status: int, why: str) -> None:
        """It goes back to where it was."""


class Conversation:
    """What follows once a call has been answered. ``reach`` asks the dial plan and rings for a leg that waits (`pbx.call.life`)."""

    def __init__(self, call: Call, reach: Callable[[Call, Waiting], Awaitable[Rung | Answer | Refuse | PickUp]]) -> None:
        self._call = call
        self._reach = reach
        self._bridge: Bridge | None = None

    async def begin(self, waiting: Waiting, rung: Rung) -> None:
        """Join who waits to who has answered, and stay until it is over; refused where the two cannot be joined."""
        call, winner = self._call, rung.winner
        assert winner is not None
        try:
            owes_ack = await self._join(waiting, winner, rung)
        except OfferAnswerError as error:
            call.reason = error.why
            waiting.refuse(502, error.why)
            return
        call.exchange.answered(call)
        await self.go_on(waiting, winner, rung, owes_ack=owes_ack)

    async def go_on(self, waiting: Waiting, winner: Leg, rung: Rung | None = None, *, owes_ack: bool) -> None:
        """Stay with two legs that have been joined until it is over."""
        call = self._call
        with call.exchange.time_limit(call, self._time_is_up):
            over = await self._bridged(waiting.leg, winner, rung, owes_ack=owes_ack, is_behind=waiting.is_behind)
            while isinstance(over, Transfer):
                over = await self._transferred(over)
        call.reason = over

    async def _join(self, waiting: Waiting, winner: Leg, rung: Rung) -> bool:
        """
        Join them; true when ``winner`` still waits for an answer.

        Raises:
            OfferAnswerError: They cannot be joined; ``winner`` has been hung up.
            MediaUnavailable: There are no ports left; the same.
        """
        try:
            if rung.picked_up is not None:
                await joined_by_picker(waiting, winner, rung.picked_up)
                return False
            return await waiting.answered(winner, rung.sdp)
        except (OfferAnswerError, MediaUnavailable):
            winner.hang_up(reason_value(488, "Not acceptable"))
            raise

    async def _bridged(
        self, a: Leg, b: Leg, rung: Rung | None = None, *, owes_ack: bool = False, is_behind: bool = False
    ) -> str | Transfer:
        """Bridge the two until it is over; gives the reason, or the transfer that one of them wants."""
        call = self._call
        bridge = self._bridge = Bridge(call, a, b)
        bridge.begin(rung.held if rung is not None else (), owes_ack=owes_ack, is_behind=is_behind)
        try:
            return await bridge.done
        except CancelledError:
            bridge.abandon(call.reason)
            raise
        finally:
            self._bridge = None

    def _time_is_up(self) -> None:
        if self._bridge is not None:
            self._bridge.end(_TOO_LONG, reason_value(408, "Time limit"))
        else:
            self._call.hang_up(_TOO_LONG)

    # Transfers

    async def _transferred(self, transfer: Transfer) -> str | Transfer:
        call, leg = self._call, transfer.transferee
        before = call.called
        call.exchange.media.part(leg.end)
        waiting = TransfereeWaits(transfer)
        call.trace.add(Step(str(transfer.leaving.peer), QUESTION, before, Divert(transfer.number, "transfer"), 0.0))
        call.log.info("{who} transfers {whom} to {to}", who=str(transfer.leaving.peer), whom=str(leg.peer), to=transfer.number)
        try:
            failed = await (self._attended(transfer, waiting) if transfer.wish.far is not None else self._blind(transfer, waiting))
        except CancelledError:
            transfer.finish(487)
            raise
        if not isinstance(failed, Refuse):
            return failed
        call.log.info("the transfer fails with {status}: {why}", status=failed.status, why=failed.why)
        call.called = before
        transfer.finish(failed.status)
        return await self._returned(transfer)

    async def _blind(self, transfer: Transfer, waiting: TransfereeWaits) -> str | Transfer | Refuse:
        consulted = transfer.wish.consulted
        if consulted is not None:
            consulted.call.hang_up("its caller has had another call transferred to where it rings")
        self._aim(transfer.wish, transfer.leaving.peer, transfer.transferee)
        self._call.referred_by = transfer.referred_by
        return await self._reached(waiting, partial(transfer.finish, 200))

    async def _reached(self, waiting: AnsweredWaits, tell: Callable[[], None]) -> str | Transfer | Refuse:
        """Reach whom the call is aimed at for who waits, ``tell`` that, and stay until it is over; a refusal if nobody can be had."""
        call = self._call
        owes_ack = False
        try:
            reached = await self._reach(call, waiting)
            match reached:
                case Rung():
                    assert reached.winner is not None
                    owes_ack = await self._join(waiting, reached.winner, reached)
                case Answer():
                    await waiting.answered_here()
                case Refuse():
                    return reached
                case _:
                    return Refuse(480, "who has been answered picks nothing up")
        except OfferAnswerError as error:
            return Refuse(488, error.why)
        except MediaUnavailable as error:
            return Refuse(503, str(error))
        call.outcome = Outcome.ANSWERED
        tell()
        call.exchange.tell("call_answered", call)
        if isinstance(reached, Answer):
            return await self.serve(waiting.leg, reached)
        assert reached.winner is not None
        return await self._bridged(waiting.leg, reached.winner, reached, owes_ack=owes_ack, is_behind=True)

    async def _attended(self, transfer: Transfer, waiting: TransfereeWaits) -> str | Transfer | Refuse:
        far = transfer.wish.far
        assert far is not None
        try:
            owes_ack = await take_over(self._call, waiting, far, f"transferred by {transfer.leaving.peer}", transfer.taking)
        except NotTaken as error:
            return Refuse(error.status, error.why)
        self._call.called = transfer.number
        transfer.finish(200)
        self._call.exchange.tell("call_answered", self._call)
        return await self._bridged(waiting.leg, far, owes_ack=owes_ack, is_behind=True)

    async def _returned(self, transfer: Transfer) -> str | Transfer:
        """A transfer has failed: both talk again; a referrer that has hung up is rung."""
        call, leg, referrer = self._call, transfer.transferee, transfer.leaving
        if not transfer.gone:
            leg.end.stop()
            join(leg, referrer)
            first, second = sorted((leg, referrer), key=call.legs.index)
            return await self._bridged(first, second)
        if referrer.peer.kind is not Kind.EXTENSION:
            leg.hang_up(reason_value(480, "Transfer failed"))
            return f"{referrer.peer} was gone when its transfer failed"
        waiting = AnsweredWaits(leg)
        self._aim(Wish(referrer.peer.name), referrer.peer, leg)
        over = await self._reached(waiting, lambda: None)
        if isinstance(over, Refuse):
            waiting.refuse(over.status, "Transfer failed")
            return f"{referrer.peer} was gone when its transfer failed, and cannot be had"
        return over

    def _aim(self, wish: Wish, rights: Peer, transferee: Leg) -> None:
        """The call goes on to another number, and it is ``transferee`` who calls; nothing of how it came to its number before counts."""
        call = self._call
        call.called, call.outcome, call.response = wish.number, None, 0
        call.subscriber, call.is_secure = wish.subscriber, wish.is_secure
        call.rights = rights
        call.is_transferred, call.referred_by = True, ""
        call.diversions, call.came_diverted, call.redirection, call.tried = (), [], None, []
        call.ring_at_most = None
        call.asserted = transferee.number
        call.shown, call.shown_name = ("", "") if transferee.is_hidden else (transferee.number, transferee.display)

    # Applications

    async def serve(self, leg: Leg, verdict: Answer) -> str:
        """Let an application serve the leg, which has been answered; gives the reason of the end."""
        served = Served(leg, verdict.application)
        with self._call.exchange.time_limit(self._call, lambda: served.stop(_TOO_LONG)):
            try:
                return await served.run()
            finally:
                leg.hang_up()
