"""
A session that we begin with an INVITE: the UAC side of RFC 3261 §13.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pbx.sip import build
from pbx.sip.client_transaction import InviteClientTransaction
from pbx.sip.dialog import Dialog
from pbx.sip.effects import Cause, Effect, Send
from pbx.sip.invite_session import CAPABILITIES, SDP, InviteSession, Stack, State
from pbx.sip.session_events import Answered, Progressed, Refused

if TYPE_CHECKING:
    from pbx.sip.client_transaction import ClientTransaction
    from pbx.sip.flow import Flow
    from pbx.sip.message import Response


class OutgoingSession(InviteSession):
    """
    The UAC of an INVITE: `invite`, then `Progressed` any number of times, then `Answered` or `Refused`.

    A proxy may fork the INVITE: the first 2xx makes the session, and any other is acknowledged and ended at
    once (§13.2.2.4).
    """

    __slots__ = ("_cancelled", "_extra", "_from", "_invite", "_invite_flow", "_max_forwards", "_strays", "_transaction")

    def __init__(self, stack: Stack, user: Any, contact: str) -> None:
        super().__init__(stack, user, contact)
        self.dialog: Dialog | None = None
        self._cancelled = False
        self._from = ""  # our tag, once there is an INVITE
        self._strays: dict[str, Dialog] = {}  # dialogs of 2xx that came beside the first, by their tag
        self._transaction: InviteClientTransaction | None = None

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
            extra=self.contact + CAPABILITIES + self.timer.offer() + extra,
            body=body,
            content_type=SDP if body else "",
            max_forwards=max_forwards,
        )
        self._invite_flow = flow
        self._extra = extra
        self._max_forwards = max_forwards
        self._stack.dialogs[self._invite.call_id, tag] = self
        self._from = tag
        transaction, effects = self._stack.transactions.request(self._invite, flow, self, now)
        assert isinstance(transaction, InviteClientTransaction)
        self._transaction = transaction
        return effects

    def _longer(self, now: float) -> list[Effect]:
        """The same INVITE with the longer session interval that a 422 has asked for (RFC 4028 §7.3)."""
        before = self._invite
        body = self._own_sdp if self._offers else b""
        self._invite = build.request(
            "INVITE",
            before.target,
            self._invite_flow.via,
            self._stack.ids.branch(),
            from_=before.from_,
            to=before.to,
            call_id=before.call_id,
            cseq=before.cseq + 1,
            routes=before.routes,
            extra=self.contact + CAPABILITIES + self.timer.offer() + self._extra,
            body=body,
            content_type=SDP if body else "",
            max_forwards=self._max_forwards,
        )
        transaction, effects = self._stack.transactions.request(self._invite, self._invite_flow, self, now)
        assert isinstance(transaction, InviteClientTransaction)
        self._transaction = transaction
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
        status = response.status
        if status < 200:
            return self._tell(Progressed(status, response.sdp, response)) if status > 100 else []
        if status < 300:
            return self._accepted(response, now)
        if status == 422 and not self._cancelled and self.timer.too_brief(response):
            return self._longer(now)
        return self._refused(status, response)

    def transaction_ended(self, transaction: Any, cause: Cause, now: float) -> list[Effect]:
        """Nobody answered the INVITE, or it could not be sent: as if 408 or 503 had come (§8.1.3.1)."""
        if transaction is not self._transaction:
            return super().transaction_ended(transaction, cause, now)
        self._transaction = None
        if cause is Cause.DONE or self.state is not State.EARLY:
            return []
        return self._refused(408 if cause is Cause.TIMEOUT else 503, None)

    def _accepted(self, response: Response, now: float) -> list[Effect]:
        tag = response.to_tag
        if self.dialog is not None and tag == self.dialog.remote_tag:
            return self._repeat_ack()
        if self.dialog is not None or self._cancelled:
            return self._end_stray(response, tag, now)
        self.dialog = Dialog.as_uac(self._invite, response, self._invite_flow)
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
        known = self._strays.get(tag)
        dialog = known or Dialog.as_uac(self._invite, response, self._invite_flow)
        effects: list[Effect] = [Send(dialog.flow, dialog.ack(self._invite.cseq, self._stack.ids))]
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
        self._stack.dialogs.pop((self._invite.call_id, self._from), None)
        return effects

    def _byed(self, transaction: Any, now: float) -> list[Effect]:
        if self.state is State.EARLY:  # a callee has no business to BYE an early dialog (§15)
            return self._respond(transaction, 403, now)
        return super()._byed(transaction, now)
