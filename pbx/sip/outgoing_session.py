"""
A session that we begin with an INVITE: the UAC side of RFC 3261 §13.2, and of reliable provisional responses (RFC 3262 §4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.client_transaction import InviteClientTransaction
from pbx.sip.dialog import Dialog
from pbx.sip.effects import Cause, Effect, Send
from pbx.sip.headers import RAck
from pbx.sip.invite_session import CHALLENGES, INVITING, SDP, InviteSession, Stack, State
from pbx.sip.reliable import EarlyDialog, rseq_of
from pbx.sip.session_events import Answered, PrackRefused, Progressed, Refused

if TYPE_CHECKING:
    from pbx.sip.client_transaction import ClientTransaction
    from pbx.sip.digest_client import DigestClient
    from pbx.sip.flow import Flow
    from pbx.sip.message import Request, Response


_MOST_FORKS = 32
"""Early dialogs of one INVITE; who forks to more is not heard."""


class OutgoingSession(InviteSession):
    """
    The UAC of an INVITE: `invite`, then `Progressed` any number of times, then `Answered` or `Refused`.

    A proxy may fork the INVITE: the first 2xx makes the session, and any other is acknowledged and ended at
    once (§13.2.2.4).
    """

    __slots__ = ("_cancelled", "_early", "_extra", "_from", "_invite", "_invite_flow", "_strays", "_transaction", "heard")

    def __init__(
        self, stack: Stack, user: Any, contact: str, rel100: str = "supported", digest: DigestClient | None = None, follows: bool = False
    ) -> None:
        super().__init__(stack, user, contact, rel100, digest, follows)
        self.dialog: Dialog | None = None
        self._cancelled = False
        self._early: dict[str, EarlyDialog] = {}  # by the far end's tag
        self._from = ""  # our tag, once there is an INVITE
        self._strays: dict[str, Dialog] = {}  # dialogs of 2xx that came beside the first, by their tag
        self._transaction: InviteClientTransaction | None = None
        self.heard = False
        """Whether the far end has said anything to our INVITE."""

    def invite(
        self,
        target: str,
        flow: Flow,
        from_: str,
        to: str,
        sdp: str | None,
        now: float,
        extra: str = "",
        routes: str = "",
        max_forwards: int = 70,
    ) -> list[Effect]:
        """
        Send the INVITE.

        Args:
            target: Request-URI.
            flow: The way to the next hop.
            to: To value; ``from_`` is the From value, without a tag.
            sdp: The offer; None: the far end is to make it.
            extra: More header lines.
            routes: Ready Route lines.
            max_forwards: How often it may be sent on.
        """
        ids = self._stack.ids
        tag = ids.tag()
        body = self._body(sdp)
        self._offers = bool(body)
        self._invite = build.request(
            "INVITE",
            target,
            flow.via,
            ids.branch(),
            from_=f"{from_};tag={tag}",
            to=to,
            call_id=ids.call_id(),
            cseq=ids.cseq(),
            routes=routes,
            extra=self._lines() + extra,
            body=body,
            content_type=SDP if body else "",
            max_forwards=max_forwards,
        )
        self._invite_flow = flow
        self._extra = extra
        self._stack.dialogs[self._invite.call_id, tag] = self
        self._from = tag
        transaction, effects = self._stack.transactions.request(self._invite, flow, self, now)
        assert isinstance(transaction, InviteClientTransaction)
        self._transaction = transaction
        return effects

    def _lines(self) -> str:
        return self.contact + INVITING[self.rel100, self._offers] + self.timer.offer()

    def _invite_again(self, now: float) -> list[Effect]:
        """The same INVITE once more: with credentials (§22.2), or with the longer session interval of a 422 (RFC 4028 §7.3)."""
        before = self._invite
        if self.digest is not None:
            self._credentials = self.digest.lines("INVITE", before.target, before.body)
        self._invite = before.again(
            self._invite_flow.via, self._stack.ids.branch(), before.cseq + 1, self._lines() + self._extra, self._credentials
        )
        transaction, effects = self._stack.transactions.request(self._invite, self._invite_flow, self, now)
        assert isinstance(transaction, InviteClientTransaction)
        self._transaction = transaction
        self._early.clear()
        return effects

    @property
    def call_id(self) -> str:
        """The Call-ID of our INVITE; "" while there is none."""
        return self._invite.call_id if self._from else ""

    def cancel(self, now: float, extra: str = "") -> list[Effect]:
        """
        Give up (§9.1). A 2xx that crosses the CANCEL is acknowledged and ended without the user hearing of it.

        The user hears nothing any more.
        """
        if self.state is not State.EARLY or self._cancelled:
            return []
        if not self._from:
            self.state = State.TERMINATED  # given up before it was rung
            return []
        self._cancelled = True
        self.user = None
        self._stack.dialogs.pop((self._invite.call_id, self._from), None)
        return self._transaction.cancel(now, extra) if self._transaction is not None else []

    def hang_up(self, now: float, extra: str = "") -> list[Effect]:
        """End it, however far it is."""
        if self.state is State.EARLY:
            return self.cancel(now, extra)
        return super().hang_up(now, extra)

    def responded(self, transaction: ClientTransaction, response: Response, now: float) -> list[Effect]:
        """A response to the INVITE, or to something later."""
        if transaction is not self._transaction:
            return super().responded(transaction, response, now)
        self.heard = True
        status = response.status
        if status < 200:
            return self._progressed(response, now) if status > 100 else []
        if status < 300:
            return self._accepted(response, now)
        if not self._cancelled and (
            (status == 422 and self.timer.too_brief(response))
            or (status in CHALLENGES and self.digest is not None and self.digest.can_answer(response))
        ):
            return self._invite_again(now)
        return self._refused(status, response)

    def received(self, request: Request, flow: Flow, now: float) -> list[Effect]:
        """A request within the dialog, or within an early one."""
        if self.state is State.EARLY:
            early = self._early.get(request.from_tag)
            if early is not None:
                self.dialog = self._dialog_of(early)
        return super().received(request, flow, now)

    @property
    def settled(self) -> bool:
        """Of an early dialog: whether a reliable response has answered our offer."""
        if self.state is not State.EARLY:
            return True
        early = self._early.get(self.dialog.remote_tag) if self.dialog is not None else None
        return early is not None and early.answered

    def is_within(self, request: Request) -> bool:
        if self.state is State.EARLY:
            return request.from_tag in self._early
        return super().is_within(request)

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        """Nobody answered the INVITE, or it could not be sent: as if 408 or 503 had come (§8.1.3.1)."""
        if transaction is not self._transaction:
            return super().transaction_ended(transaction, cause, now)
        self._transaction = None
        if cause is Cause.DONE or self.state is not State.EARLY:
            return []
        return self._refused(408 if cause is Cause.TIMEOUT else 503, None)

    def _progressed(self, response: Response, now: float) -> list[Effect]:
        """A provisional response above 100; a reliable one gets its PRACK, also when nobody cares any more."""
        tag, rseq = response.to_tag, rseq_of(response) if self.rel100 != "off" else 0
        if not tag:
            return self._tell(Progressed(response.status, response.sdp, response))
        early = self._early.get(tag)
        if early is None:
            if len(self._early) >= _MOST_FORKS:
                return []
            early = self._early[tag] = EarlyDialog(response)
        effects: list[Effect] = []
        if rseq:
            if not early.takes(response):
                return []
            if response.sdp is not None and self._offers:
                early.answered = True
            self._peer_updates = response.lists("allow", "UPDATE")
            if not early.refuses_prack:
                effects = self._prack(early, response, now)
        return effects + self._tell(Progressed(response.status, response.sdp, response, reliable=rseq > 0))

    def _prack(self, early: EarlyDialog, response: Response, now: float) -> list[Effect]:
        self.dialog = self._dialog_of(early)
        rack = build.lines(("RAck", str(RAck(early.rseq, response.cseq.number, "INVITE"))))
        return self._request("PRACK", _Prack(self, early), now, rack)[1]

    def _dialog_of(self, early: EarlyDialog) -> Dialog:
        if early.dialog is None:
            early.dialog = Dialog.as_uac(self._invite, early.response, self._invite_flow, follows=self.follows)
        return early.dialog

    def _accepted(self, response: Response, now: float) -> list[Effect]:
        tag = response.to_tag
        if self.state is not State.EARLY and self.dialog is not None and tag == self.dialog.remote_tag:
            return self._repeat_ack()
        if self.state is not State.EARLY or self._cancelled:
            return self._end_stray(response, tag, now)
        early = self._early.get(tag)
        self.dialog = Dialog.as_uac(self._invite, response, self._invite_flow, follows=self.follows)
        if early is not None and early.dialog is not None:  # its numbers go on; the route set is that of the 2xx (§13.2.2.4)
            self.dialog.local_cseq, self.dialog.remote_cseq = early.dialog.local_cseq, early.dialog.remote_cseq
        self._early.clear()
        self.state = State.CONFIRMED
        self._ack = (self._invite.cseq, None)
        self._peer_updates = response.lists("allow", "UPDATE")
        self.timer.confirmed(response, now)
        effects = self._rearm()
        if self._offers:
            effects += self._send_ack(self._invite.cseq, None)
        return effects + self._tell(Answered(response.sdp, response))

    def _repeat_ack(self) -> list[Effect]:
        if self._ack is None or self._ack[1] is None or self._ack[0] != self._invite.cseq or self.dialog is None:
            return []
        return [Send(self.dialog.flow, self._ack[1])]

    def _end_stray(self, response: Response, tag: str, now: float) -> list[Effect]:
        """ACK and BYE to an answer that nobody wants; to its repetitions only the ACK again."""
        known, early = self._strays.get(tag), self._early.get(tag)
        dialog = known or Dialog.as_uac(self._invite, response, self._invite_flow, follows=self.follows)
        if known is None and early is not None and early.dialog is not None:
            dialog.local_cseq = early.dialog.local_cseq
        effects: list[Effect] = [Send(dialog.flow, dialog.ack(self._invite.cseq, self._stack.ids, credentials=self._credentials))]
        if known is None:
            self._strays[tag] = dialog
            _, sent = self._stack.transactions.request(dialog.request("BYE", self._stack.ids), dialog.flow, None, now)
            effects += sent
        return effects

    def _refused(self, status: int, response: Response | None) -> list[Effect]:
        if self.state is not State.EARLY:
            return []
        effects = self._tell(Refused(status, response))
        self.user = None
        self.state = State.TERMINATED
        self._early.clear()
        self._stack.dialogs.pop((self._invite.call_id, self._from), None)
        return effects + self._rearm()

    def _byed(self, transaction: Any, now: float) -> list[Effect]:
        if self.state is State.EARLY:  # a callee has no business to BYE an early dialog (§15)
            return self._respond(transaction, 403, now)
        return super()._byed(transaction, now)


class _Prack:
    """The user of a PRACK's transaction."""

    __slots__ = ("_early", "_session")

    def __init__(self, session: OutgoingSession, early: EarlyDialog) -> None:
        self._session = session
        self._early = early

    def responded(self, transaction: ClientTransaction, response: Response, now: float) -> list[Effect]:
        status, session = response.status, self._session
        if status < 300:
            return []
        if status in CHALLENGES:
            again = session._prove(transaction, response, self, now)
            if again is not None:
                return again[1]
        # RFC 3261 §12.2.1.2 ends a dialog at 481 and 408 only, and of an early one the INVITE's final response tells.
        self._early.refuses_prack = status in (405, 501)
        return session._tell(PrackRefused(status))

    def transaction_ended(self, transaction: ClientTransaction, cause: Cause, now: float) -> list[Effect]:
        return []  # the callee has repeated itself for as long, and refuses the INVITE (RFC 3262 §3)
